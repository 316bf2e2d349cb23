"""The solution: weights in compact form, the certificate they come with, and the way back to a network."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_known
from convexnn.mapping.map_back import Mapping, gated_output, map_back, map_parts
from convexnn.network import SparseReLUNetwork
from convexnn.patterns.activation_patterns import masks
from convexnn.program.accuracy import Accuracy
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.intercepts import LabelInterceptLoss
from convexnn.program.losses import InterceptLoss, Loss, loss_named
from convexnn.records import Record

# A gap, or residual, of this share of its value at zero weights is called converged.
TOLERANCE = 1e-6

# Largest violation of a cone, as a share of max |X u|, that counts as feasible.
FEASIBLE = 1e-7


# Rows times weights of the live gates up to which a mapping takes a fraction of a second.
QUICK = 1 << 22


class Status(Enum):
    """How a solver ended; the value is a sentence, the name is stable.

    Examples
    --------
    >>> import convexnn as cx
    >>> print(cx.Status.TIME_LIMIT.value)
    The time limit was reached first; the best iterate is returned.
    >>> cx.Status.CONVERGED.complete, cx.Status.TIME_LIMIT.complete
    (True, False)
    """

    EXACT = "The data are met to rounding."
    CONVERGED = "The solver met its own stopping rule."
    SEARCH_ENDED = "The search ended: its starts and moves are used up; a better network may exist."
    MAX_ITERATIONS = "The iteration limit was reached first; the best iterate is returned."
    TIME_LIMIT = "The time limit was reached first; the best iterate is returned."
    INTERRUPTED = "The run was interrupted; the best iterate is returned."
    NOT_FINITE = "A value was not finite; the best iterate before it is returned."
    INACCURATE = "The solver ended above its tolerance; look at the gap, the residual and the violation."

    @property
    def complete(self) -> bool:
        """Whether the run came to its own end (EXACT, CONVERGED, SEARCH_ENDED): no limit and no failure cut it."""
        return self in (Status.EXACT, Status.CONVERGED, Status.SEARCH_ENDED)


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Record):
    """Weights of a :class:`ConvexProgram`, with what is known about them.

    Attributes
    ----------
    program : ConvexProgram
        The question answered.
    solver : str
        Who answered.
    support : ndarray (s,) of int64
        Flat indices (C order) into :attr:`weights` of the nonzero weights, ascending.
    values : ndarray (s,)
        The nonzero weights, float64, in the order of `support`.
    objective : float
        The program's objective at the weights, recomputed in float64.
    gap : float or None
        Objective minus a proven lower bound, in the objective's units; None where no bound is known: budgets (but
        for the solver ``exact``) and where nothing is penalised.
    residual : float or None
        Where nothing is penalised: the largest entry of the gradient (with a cone, of its projection) as a share of
        the largest at zero weights; else None.
    violation : float
        Worst violation of the cone constraints (2 D_j - I) X u_j >= 0, as a share of max |X u|; 0 without a cone.
    status : Status
        How the solver ended.
    iterations : int
        Iterations of the solver; nodes of ``exact``.
    seconds : float
        Wall-clock time of the solve.
    history : ndarray
        Objective after each iteration; empty where the solver does not tell.
    pair : (ndarray, ndarray) or None
        u and v of a cone program, each of the shape of :attr:`weights`; None for the others.
    memory : int or None
        Bytes that the run was to hold at most, stated before it (for budgets by :func:`convexnn.memory_estimate`, of
        which more phases hold more); None for solvers without an estimate.
    dual : ndarray (n, k) or None
        theta, the dual point that proves the `gap`, before it is scaled into the dual's feasible set: near -dL/dp at
        the weights. None where no bound is known.
    gap_of_patterns : float or None
        Of :func:`convexnn.global_optimum`, whose `gap` is the one to all patterns: the gap to the patterns held. None
        for the others, whose `gap` is to their patterns.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, generators=[[1.0, 0.0, 0.0, 0.0]])
    >>> solution = cx.solve(cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, budget=1))
    >>> solution.support.tolist(), solution.values.round(6).tolist(), round(solution.r2, 6)
    ([0], [1.0], 1.0)
    >>> print(solution.to_network().formula())
    h0 = relu(x0)
    y = h0
    """

    _left_out = ("program", "dual")
    _told: ClassVar[tuple[str, ...]] = ("nnz", "relative_error", "r2", "decibels", "ending")

    program: ConvexProgram
    solver: str
    support: NDArray[np.int64]
    values: Floats
    objective: float
    gap: float | None
    residual: float | None
    violation: float
    status: Status
    iterations: int
    seconds: float
    history: Floats
    pair: tuple[Floats, Floats] | None = None
    memory: int | None = None
    dual: Floats | None = None
    gap_of_patterns: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known in the words of JSON: the program as its question, no data and no dual point."""
        return {"program": str(self.program), **super().to_dict()}

    @property
    def weights(self) -> Floats:
        """The weights W, float64 (m, d) or (m, d, k), rows as in ``patterns.generators``; u - v of a cone program.

        Built on access.
        """
        full = np.zeros(self.program.weights_shape)
        full.flat[self.support] = self.values
        return full

    @property
    def parts(self) -> tuple[Floats, Floats]:
        """(u, v) of a cone program, each of the shape of :attr:`weights`; a ValueError for the others."""
        if self.pair is None:
            raise ValueError("parts u and v belong to programs with cone=True; expected .weights here")
        return self.pair

    @property
    def nnz(self) -> int:
        """Number of nonzero weights; of a cone program, those of u and v."""
        return len(self.values) if self.pair is None else int(sum(np.count_nonzero(part) for part in self.pair))

    @property
    def relative_error(self) -> float | None:
        """Share of the target's mean square that the convex model misses, sum (y - p)^2 / sum y^2; None for labels.

        Of :func:`convexnn.recover` it is that of the network itself. Computed at first access and kept, as are
        :attr:`r2` and :attr:`decibels`.
        """
        return None if self._accuracy is None else self._accuracy.relative_error

    @property
    def r2(self) -> float | None:
        """1 - sum (y - p)^2 / sum (y - mean y)^2 of the convex model, over all outputs together; None for labels."""
        return None if self._accuracy is None else self._accuracy.r2

    @property
    def decibels(self) -> float | None:
        """-10 log10 of :attr:`relative_error`, infinity where that is 0; None for labels."""
        return None if self._accuracy is None else self._accuracy.decibels

    @cached_property
    def _accuracy(self) -> Accuracy | None:
        program = self.program
        if program.loss.name != "squared":
            return None
        loss = self.objective
        if program.penalty is not None:
            loss = program.loss.value(self.predict(program.X).reshape(program.targets.shape), program.targets)
        return Accuracy.of_loss(loss, program.targets)

    @cached_property
    def live(self) -> NDArray[np.int64]:
        """Indices of the gates with a nonzero weight, ascending."""
        if self.pair is not None:
            return np.flatnonzero(sum(part.reshape(len(part), -1).any(axis=1) for part in self.pair))
        return np.unique(self.support // int(np.prod(self.program.weights_shape[1:])))

    @cached_property
    def blocks(self) -> Floats:
        """The weights of the live gates alone, shape (live gates, d) or (live gates, d, k)."""
        shape = self.program.weights_shape[1:]
        blocks = np.zeros((len(self.live), *shape))
        size = int(np.prod(shape))
        gates, rest = np.divmod(self.support, size)
        blocks.reshape(len(self.live), size)[np.searchsorted(self.live, gates), rest] = self.values
        return blocks

    def predict(self, X: ArrayLike) -> Floats:
        """Return the convex model sum_j 1{x.h_j >= 0} x.w_j + intercept for rows `X` (n, d): shape (n,) or (n, k).

        Scores, before any sigmoid or softmax; the classes are ``program.classes``.
        """
        return self._gated(self.program.patterns.rows(X)) + self.intercept

    @cached_property
    def intercept(self) -> Floats:
        """The constant of each output, that nothing penalises, () or (k,); 0 where the program has none."""
        program = self.program
        if not isinstance(program.loss, InterceptLoss | LabelInterceptLoss):
            return np.zeros(program.y.shape[1:])
        return np.asarray(program.loss.intercept(self._gated(program.rows), program.y))

    def _gated(self, rows: Floats) -> Floats:
        return gated_output(rows, self.blocks, masks(rows, self.program.patterns.generators[self.live]))

    def map(self, method: str = "auto") -> Mapping:
        """Map the convex model back to a ReLU network and measure the difference on the data.

        Parameters
        ----------
        method : {"auto", "exact", "refit"}
            ``exact``: cone decomposition, the same function on the data, up to two neurons a gate (and output), sparse
            as far as the gate is; the blocks of a cone program are neurons as they are. ``refit``: one neuron a gate
            (and output) on the same support, gates := weights, damped Gauss-Newton steps on the network's own loss.
            ``auto``: exact for convex programs, refit for budgets.
        """
        chosen = as_known(method, "method", ("auto", "exact", "refit"))
        if chosen == "auto":
            chosen = "exact" if self.program.budget is None else "refit"
        return self._exact if chosen == "exact" else self._refit

    def to_network(self, method: str = "auto") -> SparseReLUNetwork:
        """Return the mapped network; see :meth:`map` for the methods and the difference.

        Warns (UserWarning) where an exact mapping is further than 1e-6 of the largest value from the convex model.
        """
        mapping = self.map(method)
        if mapping.warning is not None:
            warnings.warn(mapping.warning, stacklevel=2)
        return mapping.network

    @property
    def mapping_error(self) -> float:
        """Worst |ReLU network - convex model| on the data, in units of y, for ``to_network("auto")``.

        The mapping is made at first access and kept; on many rows it takes longer than the solve.
        """
        return self.map().error

    @property
    def mapping_loss(self) -> float:
        """Mean loss of the ReLU network itself on the data, for ``to_network("auto")``."""
        return self.map().loss

    @cached_property
    def _exact(self) -> Mapping:
        return self._mapped(exact=True)

    @cached_property
    def _refit(self) -> Mapping:
        return self._mapped(exact=False)

    def _mapped(self, exact: bool) -> Mapping:
        """Return the mapping; an intercept is the bias of its outputs."""
        if not self.program.intercept:
            return self._paired(exact, self.program.y, self.program.loss)
        loss, y, lifted = self.program.loss, self.program.y, self.intercept
        if isinstance(loss, LabelInterceptLoss):
            mapping = self._paired(exact, y, loss)
            # The best for the network's own outputs, whose loss the mapping has.
            lifted = loss.intercept(mapping.network.predict(self.program.X), y)
        else:
            mapping = self._paired(exact, y - lifted, loss_named(loss.name))
        *hidden, (weight, bias) = mapping.network.layers
        return replace(mapping, network=SparseReLUNetwork([*hidden, (weight, bias + lifted)]))

    def _paired(self, exact: bool, y: Floats, loss: Loss) -> Mapping:
        program, live, patterns = self.program, self.live, self.program.patterns
        active = masks(program.rows, patterns.generators[live])
        if exact and self.pair is not None:
            parts = (self.pair[0][live], self.pair[1][live])
            return map_parts(program.rows, y, parts, active, loss=loss, bias=patterns.bias)
        return map_back(
            program.rows,
            y,
            self.blocks,
            active,
            patterns.features[live],
            loss=loss,
            exact=exact,
            bias=patterns.bias,
            generators=patterns.generators[live],
        )

    @property
    def certificate(self) -> str:
        """What is proven about the objective, in words."""
        cone = f", cones violated by {self.violation:.1g}" if self.violation > 0.0 else ""
        if self.gap is not None and self.gap_of_patterns is not None:
            held = f"{self.gap_of_patterns:.2g} to the {len(self.program.patterns)} held"
            return f"gap {self.gap:.2g} to all patterns, {held}{cone}"
        if self.gap is not None:
            return f"gap {self.gap:.2g}{cone}"
        return "no bound" if self.residual is None else f"KKT residual {self.residual:.2g}{cone}"

    @property
    def ending(self) -> str:
        """How the run ended, a sentence; it names the iteration where a value was not finite."""
        if self.status is Status.NOT_FINITE:
            return f"In iteration {self.iterations + 1} a value was not finite; the best iterate before it is returned."
        return self.status.value

    def __repr__(self) -> str:
        return f"<{self.solver}: objective {self.objective:.6g}, {self.nnz} nonzeros, {self.status.name}>"

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.solver}: {self.program.question}",
                f"  objective {self.objective:.6g} ({self.certificate}), {self.nnz} nonzeros in {len(self.live)} gates"
                f"{self._accuracy_words()}",
                f"  {self.iterations} iterations, {self.seconds:.2f} s. {self.ending}",
                f"  {self._mapping_line()}",
            )
        )

    def _accuracy_words(self) -> str:
        """Return how well numbers are met, with a comma before it; no prediction of seconds is made for it."""
        quick = self.program.penalty is None or len(self.program.X) * self.blocks.size <= QUICK
        known = (quick or "_accuracy" in self.__dict__) and self._accuracy is not None
        return f", {self._accuracy}" if known else ""

    def _mapping_line(self) -> str:
        """Return the mapping in words; one that takes seconds is not made for the sake of printing."""
        method = "_exact" if self.program.budget is None else "_refit"
        entries = len(self.program.X) * self.blocks.size
        if entries <= QUICK or self.pair is not None or method in self.__dict__:
            return str(self.map())
        return "not mapped to a network yet: see map() and to_network()"

"""The solution: weights in compact form, the certificate they come with, and the way back to a network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_known, as_rows
from convexnn.mapping import Mapping, map_back
from convexnn.network import SparseReLUNetwork
from convexnn.patterns import masks
from convexnn.program import ConvexProgram


class Status(Enum):
    """How a solver ended; the value is a sentence, the name is stable."""

    CONVERGED = "The solver met its own stopping rule."
    MAX_ITERATIONS = "The iteration limit was reached first; the best iterate is returned."
    TIME_LIMIT = "The time limit was reached first; the best iterate is returned."
    INTERRUPTED = "The run was interrupted; the best iterate is returned."
    NOT_FINITE = "A value was not finite; the best iterate before it is returned."
    INACCURATE = "The solver ended with a gap above 1e-6 of the loss at zero; look at the gap."


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Weights of a :class:`ConvexProgram`, with what is known about them.

    Attributes
    ----------
    program : ConvexProgram
        The question.
    solver : str
        Who answered.
    support : ndarray (s,) of int
        Flat indices j d + i of the nonzero weights, ascending.
    values : ndarray (s,)
        The nonzero weights, float64, in the order of `support`.
    objective : float
        The program's objective at the weights, recomputed in float64.
    gap : float or None
        Objective minus a proven lower bound, in the objective's units; None where no bound is known (budgets).
    status : Status
        How the solver ended.
    iterations : int
        Iterations of the solver.
    seconds : float
        Wall-clock time of the solve.
    history : ndarray
        Objective after each iteration; empty where the solver does not tell.
    """

    program: ConvexProgram
    solver: str
    support: NDArray[np.int64]
    values: Floats
    objective: float
    gap: float | None
    status: Status
    iterations: int
    seconds: float
    history: Floats

    @property
    def weights(self) -> Floats:
        """The weights W (m, d), float64, rows in the order of ``patterns.generators``; built on access."""
        full = np.zeros(self.program.patterns.generators.shape)
        full[self.live] = self.blocks
        return full

    @property
    def nnz(self) -> int:
        """Number of nonzero weights."""
        return len(self.values)

    @cached_property
    def live(self) -> NDArray[np.int64]:
        """Indices of the gates with a nonzero weight, ascending."""
        return np.unique(self.support // self.program.patterns.n_features)

    @cached_property
    def blocks(self) -> Floats:
        """The weights of the live gates alone, shape (live gates, d)."""
        gates, features = np.divmod(self.support, self.program.patterns.n_features)
        blocks = np.zeros((len(self.live), self.program.patterns.n_features))
        blocks[np.searchsorted(self.live, gates), features] = self.values
        return blocks

    def predict(self, X: ArrayLike) -> Floats:
        """Return the convex (gated ReLU) model sum_j 1{x.h_j >= 0} x.w_j for rows `X` (n, d), shape (n,)."""
        patterns = self.program.patterns
        rows = as_rows(X, "X", patterns.n_features, "patterns have")
        return ((rows @ self.blocks.T) * masks(rows, patterns.generators[self.live])).sum(axis=1)

    def map(self, method: str = "auto") -> Mapping:
        """Map the convex model back to a ReLU network and measure the difference on the data.

        Parameters
        ----------
        method : {"auto", "exact", "refit"}
            ``exact``: cone decomposition, the same function on the data, up to two neurons a gate, sparse as far
            as the gate is. ``refit``: one neuron a gate on the same support, gates := weights, least squares.
            ``auto``: exact for convex programs, refit for budgets.
        """
        chosen = as_known(method, "method", ("auto", "exact", "refit"))
        if chosen == "auto":
            chosen = "refit" if self.program.penalty is None else "exact"
        return self._exact if chosen == "exact" else self._refit

    def to_network(self, method: str = "auto") -> SparseReLUNetwork:
        """Return the mapped network; see :meth:`map` for the methods and the difference."""
        return self.map(method).network

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
        program, live = self.program, self.live
        active = masks(program.X, program.patterns.generators[live])
        gates = (self.blocks, active, program.patterns.features[live])
        return map_back(program.X, program.y, *gates, loss=program.loss, exact=exact)

    def __repr__(self) -> str:
        return f"<{self.solver}: objective {self.objective:.6g}, {self.nnz} nonzeros, {self.status.name}>"

    def __str__(self) -> str:
        gap = "no bound" if self.gap is None else f"gap {self.gap:.2g}"
        return "\n".join(
            (
                f"{self.solver}: {self.program.question}",
                f"  objective {self.objective:.6g} ({gap}), {self.nnz} nonzeros in {len(self.live)} gates",
                f"  {self.iterations} iterations, {self.seconds:.2f} s. {self.status.value}",
                f"  {self.map()}",
            )
        )

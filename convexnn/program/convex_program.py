"""The program: what is asked of the weights, without saying how it is solved."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_flag, as_matrix, as_moderate, as_nonnegative
from convexnn.linear.columns import SupportColumns, columns_of
from convexnn.patterns.activation_patterns import ActivationPatterns
from convexnn.program.intercepts import with_intercept
from convexnn.program.losses import Loss, loss_named
from convexnn.program.penalties import Penalty, into_ball, penalty_named
from convexnn.program.targets import encode


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ConvexProgram:
    """The two-layer ReLU program over sampled activation patterns.

    With A(W) = sum_j D_j X w_j it asks for the minimum of

    * L(A(W), y) subject to ||W||_0 <= budget: the *cardinality program*, alone or with a ridge, or
    * L(A(W), y) + strength * R(W): a *convex program*, gated ReLU; with ``cone=True`` the ReLU program
      L(sum_j D_j X (u_j - v_j), y) + strength * R(U, V), (2 D_j - I) X u_j >= 0 and (2 D_j - I) X v_j >= 0,

    where a block has entries only at the features that its pattern owns, and L is a mean over rows, summed over
    outputs. Weights are (m, d), or (m, d, k) for k outputs: each output has blocks of its own, one against all.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite.
    y : array_like (n,) or (n, k)
        Squared loss: numbers, not constant, one or several outputs. Logistic: two labels, the larger counts as +1.
        Softmax: labels of k classes, one output each. (n, 1) counts as (n,).
    patterns : ActivationPatterns
        From :func:`convexnn.sample_patterns` on the same features.
    loss : {"squared", "logistic", "softmax"}, default "squared"
        1/(2n) ||A(W) - y||^2, 1/n sum log(1 + exp(-y A(W))), or the mean cross-entropy.
    penalty : {"group_l1", "feature_l1", "l1", "ridge", "none"}, optional
        R(W) = sum_j ||w_j||_2 over neurons (and outputs), sum_i ||W_:i||_F over features, sum |w_ji|,
        1/2 sum w_ji^2, or nothing.
    strength : float, optional
        Factor of the penalty, above 0, in units of the loss per unit of R; none for penalty ``none``.
    budget : int, optional
        Most nonzero weights, 1 to :attr:`n_weights`; excludes every `penalty` but ``ridge``, which then is part of
        the objective (not of the loss that the refit way to a network lowers).
    budget_per_neuron : int, optional
        Most nonzero weights of a block (of a gate and output), at least 1; goes with `budget`.
    cone : bool, default False
        The ReLU program instead of the gated one; needs a penalty. Its neurons are ReLU neurons as they are.
    intercept : bool, default False
        A constant for each output that nothing penalises, beside the weights: L is then the least loss over it. Needs
        a penalty. :attr:`convexnn.solution.Solution.intercept` has it, networks as the bias of their outputs.
    bias : bool, optional
        Whether gates and weights see a column of ones; default: as the patterns were sampled, and it must agree.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    The cardinality program over fixed patterns is the recovery problem of "A Recovery Guarantee for Sparse Neural
    Networks" (arXiv 2509.20323); the convex ones are those of Pilanci and Ergen (ICML 2020) and, gated, of Mishkin,
    Sahiner and Pilanci (ICML 2022). A bias is a weight like the others: penalised in its block, counted in the budget.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> print(cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.01))
    squared loss + 0.01 * group_l1, 40 weights; 50 rows, 4 features, 10 patterns
    >>> print(cx.ConvexProgram(X, y, patterns, budget=3))
    squared loss, at most 3 of 40 weights; 50 rows, 4 features, 10 patterns
    """

    X: Floats
    y: Floats
    classes: NDArray[Any] | None
    patterns: ActivationPatterns
    loss: Loss
    penalty: Penalty | None
    strength: float | None
    budget: int | None
    budget_per_neuron: int | None
    cone: bool
    intercept: bool

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        patterns: ActivationPatterns,
        *,
        loss: str = "squared",
        penalty: str | None = None,
        strength: float | None = None,
        budget: int | None = None,
        budget_per_neuron: int | None = None,
        cone: bool = False,
        intercept: bool = False,
        bias: bool | None = None,
    ) -> None:
        rows = _kept(as_moderate(as_matrix(X, "X", min_rows=2), "X"))
        measure = loss_named(loss)
        target = encode(y, measure.name, len(rows))
        matching = _matching(patterns, rows.shape[1], bias)
        n_weights = int(matching.features.sum()) * (target.values.shape[1] if target.values.ndim == 2 else 1)
        fields = {
            "X": rows,
            "y": _kept(target.values),
            "classes": target.classes,
            "patterns": matching,
            "loss": with_intercept(measure.name) if _intercept(intercept, budget) else measure,
            "budget": _budget(budget, penalty, n_weights),
            "budget_per_neuron": _budget_per_neuron(budget_per_neuron, budget),
            "penalty": None if penalty is None else penalty_named(penalty),
            "strength": _strength(strength, penalty),
            "cone": _cone(cone, budget),
            "intercept": bool(intercept),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @cached_property
    def rows(self) -> Floats:
        """The data that gates and weights see, (n, d): X, with a last column of ones where there is a bias."""
        return self.patterns.rows(self.X)

    @property
    def targets(self) -> Floats:
        """The target as a matrix (n, k)."""
        return self.y.reshape(len(self.y), -1)

    @property
    def n_outputs(self) -> int:
        """k, the number of outputs."""
        return self.targets.shape[1]

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """(m, d), or (m, d, k) where y is a matrix; d counts the column of ones of a bias."""
        return (*self.patterns.generators.shape, *self.y.shape[1:])

    @property
    def neurons_shape(self) -> tuple[int, int]:
        """(q, d), one row a neuron: for each output, for u and then v (cone) or w alone, the m gates in order."""
        m, d = self.patterns.generators.shape
        return self.n_outputs * self.n_parts * m, d

    @property
    def n_parts(self) -> int:
        """Blocks of a gate and output: 2 with the cone (u and v), else 1."""
        return 2 if self.cone else 1

    @property
    def owned(self) -> NDArray[np.bool_]:
        """Which weights of the neurons exist, (q, d)."""
        return np.tile(self.patterns.features, (self.n_outputs * self.n_parts, 1))

    @property
    def n_weights(self) -> int:
        """Number of weights: the features that the patterns own, times the outputs."""
        return int(self.patterns.features.sum()) * self.n_outputs

    @cached_property
    def zero_loss(self) -> float:
        """The loss at zero weights: the scale that tolerances are relative to."""
        return self.loss.value(np.zeros_like(self.targets), self.targets)

    @property
    def question(self) -> str:
        """What is asked, in words."""
        cap = "" if self.budget_per_neuron is None else f", at most {self.budget_per_neuron} a neuron"
        if self.budget is not None:
            ridge = "" if self.penalty is None else f" + {self.strength:.3g} * {self.penalty.name}"
            return f"{self.loss.name} loss{ridge}, at most {self.budget} of {self.n_weights} weights{cap}"
        assert self.penalty is not None
        model = (" in ReLU cones" if self.cone else "") + (" and an intercept" if self.intercept else "")
        if self.strength is None:
            return f"{self.loss.name} loss, no penalty, {self.n_weights} weights{model}"
        return f"{self.loss.name} loss + {self.strength:.3g} * {self.penalty.name}, {self.n_weights} weights{model}"

    def with_strength(self, strength: float) -> ConvexProgram:
        """Return this program with another strength of its penalty: the same arrays, nothing copied or checked anew.

        Raises
        ------
        ValueError, TypeError
            The program has a budget, or penalty ``none``; or `strength` is not a finite number above 0.
        """
        if self.penalty is None or self.strength is None:
            kind = "a budget" if self.penalty is None else "penalty 'none'"
            raise ValueError(f"strength is {strength!r} for a program with {kind}; expected a program with a strength")
        other = copy(self)
        object.__setattr__(other, "strength", _strength(strength, self.penalty.name))
        return other

    def with_gates(self, gates: NDArray[np.int64]) -> ConvexProgram:
        """Return this program with those of its gates alone, in that order: nothing else is copied or checked anew."""
        kept = self.patterns
        other = copy(self)
        part = replace(kept, generators=kept.generators[gates], features=kept.features[gates])
        object.__setattr__(other, "patterns", part)
        return other

    def parts(self, neurons: Any) -> Any:
        """Return neurons (q, d) as (parts, m, d) or (parts, m, d, k): w alone, or u and v; numpy, contiguous."""
        m, d = self.patterns.generators.shape
        pages = neurons.reshape(self.n_outputs, self.n_parts, m, d)
        return np.ascontiguousarray(np.moveaxis(pages, 0, -1)).reshape(self.n_parts, *self.weights_shape)

    def neurons(self, parts: Floats) -> Floats:
        """Return the neurons (q, d) of (parts, m, d) or (parts, m, d, k): the inverse of :meth:`parts`."""
        m, d = self.patterns.generators.shape
        pages = np.moveaxis(parts.reshape(self.n_parts, m, d, self.n_outputs), -1, 0)
        return np.ascontiguousarray(pages).reshape(self.neurons_shape)

    def support_columns(self, support: NDArray[np.int64]) -> SupportColumns:
        """Return the matrix (n, s) of D_j x_i, or 0 where not owned, for flat indices into the weights, by tiles."""
        gates, features = np.unravel_index(support, self.weights_shape)[:2]
        return columns_of(self.rows, self.patterns.generators, self.patterns.features, gates, features)

    def columns(self, support: NDArray[np.int64]) -> Floats:
        """Return :meth:`support_columns` as an array: shape (n, s), float64."""
        return self.support_columns(support).whole()

    def objective(self, prediction: Floats, neurons: Floats) -> float:
        """Return the objective at neurons (q, d) whose prediction is given, shape (n,) or (n, k)."""
        value = self.loss.value(prediction.reshape(self.targets.shape), self.targets)
        if self.penalty is None or self.strength is None:
            return value
        return value + self.strength * self.penalty.value(neurons)

    def lower_bound(self, theta: Any, slope: Any, targets: Any = None) -> float:
        """Return a proven lower bound on the optimum of a convex program (a TypeError for a budget).

        Parameters
        ----------
        theta : array (n, k)
            A dual candidate; -dL/dA(W) at a good W is a good one. It is scaled to be feasible.
        slope : array (q, d)
            The adjoint of theta, zero at features that a pattern does not own; with the cone, less any element of
            the polar cones, -X^T (2 D_j - I) a with a >= 0, block by block.
        targets : array (n, k), optional
            :attr:`targets` where theta and slope are torch tensors.

        Notes
        -----
        L(p) >= -L*(-theta) + <-theta, p> and <A^T theta, W> <= <slope, W> <= strength R(W) at a feasible slope.
        Minus infinity where nothing is penalised, unless the slope is zero.
        """
        if self.penalty is None:
            raise TypeError("a budget has no dual bound; expected a program with a penalty")
        strength = 0.0 if self.strength is None else self.strength
        factor = into_ball(self.penalty.dual_norm(slope), strength)
        bound = self.loss.dual(factor * theta, self.targets if targets is None else targets)
        return bound - self.penalty.conjugate(factor * slope, strength)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        n, d = self.X.shape
        bias = " and a bias" if self.patterns.bias else ""
        outputs = "" if self.n_outputs == 1 else f", {self.n_outputs} outputs"
        return f"{self.question}; {n} rows, {d} features{bias}{outputs}, {len(self.patterns)} patterns"


def as_program(program: Any) -> ConvexProgram:
    """Return `program` if it is a program."""
    if not isinstance(program, ConvexProgram):
        raise TypeError(f"program is a {type(program).__name__}; expected a ConvexProgram")
    return program


def _matching(patterns: ActivationPatterns, n_features: int, bias: bool | None) -> ActivationPatterns:
    if not isinstance(patterns, ActivationPatterns):
        raise TypeError(f"patterns is a {type(patterns).__name__}; expected ActivationPatterns from sample_patterns")
    if patterns.n_features != n_features:
        raise ValueError(f"patterns are over {patterns.n_features} features; expected {n_features}, as X has")
    if bias is not None and as_flag(bias, "bias") != patterns.bias:
        sampled = "with" if patterns.bias else "without"
        raise ValueError(
            f"bias is {bias} and the patterns were sampled {sampled} one; expected sample_patterns(..., bias={bias})"
        )
    return patterns


def _strength(strength: float | None, penalty: str | None) -> float | None:
    if penalty is None or penalty == "none":
        if strength is not None:
            raise ValueError(f"strength is {strength} without a penalty; expected both or neither")
        return None
    if strength is None:
        raise ValueError(f"penalty is {penalty!r} without strength; expected a strength above 0")
    if as_nonnegative(strength, "strength") == 0.0:
        raise ValueError("strength is 0; expected a number above 0 (nothing penalised: penalty='none')")
    if not 1e-140 <= strength <= 1e140:
        raise ValueError(f"strength is {strength:g}; expected a number between 1e-140 and 1e140")
    return float(strength)


def _budget(budget: int | None, penalty: str | None, n_weights: int) -> int | None:
    if (budget is None) == (penalty is None) and penalty != "ridge":
        given = "neither" if budget is None else "both"
        ridge = "" if budget is None else "; a budget takes penalty='ridge' alone beside it"
        raise ValueError(
            f"{given} of budget and penalty given; expected exactly one: budget=40, or penalty='l1'{ridge}"
        )
    if budget is None:
        return None
    if as_count(budget, "budget") > n_weights:
        raise ValueError(f"budget is {budget}; expected at most {n_weights}, the weights of the program")
    return int(budget)


def _budget_per_neuron(per_neuron: int | None, budget: int | None) -> int | None:
    if per_neuron is None:
        return None
    if budget is None:
        raise ValueError(f"budget_per_neuron is {per_neuron} without a budget; expected both, or a penalty alone")
    return as_count(per_neuron, "budget_per_neuron")


def _cone(cone: Any, budget: int | None) -> bool:
    if as_flag(cone, "cone") and budget is not None:
        raise ValueError("cone is True with a budget; expected a penalty, or cone=False (refit maps budgets to ReLU)")
    return bool(cone)


def _intercept(intercept: Any, budget: int | None) -> bool:
    if not as_flag(intercept, "intercept"):
        return False
    if budget is not None:
        raise ValueError("intercept is True with a budget; expected a penalty, or patterns with bias=True")
    return True


def _is_read_only_map(array: Floats) -> bool:
    """Whether an array is, or is a part of, a memory map that was opened for reading alone."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return isinstance(base, mmap)


def _kept(array: Floats) -> Floats:
    """Return a copy that cannot be written, so that what the caller does to its array later changes no answer.

    A read-only memory map cannot be written anyhow, and may be larger than the memory: it is kept as it is.
    """
    if _is_read_only_map(array):
        return array
    copy = array.copy()
    copy.flags.writeable = False
    return copy

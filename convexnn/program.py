"""The program: what is asked of the weights, without saying how it is solved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_matrix, as_moderate, as_nonnegative, as_vector
from convexnn.losses import Loss, loss_named
from convexnn.patterns import ActivationPatterns, masks
from convexnn.penalties import Penalty, penalty_named


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ConvexProgram:
    """The two-layer ReLU program over sampled activation patterns (gated ReLU form).

    With A(W) = sum_j D_j X w_j, weights W (m, d), it asks for the minimum of

    * L(A(W), y) subject to ||W||_0 <= budget: the *cardinality program*, or
    * L(A(W), y) + strength * R(W): a *convex program*,

    where w_j has entries only at the features that pattern j owns, and L is the mean loss, 1/(2n) ||A(W) - y||^2.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite.
    y : array_like (n,)
        The target, finite and not constant.
    patterns : ActivationPatterns
        From :func:`convexnn.sample_patterns` on the same features.
    loss : {"squared"}, default "squared"
        The mean loss L.
    penalty : {"l1", "group_l1", "ridge"}, optional
        R(W) = sum |w_ji|, sum_j ||w_j||_2, or 1/2 sum w_ji^2; goes with `strength`.
    strength : float, optional
        Factor of the penalty, above 0, in units of y^2 per unit of R.
    budget : int, optional
        Most nonzero weights, 1 to :attr:`n_weights`; excludes `penalty`.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    The cardinality program over fixed patterns is the recovery problem of "A Recovery Guarantee for Sparse Neural
    Networks" (arXiv 2509.20323); the penalised ones are the gated ReLU programs of Mishkin, Sahiner and Pilanci
    (ICML 2022). Zero weights give A(0) = 0 and the loss ||y||^2 / (2n).
    """

    X: Floats
    y: Floats
    patterns: ActivationPatterns
    loss: Loss
    penalty: Penalty | None
    strength: float | None
    budget: int | None

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
    ) -> None:
        rows = _kept(as_moderate(as_matrix(X, "X", min_rows=2), "X"))
        fields = {
            "X": rows,
            "y": _target(y, len(rows)),
            "patterns": _matching(patterns, rows.shape[1]),
            "loss": loss_named(loss),
            "budget": _budget(budget, penalty, patterns),
            "penalty": None if penalty is None else penalty_named(penalty),
            "strength": _strength(strength, penalty),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def n_weights(self) -> int:
        """Number of weights: the features that the patterns own, summed."""
        return _n_weights(self.patterns)

    @property
    def question(self) -> str:
        """What is asked, in words."""
        if self.penalty is None:
            return f"{self.loss.name} loss, at most {self.budget} of {self.n_weights} weights"
        return f"{self.loss.name} loss + {self.strength:.3g} * {self.penalty.name}, {self.n_weights} weights"

    def columns(self, support: NDArray[np.int64]) -> Floats:
        """Return the columns of A at flat indices j d + i, shape (n, s), float64: D_j x_i, or 0 where not owned."""
        gates, features = np.divmod(support, self.X.shape[1])
        used, position = np.unique(gates, return_inverse=True)
        active = masks(self.X, self.patterns.generators[used])
        return self.X[:, features] * (active[:, position] & self.patterns.features[gates, features])

    def objective(self, prediction: Floats, weights: Floats) -> float:
        """Return the objective at weights (m, d) whose prediction A(W) is given, shape (n,)."""
        value = self.loss.value(prediction, self.y)
        if self.penalty is None or self.strength is None:
            return value
        return value + self.strength * self.penalty.value(weights)

    def lower_bound(self, theta: Floats, slope: Floats) -> float:
        """Return a proven lower bound on the optimum of a convex program (a TypeError for a budget).

        Parameters
        ----------
        theta : ndarray (n,)
            A dual candidate; -dL/dA(W) at a good W is a good one. It is scaled to be feasible.
        slope : ndarray (m, d)
            A^T theta, zero at features that a pattern does not own.
        """
        if self.penalty is None or self.strength is None:
            raise TypeError("a budget has no dual bound; expected a program with a penalty")
        factor = self.penalty.dual_scaling(slope, self.strength)
        return self.loss.dual(factor * theta, self.y) - self.penalty.conjugate(factor * slope, self.strength)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        n, d = self.X.shape
        return f"{self.question}; {n} rows, {d} features, {len(self.patterns)} patterns"


def _target(y: ArrayLike, n_rows: int) -> Floats:
    target = as_vector(y, "y", n_rows)
    if np.ptp(target) == 0.0:
        raise ValueError(f"y is constant ({target[0]:g}); expected a target that varies")
    return _kept(as_moderate(target, "y"))


def _matching(patterns: ActivationPatterns, n_features: int) -> ActivationPatterns:
    if not isinstance(patterns, ActivationPatterns):
        raise TypeError(f"patterns is a {type(patterns).__name__}; expected ActivationPatterns from sample_patterns")
    if patterns.n_features != n_features:
        raise ValueError(f"patterns are over {patterns.n_features} features; expected {n_features}, as X has")
    return patterns


def _strength(strength: float | None, penalty: str | None) -> float | None:
    if penalty is None:
        if strength is not None:
            raise ValueError(f"strength is {strength} without a penalty; expected both or neither")
        return None
    if strength is None:
        raise ValueError(f"penalty is {penalty!r} without strength; expected a strength above 0")
    if as_nonnegative(strength, "strength") == 0.0:
        raise ValueError("strength is 0; expected a number above 0")
    return float(strength)


def _budget(budget: int | None, penalty: str | None, patterns: ActivationPatterns) -> int | None:
    if (budget is None) == (penalty is None):
        given = "neither" if budget is None else "both"
        raise ValueError(f"{given} of budget and penalty given; expected exactly one: budget=40, or penalty='l1'")
    if budget is None:
        return None
    if as_count(budget, "budget") > _n_weights(patterns):
        raise ValueError(f"budget is {budget}; expected at most {_n_weights(patterns)}, the weights of the program")
    return int(budget)


def _n_weights(patterns: ActivationPatterns) -> int:
    return int(patterns.features.sum())


def _kept(array: Floats) -> Floats:
    """Return a copy that cannot be written, so that what the caller does to its array later changes no answer."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy

"""Losses: the mean over rows, on numpy arrays or torch tensors alike, with the dual that certifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from convexnn.checks import as_known

# Newton's method of a proximal map ends with a step of this share of the longest possible one; it converges
# quadratically, so the error left is that of rounding.
CLOSE = 1e-9


class Loss(Protocol):
    """A mean loss L(p) of predictions p for targets t, both (n,) or (n, k): mean over rows, sum over outputs."""

    @property
    def name(self) -> str:
        """The name that a program gives."""

    @property
    def smoothness(self) -> float:
        """c with n d2L <= c I: the bound on the curvature of one row's loss in its predictions."""

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p)."""

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p) as a number of the library, on its device: :meth:`value` waits for it."""

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp."""

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta), a lower bound at any dual feasible theta; minus infinity outside the domain of L*.

        A theta that is t (-dL/dp), 0 <= t <= 1, at any prediction p is in the domain.
        """

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta moved by its rounding into the domain of L*: for what was computed in less precision."""

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return argmin_p n L(p) + weight/2 ||p - point||^2, row by row."""

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression of a prediction (n, k) and a target (n, k)."""


@dataclass(frozen=True)
class SquaredLoss:
    """L(p) = 1/(2n) ||p - t||^2."""

    name: str = "squared"
    smoothness: float = 1.0

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p) in squared units of the target."""
        return float(self.total(prediction, target)) / len(target)

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p)."""
        residual = prediction - target
        return (residual * residual).sum() * 0.5

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp = (p - t) / n."""
        return (prediction - target) / len(target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta) = <theta, t> - n/2 ||theta||^2."""
        return float((theta * target).sum() - 0.5 * len(target) * (theta * theta).sum())

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta: every one is in the domain."""
        return theta

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return (t + weight point) / (1 + weight)."""
        return (target + weight * point) / (1.0 + weight)

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression."""
        import cvxpy as cp

        return cp.sum_squares(prediction - target) / (2 * len(target))


@dataclass(frozen=True)
class InterceptLoss(SquaredLoss):
    """L(p) = min over b of 1/(2n) ||p + b - t||^2, a number b for each output: the squared loss with an intercept.

    Constants in p change nothing, so that -dL/dp and every dual point sums to 0 over the rows.
    """

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p)."""
        return super().total(_centred(prediction - target), 0.0 * target)

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp = (p - t less its mean) / n."""
        return _centred(prediction - target) / len(target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta) = <theta, t> - n/2 ||theta||^2 for a theta of sum 0; minus infinity for others."""
        size = float(abs(theta).sum())
        sums = theta.sum(0) if theta.ndim > 1 else theta.sum()
        if float(abs(sums).max()) > leeway(theta) * size:
            return -float("inf")
        return super().dual(theta, _centred(target))

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta less its mean."""
        return _centred(theta)

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return the mean of the point and, less their means, (t + weight point) / (1 + weight)."""
        free = (_centred(target) + weight * _centred(point)) / (1.0 + weight)
        return free + point - _centred(point)

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression, with the intercept as a variable."""
        import cvxpy as cp

        intercept = cp.Variable((1, target.shape[1]))
        return super().expression(prediction + np.ones((len(target), 1)) @ intercept, target)

    def intercept(self, prediction: Any, target: Any) -> Any:
        """Return the best b, one for each output: the mean of t - p."""
        return (target - prediction).mean(0)


@dataclass(frozen=True)
class LogisticLoss:
    """L(p) = 1/n sum_i log(1 + exp(-t_i p_i)) for targets t_i of -1 and +1."""

    name: str = "logistic"
    smoothness: float = 0.25

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p) in nats."""
        return float(self.total(prediction, target)) / len(target)

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p)."""
        return _softplus(-target * prediction).sum()

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp = -t sigma(-t p) / n."""
        return -target * _sigmoid(-target * prediction) / len(target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta) = 1/n sum_i H(n t_i theta_i), with H(s) = -s log s - (1 - s) log(1 - s) on [0, 1]."""
        share = len(target) * target * theta
        return _entropy(share) / len(target) + _entropy(1.0 - share) / len(target)

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta with n t_i theta_i cut to [0, 1]."""
        return (len(target) * target * theta).clip(0.0, 1.0) * target / len(target)

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return the minimiser by Newton's method, safeguarded by the interval point + [0, 1/weight] t."""
        low, high = 0.0 * point, 0.0 * point + 1.0 / weight
        shift = 0.5 * high
        for _ in range(60):
            probability = _sigmoid(-target * point - shift)
            excess = weight * shift - probability
            low, high = _where(excess < 0.0, shift, low), _where(excess < 0.0, high, shift)
            newton = shift - excess / (weight + probability * (1.0 - probability))
            inside = (newton > low) & (newton < high)
            moved = _where(inside, newton, 0.5 * (low + high))
            step, shift = abs(moved - shift).max(), moved
            if float(step) <= CLOSE / weight:
                break
        return point + target * shift

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression."""
        import cvxpy as cp

        return cp.sum(cp.logistic(cp.multiply(-target, prediction))) / len(target)


@dataclass(frozen=True)
class SoftmaxLoss:
    """L(p) = 1/n sum_i [log sum_c exp(p_ic) - sum_c t_ic p_ic] for one-hot targets t: the cross-entropy."""

    name: str = "softmax"
    smoothness: float = 0.5

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p) in nats."""
        return float(self.total(prediction, target)) / len(target)

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p)."""
        peak = _row_max(prediction)
        shifted = prediction - peak
        library = library_of(prediction)
        total = library.log(library.exp(shifted).sum(1)) - (target * shifted).sum(1)
        return total.sum()

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp = (softmax(p) - t) / n."""
        return (_softmax(prediction) - target) / len(target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta) = 1/n sum_i H(t_i - n theta_i), with the entropy H(q) = -sum_c q_c log q_c."""
        if float(abs(theta.sum(1)).max()) * len(target) > leeway(theta):
            return -float("inf")
        return _entropy(target - len(target) * theta) / len(target)

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta with the rows of t - n theta at least 0 and of sum 1."""
        shares = (target - len(target) * theta).clip(0.0, None)
        return (target - shares / shares.sum(1)[:, None]) / len(target)

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return the minimiser by Newton's method; each row's Hessian is diagonal minus rank one, inverted in O(k)."""
        prediction = 1.0 * point
        for _ in range(60):
            share = _softmax(prediction)
            slope = share - target + weight * (prediction - point)
            scale = 1.0 / (share + weight)
            first = scale * slope
            along = scale * share
            # Sherman and Morrison for diag(share + weight) - share share^T; the divisor is above 0, since
            # sum share^2 / (share + weight) < sum share = 1.
            factor = (share * first).sum(1) / (1.0 - (share * along).sum(1))
            step = first + along * factor[:, None]
            # Far from the optimum a full step of the exponential can overshoot: at most 2 in any entry.
            longest = _row_max(abs(step))
            step = step * _where(longest > 2.0, 2.0 / _where(longest > 0.0, longest, 1.0), 1.0)
            prediction = prediction - step
            if float(abs(step).max()) <= CLOSE / weight:
                break
        return prediction

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression."""
        import cvxpy as cp

        return (cp.sum(cp.log_sum_exp(prediction, axis=1)) - cp.sum(cp.multiply(target, prediction))) / len(target)


def _centred(values: Any) -> Any:
    # Twice: beside a large mean the first leaves rounding, and with it a sum that is not 0 to the precision of what is
    # left.
    centred = values - values.mean(0)
    return centred - centred.mean(0)


def library_of(array: Any) -> Any:
    """Return numpy or torch, whichever owns the array; torch is imported by whoever made a tensor."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return library_of(condition).where(condition, yes, no)


def _sigmoid(values: Any) -> Any:
    return 0.5 + 0.5 * library_of(values).tanh(0.5 * values)


def _softplus(values: Any) -> Any:
    library = library_of(values)
    size = abs(values)
    return 0.5 * (values + size) + library.log1p(library.exp(-size))


def _row_max(values: Any) -> Any:
    return values.max(axis=1, keepdims=True) if isinstance(values, np.ndarray) else values.amax(1, True)


def _softmax(values: Any) -> Any:
    weights = library_of(values).exp(values - _row_max(values))
    return weights / weights.sum(1)[:, None]


def leeway(array: Any) -> float:
    """Return what rounding explains in a share, in the precision of the array."""
    return 1e3 * float(library_of(array).finfo(array.dtype).eps)


def _entropy(shares: Any) -> float:
    """Return -sum s log s over shares of at least 0 up to rounding, 0 log 0 = 0; minus infinity below."""
    if float(shares.min()) < -leeway(shares):
        return -float("inf")
    library = library_of(shares)
    positive = _where(shares > 0.0, shares, 1.0)
    return -float((positive * library.log(positive)).sum())


LOSSES: dict[str, Loss] = {"squared": SquaredLoss(), "logistic": LogisticLoss(), "softmax": SoftmaxLoss()}


def loss_named(name: str) -> Loss:
    """Return the loss of that name; an unknown name is a ValueError that lists the known ones."""
    return LOSSES[as_known(name, "loss", LOSSES)]

"""Losses of labels with an intercept: the least over a constant of each output, that nothing penalises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convexnn.checks import Floats
from convexnn.program.losses import InterceptLoss, Loss, leeway, loss_named

# Most Newton steps for the intercept, how often one is halved, and the longest in logits.
STEPS, HALVINGS, LONGEST = 100, 20, 5.0

# Predictions within so many logits of their mean are near each other; farther ones come near by this factor at a time.
NEAR, COOLED = 16.0, 4.0

# A step of this share of the intercept is the last one of a proximal map, which is not known better itself; the slope
# in the intercept is zero up to this share of the rows.
CLOSE = 1e-8
FLAT = 4.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LabelInterceptLoss:
    """L(p) = min over b of the loss of labels at p + b, a number b for each output.

    Constants in p change nothing: -dL/dp and every dual point sums to 0 over the rows of each output. The Hessian is
    that of the loss less a part, so that the curvature is bounded as without an intercept.

    Attributes
    ----------
    stated : Loss
        The loss with the intercept given: logistic or softmax.
    """

    stated: Loss

    @property
    def name(self) -> str:
        """The name that a program gives."""
        return self.stated.name

    @property
    def smoothness(self) -> float:
        """The bound on the curvature of one row's loss."""
        return self.stated.smoothness

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p) in nats."""
        return self.stated.value(self._lifted(prediction, target), target)

    def total(self, prediction: Any, target: Any) -> Any:
        """Return n L(p); the best intercept is found on the host."""
        return self.stated.total(self._lifted(prediction, target), target)

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp, that of the stated loss at the best b."""
        return self.stated.gradient(self._lifted(prediction, target), target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return that of the stated loss for a theta of sum 0 in each output; minus infinity for others."""
        sums = abs(theta.sum(0)) if theta.ndim > 1 else abs(theta.sum())
        if float(sums.max()) > leeway(theta):
            return -float("inf")
        return self.stated.dual(theta, target)

    def into_domain(self, theta: Any, target: Any) -> Any:
        """Return theta moved by its rounding into the domain of the stated loss, its sums 0.

        Sums are taken off all rows alike; what then leaves the domain is mixed with the dual point of no weights, whose
        shares are those of the classes, well inside.
        """
        moved = self.stated.into_domain(theta, target)
        moved = moved - moved.mean(0)
        middle = -self.gradient(0.0 * target, target)
        below = (-self._shares(moved, target)).clip(0.0, None)
        part = float((below / (below + self._shares(middle, target))).max())
        return (1.0 - part) * moved + part * middle

    def prox(self, point: Any, target: Any, weight: float) -> Any:
        """Return argmin_p n L(p) + weight/2 ||p - point||^2: the stated map at point + b, less b."""
        shift = self._shift(_numbers(point), _numbers(target), weight)
        free = _like(shift, point)
        return self.stated.prox(point + free, target, weight) - free

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression, with the intercept as a variable."""
        import cvxpy as cp

        intercept = cp.Variable((1, target.shape[1]))
        return self.stated.expression(prediction + np.ones((len(target), 1)) @ intercept, target)

    def intercept(self, prediction: Any, target: Any) -> Any:
        """Return the best b, one for each output; for the softmax, which sees differences alone, of sum 0."""
        return self._shift(_numbers(prediction), _numbers(target))

    def _lifted(self, prediction: Any, target: Any) -> Any:
        return prediction + _like(self.intercept(prediction, target), prediction)

    def _shares(self, theta: Any, target: Any) -> Any:
        """Return what has to be at least 0: n t theta and 1 less that, or t - n theta."""
        n = len(target)
        if self.name == "softmax":
            return target - n * theta
        share = n * target * theta
        return share * (share < 0.5) + (1.0 - share) * (share >= 0.5)

    def _shift(self, point: Floats, target: Floats, weight: float | None = None) -> Floats:
        """Return the b at which the sum of the rows' slopes at point + b is 0, or at the proximal map of that.

        Where predictions are far apart the losses are flat but for a few rows, and Newton's method does not see where
        to go. It begins with the losses T L(p / T) at a T at which they are near each other, and follows their b down
        to T = 1; their Moreau envelopes have the weight T times as large in p / T.
        """
        columns, wanted = point.reshape(len(point), -1), target.reshape(len(target), -1)
        shift = -columns.mean(axis=0)
        reach = float(np.abs(columns + shift).max())
        heat = max(1.0, reach / NEAR) if np.isfinite(reach) else 1.0
        while heat > 1.0:
            heated = None if weight is None else heat * weight
            shift = heat * self._nearby(columns / heat, wanted, shift / heat, heated)
            heat = max(1.0, heat / COOLED)
        shift = self._nearby(columns, wanted, shift, weight)
        if self.name == "softmax":
            shift = shift - shift.mean()
        return shift.reshape(point.shape[1:])

    def _nearby(self, columns: Floats, wanted: Floats, shift: Floats, weight: float | None) -> Floats:
        """Return b (k,) from one that is not far.

        Newton's method: the sum is the gradient of a convex function of b, that of the losses or of their Moreau
        envelopes, with Hessians H and weight H (weight I + H)^-1.
        """
        slope, bent = self._slope(columns, wanted, shift, weight)
        for _ in range(STEPS):
            step = -np.linalg.lstsq(bent, slope, rcond=1e-14)[0]
            if np.abs(slope).max() <= FLAT * len(columns):
                break
            if weight is not None and np.abs(step).max() <= CLOSE * (1.0 + np.abs(shift).max()):
                return shift + step
            step *= min(1.0, LONGEST / max(float(np.abs(step).max()), 1e-300))
            for _ in range(HALVINGS):
                there, curved = self._slope(columns, wanted, shift + step, weight)
                # Along the way the slope of a convex function only grows: still downhill is not too far.
                if float(there @ step) <= 0.0 or np.abs(there).max() < np.abs(slope).max():
                    break
                step = 0.5 * step
            else:
                break
            shift, slope, bent = shift + step, there, curved
        return shift

    def _slope(self, point: Floats, target: Floats, shift: Floats, weight: float | None) -> tuple[Floats, Floats]:
        """Return the sum of the slopes (k,), and that of the Hessians (k, k)."""
        moved = point + shift
        moved = moved if weight is None else self.stated.prox(moved, target, weight)
        gradient = len(point) * np.asarray(self.stated.gradient(moved, target))
        shares, eye = target + gradient if self.name == "softmax" else np.abs(gradient), np.eye(len(shift))
        blocks = shares[:, :, None] * eye - shares[:, :, None] * shares[:, None, :]
        if weight is not None:
            blocks = np.linalg.solve(eye + blocks / weight, blocks)
        return gradient.sum(axis=0), blocks.sum(axis=0)


def with_intercept(name: str) -> Loss:
    """Return the loss of that name with an intercept."""
    return InterceptLoss() if name == "squared" else LabelInterceptLoss(loss_named(name))


def _numbers(array: Any) -> Floats:
    """Return a numpy array or torch tensor as float64."""
    return np.asarray(array if isinstance(array, np.ndarray) else array.detach().cpu().numpy(), dtype=np.float64)


def _like(values: Floats, array: Any) -> Any:
    """Return values in the kind and precision of an array."""
    if isinstance(array, np.ndarray):
        return values
    return array.new_tensor(values)

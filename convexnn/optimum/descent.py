"""Local training of a network on the same objective: it moves gates, which a program over gates held cannot."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from convexnn.checks import Floats
from convexnn.program.losses import Loss
from convexnn.solvers.common.deadline import Deadline

# Pairs of steps that L-BFGS remembers, and the relative gain of a step at which it ends.
MEMORY, SMALLEST_GAIN = 20, 1e-9


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons v_j relu(x . u_j), each of one output.

    Attributes
    ----------
    hidden : ndarray (w, d)
        u.
    out : ndarray (w,)
        v.
    outputs : ndarray (w,) of int
        The output that each belongs to, 0 to k - 1.
    """

    hidden: Floats
    out: Floats
    outputs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.out)

    @property
    def costs(self) -> Floats:
        """||u_j|| |v_j|, what the penalty counts."""
        sizes: Floats = np.sqrt(np.square(self.hidden).sum(axis=1)) * np.abs(self.out)
        return sizes

    def weights(self, k: int) -> Floats:
        """Return the weights (w, k) of the second layer."""
        result = np.zeros((len(self), k))
        result[np.arange(len(self)), self.outputs] = self.out
        return result

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Neurons:
        return Neurons(self.hidden[which], self.out[which], self.outputs[which])

    def joined(self, other: Neurons) -> Neurons:
        """Return the neurons of both."""
        return Neurons(
            np.concatenate([self.hidden, other.hidden]),
            np.concatenate([self.out, other.out]),
            np.concatenate([self.outputs, other.outputs]),
        )

    def balanced(self, share: float = 0.0) -> Neurons:
        """Return the neurons that cost more than `share` of the dearest, with ||u|| = |v|: there 1/2 sum is sum."""
        costs = self.costs
        kept = self[costs > share * costs.max(initial=0.0)]
        root = np.sqrt(kept.costs)
        lengths = np.sqrt(np.square(kept.hidden).sum(axis=1))
        return Neurons(kept.hidden * (root / lengths)[:, None], np.sign(kept.out) * root, kept.outputs)


@dataclass(frozen=True, eq=False)
class Training:
    """mean loss + strength sum_j ||u_j|| |v_j| over rows (n, d) and targets (n, k), at unit scale of the rows."""

    rows: Floats
    targets: Floats
    loss: Loss
    strength: float

    def predict(self, neurons: Neurons) -> Floats:
        """Return the prediction (n, k)."""
        result: Floats = np.maximum(self.rows @ neurons.hidden.T, 0.0) @ neurons.weights(self.targets.shape[1])
        return result

    def objective(self, neurons: Neurons) -> float:
        """Return the objective, the penalty counted at the best scale of each neuron."""
        return self.loss.value(self.predict(neurons), self.targets) + self.strength * float(neurons.costs.sum())

    def slope(self, neurons: Neurons) -> Floats:
        """Return theta = -dL/dp (n, k)."""
        theta: Floats = -self.loss.gradient(self.predict(neurons), self.targets)
        return theta

    def descended(self, neurons: Neurons, width: float, steps: int, deadline: Deadline) -> Neurons:
        """Return where L-BFGS gets in some steps, with the kink of each ReLU rounded off.

        Parameters
        ----------
        neurons : Neurons
            Where to begin.
        width : float
            The kink is a parabola for |x . u| < width ||u||, in units of the rows: the objective stays a function of
            ||u|| |v| alone, and L-BFGS passes the kinks at which it would end.
        steps : int
            Most steps.
        deadline : Deadline
            The best point until then is returned.
        """
        w, d = neurons.hidden.shape
        lowest, best = np.inf, np.concatenate([neurons.hidden.ravel(), neurons.out])

        def value(flat: Floats) -> tuple[float, Floats]:
            nonlocal lowest, best
            now = Neurons(flat[: w * d].reshape(w, d), flat[w * d :], neurons.outputs)
            objective, slope = self.rounded(now, width)
            if objective < lowest:
                lowest, best = objective, flat.copy()
            if deadline.is_over():
                raise _LateError
            return objective, slope

        options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": SMALLEST_GAIN, "maxcor": MEMORY}
        with suppress(_LateError):
            minimize(value, best, jac=True, method="L-BFGS-B", options=options)
        return Neurons(best[: w * d].reshape(w, d), best[w * d :], neurons.outputs)

    def rounded(self, neurons: Neurons, width: float) -> tuple[float, Floats]:
        """Return loss + strength / 2 sum (||u||^2 + v^2) with kinks rounded as said, and its gradient, flat.

        With E = width ||u|| the ReLU of z is E t^2 where t = (z + E) / 2 E is between 0 and 1; its slope in z is t, and
        in E it is t - t^2.
        """
        hidden, out = neurons.hidden, neurons.out
        lengths = np.maximum(np.sqrt(np.square(hidden).sum(axis=1)), 1e-300)
        reach = width * lengths
        values = self.rows @ hidden.T
        shares = values / (2.0 * reach)
        shares += 0.5
        np.clip(shares, 0.0, 1.0, out=shares)
        bent = shares * shares
        active = np.maximum(values, bent * reach)
        prediction = active @ neurons.weights(self.targets.shape[1])
        residual = self.loss.gradient(prediction, self.targets)
        mine = residual if self.targets.shape[1] == 1 else residual[:, neurons.outputs]
        slope_out = (active * mine).sum(axis=0) + self.strength * out
        bend = ((shares - bent) * mine).sum(axis=0)
        shares *= mine
        slope = shares.T @ self.rows + (width * bend / lengths)[:, None] * hidden
        slope = slope * out[:, None] + self.strength * hidden
        paid = 0.5 * self.strength * float((hidden * hidden).sum() + out @ out)
        return self.loss.value(prediction, self.targets) + paid, np.concatenate([slope.ravel(), slope_out])


class _LateError(Exception):
    """The time is up."""

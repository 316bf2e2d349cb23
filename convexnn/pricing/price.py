"""The face of the room: the largest |f| over a ball, bounded from above and met from below, for several dual points."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from convexnn.checks import Floats
from convexnn.pricing.cones import Ball
from convexnn.pricing.functions import PricedFunction
from convexnn.pricing.proof import Proof, ProofLimits, prove
from convexnn.pricing.reduction import Reduced, reduce

# Inputs up to which space is cut into cones: there are 2^d orthants to begin with.
MOST_INPUTS = 12

# With a time limit levels are proven from coarse to fine, each nearer to the base by this factor: a coarse proof is
# what there is when the time is up. Steps are wide, for the number of cones hardly doubles where the excess is halved.
FIRST_EXCESS, FINER = 0.32, 0.125


@dataclass(frozen=True, eq=False)
class Pricing:
    """What is known about M = max over ||u|| <= 1 and columns c of |sum_i theta_ic relu(x_i . u)|.

    Attributes
    ----------
    bound : float
        M is at most this, rounding included.
    value : float
        The largest value met; 0 where none was looked at.
    points : ndarray (p, d)
        Points of length 1 with values above what was to be beaten, best first.
    values : ndarray (p,)
        Their values.
    cones : int
        Cones that were bounded.
    reason : str
        ``proven``: the bound is at most the target. ``beaten``: a point is above what was to be beaten, or above the
        target. Else the limit that was reached.
    """

    bound: float
    value: float
    points: Floats
    values: Floats
    cones: int
    reason: str


def price_exactly(
    rows: Floats,
    theta: Floats,
    base: float,
    target: float,
    *,
    ball: str = "l2",
    beat: float = float("inf"),
    time_limit: float | None = None,
    max_cones: int = 1 << 40,
    signs: tuple[float, ...] = (1.0, -1.0),
) -> Pricing:
    """Bound M = max over the ball and the columns of theta of |sum_i theta_ic relu(x_i . u)| from above.

    Parameters
    ----------
    rows : ndarray (n, d)
        X, finite.
    theta : ndarray (n, k)
        Dual points.
    base : float
        What M is near to, above 0: levels to prove are base (1 + e) with ever smaller e, down to the target; without
        a time limit the target alone.
    target : float
        The level to prove at last, above `base`.
    ball : {"l2", "l1"}
        The ball that u is in.
    beat : float
        The search ends after the first level at which a point above this was found.
    time_limit : float, optional
        Seconds; what is proven until then is returned.
    max_cones : int
        Most cones of one level.
    signs : tuple of float, default (1.0, -1.0)
        (1.0,): without the bars, the maximum of the sums themselves, which is at least 0 for it is 0 at 0.

    Notes
    -----
    For one column and sign f = f+ - f-, both convex. On a simplicial cone f+ is at most its interpolation at the
    generators v_k and f- at least g . u for any subgradient g, so f(u) <= c . a at u = V^T a with c_k = f+(v_k) -
    g . v_k; the largest c . a within the ball has the closed form of its face (:mod:`convexnn.pricing.support`). Cones
    are halved until every bound is below the level. All is float64, and what rounding can take is added
    (:func:`convexnn.pricing.proof.allowance`).
    """
    ends = None if time_limit is None else perf_counter() + time_limit
    reduced = reduce(rows, theta, ball)
    sides = [
        PricedFunction(reduced.rows, side) for column in reduced.theta.T for side in [sign * column for sign in signs]
    ]
    sides = [side for side in sides if side.theta.any()]
    plain = max((side.plain_bound() for side in sides), default=0.0)
    search = _Search(reduced, sides, Ball(ball), beat, ProofLimits(max_cones, ends))
    return search.run(reduced.outward(plain) if sides else 0.0, base, target)


class _Search:
    """Levels from coarse to fine for all signs and columns of a reduced problem."""

    def __init__(
        self, reduced: Reduced, sides: list[PricedFunction], ball: Ball, beat: float, limits: ProofLimits
    ) -> None:
        self.reduced, self.sides, self.ball, self.beat, self.limits = reduced, sides, ball, beat, limits
        self.values: list[Floats] = []
        self.points: list[Floats] = []
        self.cones, self.best = 0, 0.0

    def run(self, bound: float, base: float, target: float) -> Pricing:
        """Prove levels until the target is reached, a point beats what is to be beaten, or a limit is."""
        excess, reason = 0.0 if self.limits.ends is None else FIRST_EXCESS, "proven"
        while bound > target and reason == "proven":
            if self.reduced.rows.shape[1] > MOST_INPUTS:
                reason = f"more than {MOST_INPUTS} inputs"
                break
            level = max(target, base * (1.0 + excess))
            excess *= FINER
            if level < bound:
                proven, reason = self._level(level)
                bound = min(bound, proven)
        values, points = self._best_first()
        return Pricing(bound, self.best, points, values, self.cones, reason)

    def _level(self, level: float) -> tuple[float, str]:
        """Return the bound over all sides after trying one level, and why it ended."""
        inner, keep = self.reduced.inward(level), self.beat / self.reduced.scale
        bound, reason = 0.0, "proven"
        for side in self.sides:
            if reason in ("proven", "beaten"):
                proof = prove(side, self.ball, inner, keep, self.limits)
                self._keep(proof)
                reason = proof.reason if reason == "proven" or proof.reason != "proven" else reason
                bound = max(bound, proof.bound)
            else:
                bound = max(bound, side.plain_bound())
        if reason == "proven" and any(len(value) for value in self.values):
            reason = "beaten"
        return self.reduced.outward(bound), reason

    def _keep(self, proof: Proof) -> None:
        self.cones += proof.cones
        self.best = max(self.best, proof.value * self.reduced.scale)
        self.values.append(proof.values * self.reduced.scale)
        self.points.append(proof.points @ self.reduced.basis.T)

    def _best_first(self) -> tuple[Floats, Floats]:
        d = len(self.reduced.basis)
        values = np.concatenate([np.zeros(0), *self.values])
        points = np.concatenate([np.zeros((0, d)), *self.points])
        order = np.argsort(-values, kind="stable")
        return values[order], points[order]

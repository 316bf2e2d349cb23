"""The inquiry: what is known of some functions of a network over a region; every point is evaluated anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Event, Proof
from verify.answers.witness import CheckedPoint, WitnessTest, check_point
from verify.backends.engine_chain import EngineChain
from verify.bounds.crown import crown_peaks
from verify.bounds.dyadics import float_above, nearest_float
from verify.bounds.exact_bounds import exact_upper
from verify.bounds.functions import Functions, last_hidden
from verify.bounds.layer_bounds import crown_bounds, interval_bounds
from verify.points.ascent import InterruptedAscentError, ascend
from verify.points.snapping import snapped
from verify.questions.resources import Resources
from verify.regions.box import Box
from verify.regions.intervals import Interval

# The shares of the sums that a function is made of within which it is 0 but for rounding, and within which 0 may be
# reached nearby.
ROUNDED, CLOSE = 1e-9, 1e-5

# What products that underflow may leave of a bound that is 0.
UNDERFLOW = 1e-290

# Inputs of few bits that are tried near one point.
SNAPS = 6

# Weights of exact evaluations without success, about a second, after which points are evaluated with rounding alone,
# and what each evaluation costs beside its weights.
DOUBTFUL, POINT = 5_000_000, 2000


class Inquiry:
    """What is known of some functions of a network over a region.

    Bounds and ascent are here; `splitting.py` and `engines.py` take it further by branch and bound and by engines.

    Attributes
    ----------
    functions, region, resources
        What is asked about, where, and what may be used.
    at_center : ndarray (t,)
        The functions at the center of the region.
    layers : tuple of Interval
        The best bounds known of the pre-activations.
    lower, upper : ndarray (t,)
        Proven bounds of every function; `proof` is the weakest kind that they rest on.
    reached, points : ndarray (t,), ndarray (t, d)
        The largest value found of every function, recomputed in the network, and the input where; minus infinity and
        the center where nothing is reached.
    trace : list of Event
        The steps so far.
    engine, engine_asked
        The engines chosen, and the name of the one asked last; None before.
    relaxed : set of tuple
        The functions whose linear relaxation was asked for.
    leak : float
        The largest difference, in size, of an engine's objective at its point from the value recomputed there.
    tied : bool
        Whether a point is known where exactly 0 is reached and more is asked for.
    caveat : str
        What speaks against a point that looked like a witness, or against an engine; empty where nothing does.
    """

    def __init__(self, functions: Functions, region: Box, resources: Resources) -> None:
        self.functions, self.region, self.resources, self.clock = functions, region, resources, resources.clock
        self.engine: EngineChain | None = None
        self.engine_asked: str | None = None
        self.trace: list[Event] = []
        self.caveat, self.leak, self.tied, self.doubtful = region.doubt, 0.0, False, 0
        self.layers = interval_bounds(functions.network, region)
        known = functions.over(last_hidden(region, self.layers))
        self.lower, self.upper, self.proof = known.lower, known.upper, Proof.INTERVAL
        self.reach = functions.reach(last_hidden(region, self.layers))
        self.relaxed: set[tuple[int, ...]] = set()
        self.reached = np.full(len(functions), -np.inf)
        self.points = np.tile(region.center, (len(functions), 1))
        self.at_center = self.record(region.center)

    def tighten(self) -> None:
        """Tighten all bounds by CROWN; intervals are cheaper and often enough, so they come first.

        Where the time is over, layers that are left keep their intervals.
        """
        if not self.clock.overdue():
            self.take_layers(crown_bounds(self.functions.network, self.region, self.layers, self.clock.overdue))
            self.proof = Proof.CROWN

    def take_layers(self, layers: tuple[Interval, ...]) -> None:
        """Take bounds of the pre-activations, and what they say of the functions."""
        self.layers = layers
        known = self.functions.over(last_hidden(self.region, layers))
        if not self.clock.overdue():
            known = known.meet(self.functions.crown(self.region, layers))
        self.lower, self.upper = np.maximum(self.lower, known.lower), np.minimum(self.upper, known.upper)

    def undecided(self) -> list[int]:
        """Return the functions that are not proven to be at most 0."""
        return [int(index) for index in np.flatnonzero(self.upper > 0.0)]

    def reached_together(self, chosen: Sequence[int]) -> float:
        """Return the largest value known of the least of the chosen functions, at one and the same point."""
        index = list(chosen)
        return float(self.functions.at(self.points[index])[:, index].min(axis=1).max())

    def record(self, point: Floats) -> Floats:
        """Evaluate a point in the network, keep it where it is the best yet, and return the functions (t,) there."""
        values = self.functions.at(point[None])[0]
        # Points of a hollow region are outside by rounding, and reach nothing.
        better = (values > self.reached) & (not self.region.is_hollow)
        # Points first: where Ctrl-C is heard in between, no value is said that its point does not reach.
        self.points[better] = point
        self.reached[better] = values[better]
        return values

    def try_witness(self, point: Floats, test: WitnessTest) -> CheckedPoint:
        """Evaluate a point; say whether it counts as a witness of what is tested."""
        self.record(point)
        exact = self.doubtful <= DOUBTFUL
        tried = check_point(self.functions, self.region, point, test, self.resources.replay, exact)
        self.caveat, self.tied = self.caveat or tried.caveat, self.tied or tried.tie
        self.doubtful += (POINT + self.functions.network.nnz) * tried.close
        return tried

    def nearly_reaching(self, chosen: Sequence[int], point: Floats) -> list[Floats]:
        """Return inputs of few bits near a point where the least of the chosen functions may be 0, the largest first.

        They are none where it is far from 0 at the point itself.
        """
        index = list(chosen)
        reach, own = float(self.reach[index].max()), float(self.functions.at(point[None])[0, index].min())
        points = self.few_bits_near(point) if abs(own) <= CLOSE * reach else point[None][:0]
        if not len(points):
            return []
        least = self.functions.at(points)[:, index].min(axis=1)
        order = np.argsort(-least, kind="stable")
        return [points[place] for place in order if least[place] >= -ROUNDED * reach][:SNAPS]

    def few_bits_near(self, point: Floats) -> Floats:
        """Return inputs (n, d) of the region of few bits near a point."""
        points = snapped(self.region, point)
        return points[[self.region.contains(each) for each in points]]

    def bound_ties(self) -> None:
        """Bound functions in rational arithmetic whose bounds are 0 but for rounding, or all at a single input."""
        close = (self.upper >= 0.0) & ((self.upper <= ROUNDED * self.reach + UNDERFLOW) | self._is_point)
        self.bound_exactly(np.flatnonzero(close).tolist())

    def bound_exactly(self, chosen: Sequence[int]) -> None:
        """Bound functions in rational arithmetic, where that is little work."""
        index = list(chosen)
        found = exact_upper(self.functions, self.region, index) if index and not self.clock.overdue() else None
        if found is None:
            return
        upper = np.array([float_above(value) for value in found])
        if (upper < self.upper[index]).any():
            self.proof = Proof.CROWN if self.proof is Proof.INTERVAL else self.proof
            self.upper[index] = np.minimum(upper, self.upper[index])
            self.note("exact bounds", f"margin at most {self.upper[index].max():.6g}")
        # By rounding alone.
        self.settle([place for place in index if self.reached[place] > self.upper[place]])

    def settle(self, chosen: Sequence[int]) -> None:
        """Replace the values reached of functions by the exact ones at their points, rounded to nearest."""
        for index in chosen:
            values = self.functions.exactly_at(self.points[index]) if np.isfinite(self.reached[index]) else None
            if values is not None:
                self.reached[index] = nearest_float(values[index])

    def settle_best(self, index: int) -> None:
        """Do so at the best of its point, of inputs of few bits near it, and of the peak of its CROWN bound."""
        self.settle([index])
        peak = self.crown_peak([index])
        points = np.concatenate([peak[None], self.few_bits_near(peak), self.few_bits_near(self.points[index])])
        order = np.argsort(-self.functions.at(points)[:, index], kind="stable")[: 2 * SNAPS]
        for point in points[order]:
            values = None if self.clock.overdue() else self.functions.exactly_at(point)
            value = -np.inf if values is None else nearest_float(values[index])
            if value > self.reached[index] and self.region.contains(point):
                self.points[index], self.reached[index] = point, value

    def error_at(self, point: Floats | None, chosen: Sequence[int]) -> float:
        """Return what rounding can amount to in the chosen functions at a point, little in any case; 0 without one."""
        if point is None:
            return 0.0
        known, index = self.functions.proven_at(point), list(chosen)
        with np.errstate(all="ignore"):
            width = np.minimum(known.upper - known.lower, ROUNDED * self.reach)[index].max()
        return float(width) if np.isfinite(width) else 0.0

    @property
    def _is_point(self) -> bool:
        return bool((self.region.lower == self.region.upper).all())

    def climb(self, chosen: Sequence[int], near: Floats | None = None) -> Floats:
        """Return the best point of gradient ascent on the least of the chosen functions, begun anywhere or `near`."""
        rows = np.stack([self.functions.row(index) for index in chosen])
        offsets = self.functions.offsets[list(chosen)]
        objective = rows[0] if len(rows) == 1 else rows
        more: dict[str, Any] = {} if len(rows) == 1 else {"offsets": offsets}
        more |= {} if near is None else {"near": near}
        net, rng = self.functions.network, self.resources.rng
        try:
            point, _ = ascend(net, self.region, objective, rng, stop=self.clock.over, **more)
        except InterruptedAscentError as cut:
            self.record(cut.point)
            raise
        self.record(point)
        return point

    def crown_peak(self, chosen: Sequence[int]) -> Floats:
        """Return the point where the CROWN bound of the mean of the chosen functions is largest, to climb from there.

        Ascent from anywhere can end on a plateau that lies far from it.
        """
        rows = np.mean([self.functions.row(index) for index in chosen], axis=0)
        return np.asarray(crown_peaks(rows[None], self.functions.network.layers, self.layers, self.region)[0])

    def note(self, source: str, finding: str) -> None:
        """Write a step down."""
        self.trace.append(Event(self.clock.seconds, source, finding))

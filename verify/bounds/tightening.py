"""Tightening: pre-activation bounds by linear programs, each proven anew by its multipliers; as many as time allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork
from verify.backends.warm_start import WarmEngine, warm_engine
from verify.bounds.crown import crown_interval, relax_layers
from verify.bounds.layer_bounds import of_units
from verify.bounds.triangles import Triangles, over_inputs
from verify.clock import Clock
from verify.milp.scaling import Scaled, scale
from verify.regions.balls import L2Ball
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY, Interval

# Bounds evaluated at a time.
BATCH = 64

# Over an L2 ball: sizes of the cubes in its place, where 1 is the largest inside it, and the least share of one that an
# input keeps in the box of the moves.
CUBES, LEAST = (0.75, 2.0), 0.1

# Seconds that it takes to make an entry of the weights a part of a linear program, which asks no clock meanwhile.
HANDOVER = 3e-7

# A neuron, and 1 where it is bounded from above, -1 from below.
Question = tuple[int, float]


def tightened(
    network: SparseReLUNetwork, region: Box, known: Sequence[Interval], clock: Clock
) -> Iterator[tuple[Interval, ...]]:
    """Yield pre-activation bounds ever tighter than those `known`, sound under rounding: the last are the tightest.

    Parameters
    ----------
    network : SparseReLUNetwork
        L layers.
    region : Box
        Any region.
    known : sequence of Interval
        Bounds of all layers, from :func:`verify.bound`.
    clock : Clock
        Its limit is shared by the layers that are left.

    Notes
    -----
    Layer by layer from the second on, the largest and smallest pre-activations over the
    :class:`verify.bounds.triangles.Triangles` of the layers before. Of a hidden layer only neurons that can switch,
    those nearest to being stable first and their nearer side first, the other side where they can switch still; of the
    outputs all. What counts is what the multipliers of an engine prove (:mod:`verify.bounds.duals`), never its
    objective.
    """
    result, depth = list(of_units(network, known)), len(network.layers)
    yield tuple(result)
    triangles = over_inputs(region)
    for index in range(1, depth):
        entries = sum(weight.nnz for weight, _ in network.layers[: index + 1])
        if (
            clock.left <= HANDOVER * entries
            or not np.isfinite([result[index - 1].lower, result[index - 1].upper]).all()
        ):
            break
        triangles = triangles.deeper(network.layers[index - 1], result[index - 1])
        if index > 1:
            hidden = relax_layers(network.layers[:index], result, region)
            result[index] = result[index].meet(crown_interval(*network.layers[index], hidden, region, clock.over))
        until = clock.seconds + clock.left / (depth - index)
        layer = _LayerTightening(triangles, network.layers[index], result[index], clock, until)
        for known_now in layer.tightened_outputs() if index == depth - 1 else layer.tightened_hidden():
            result[index] = known_now
            yield tuple(result)


class _LayerTightening:
    """The bounds of one layer on their way, until some second of a clock."""

    def __init__(self, triangles: Triangles, layer: Layer, known: Interval, clock: Clock, until: float) -> None:
        self.triangles, self.clock, self.until = triangles, clock, until
        self.bias, self.costs, self.known = layer[1], triangles.costs(layer[0]), known
        self.lower, self.upper = known.lower.copy(), known.upper.copy()
        with np.errstate(all="ignore"):
            milp, self.mapping = triangles.model()
            self.scaled: Scaled = scale(milp)
        self.engine: WarmEngine = warm_engine(self.scaled.milp)

    def tightened_hidden(self) -> Iterator[Interval]:
        """Bound the neurons that can switch, batch by batch."""
        with np.errstate(all="ignore"):
            nearness = np.minimum(self.upper, -self.lower) / (self.upper - self.lower)
        units = set(self.known.switching.tolist())
        order = [index for index in np.argsort(nearness, kind="stable").tolist() if index in units]
        nearer = {index: 1.0 if self.upper[index] <= -self.lower[index] else -1.0 for index in order}
        yield from self._tightened([(index, nearer[index]) for index in order])
        yield from self._tightened([(index, -nearer[index]) for index in order if self._loose(index)])

    def tightened_outputs(self) -> Iterator[Interval]:
        """Bound every output from above, then from below, batch by batch."""
        for sign in (1.0, -1.0):
            yield from self._tightened([(index, sign) for index in range(len(self.upper))])

    def _loose(self, index: int) -> bool:
        return bool(self.lower[index] < 0.0 < self.upper[index])

    def _tightened(self, questions: list[Question]) -> Iterator[Interval]:
        """Bound sign times each neuron from above, as far as time allows; yield what is known after each batch."""
        for start in range(0, len(questions), BATCH):
            answered: list[Question] = []
            duals: list[Floats] = []
            for question in questions[start : start + BATCH]:
                found = [] if self.clock.seconds >= self.until else self._multipliers(question)
                answered += [question] * len(found)
                duals += found
            if answered:
                self._prove(answered, np.array(duals))
                yield replace(self.known, lower=self.lower.copy(), upper=self.upper.copy())

    def _multipliers(self, question: Question) -> list[Floats]:
        """Return multipliers (r,) of the rows of the relaxation: several over an L2 ball, none where the engine fails.

        In place of an L2 ball the engine gets boxes: two cubes in which a typical linear function reaches about as far,
        and the box of its moves to where the function of the inputs that the last multipliers leave is largest.
        """
        region = self.triangles.region.base
        if not isinstance(region, L2Ball):
            return self._engine_multipliers(question)
        cube = np.full(region.size, region.radius / np.sqrt(region.size))
        duals: list[Floats] = []
        for share in CUBES:
            self._confine(region, share * cube)
            duals += self._engine_multipliers(question)
        if duals:
            left = self.triangles.left(self._cost([question]), duals[-1][None])
            self._confine(region, np.abs(region.peaks(left)[0] - region.center) + LEAST * cube)
            duals += self._engine_multipliers(question)
        return duals

    def _engine_multipliers(self, question: Question) -> list[Floats]:
        with np.errstate(all="ignore"):
            own = np.asarray((self._cost([question]) @ self.mapping).toarray()[0]) * self.scaled.width
            factor = float(np.abs(own).max(initial=0.0)) or 1.0
            # HiGHS works on what is no number until its time is up.
            if not all(np.isfinite(part).all() for part in (own, self.scaled.milp.rows.data)):
                return []
            found = self.engine.maximise(own / factor, self.until - self.clock.seconds)
            return [] if found is None else [(factor * found / self.scaled.heights)[: len(self.triangles.lower)]]

    def _confine(self, region: L2Ball, rooms: Floats) -> None:
        """Give the engine the box of `rooms` (d,) around the center."""
        low = np.maximum(region.center - rooms, region.lower) - region.lower
        high = np.minimum(region.center + rooms, region.upper) - region.lower
        width = self.scaled.width[: region.size]
        self.engine.confine(low / width, high / width)

    def _cost(self, questions: list[Question]) -> sp.csr_matrix:
        return sp.csr_matrix(sp.diags([sign for _, sign in questions]) @ self.costs[[index for index, _ in questions]])

    def _prove(self, questions: list[Question], duals: Floats) -> None:
        at = np.array([index for index, _ in questions], dtype=np.int64)
        signs = np.array([sign for _, sign in questions])
        bias = signs * self.bias[at]
        top = self.triangles.bounds(self._cost(questions), duals)
        top = np.nextafter(top + bias + 4.0 * EPS * (np.abs(top) + np.abs(bias)) + TINY, np.inf)
        rising = signs > 0.0
        np.minimum.at(self.upper, at[rising], top[rising])
        np.maximum.at(self.lower, at[~rising], -top[~rising])

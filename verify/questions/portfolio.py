"""The portfolio: several sources of points under one clock, each point climbed from in the network itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.backends.engine_chain import EngineChain
from verify.points.polishing import polish
from verify.points.population import Population
from verify.points.surrogates import Surrogate, encode_surrogate, stream_incumbents
from verify.questions.engines import ask_relaxation, choose_engine, out_of_time
from verify.questions.inquiry import Inquiry

# Shares of the time of one search: first climbs, linear relaxation, all surrogates together, polishing at the end.
CLIMBING, RELAXING, COPYING, POLISHING = 0.3, 0.1, 0.25, 0.1

# Seconds for one linear program.
PROGRAM = 5.0

# Runs of a population without a gain after which a search that need not use its time is over.
RUNS = 1


class Portfolio:
    """Anytime search for inputs where functions of an inquiry are large.

    Sources, for each function: a population of ascents, begun at the peak of the CROWN bound too; the point of the
    network's linear relaxation, unless it was asked before, and the MILPs of surrogates, every incumbent of which joins
    the population; and the best point polished by linear programs. What a surrogate finds counts by its value in the
    network alone.

    Parameters
    ----------
    inquiry : Inquiry
        What is known; every point is evaluated there.
    surrogates : sequence of Surrogate
        Sparse copies; none leaves the other sources.
    accept : callable
        Whether a point (d,) ends the search.
    """

    def __init__(self, inquiry: Inquiry, surrogates: Sequence[Surrogate], accept: Callable[[Floats], bool]) -> None:
        self.inquiry, self.surrogates, self.accept, self.clock = inquiry, surrogates, accept, inquiry.clock
        self.populations: dict[int, Population] = {}
        self.source, self.accepted = "", False

    def search(self, chosen: Sequence[int], until: float, patient: bool = True) -> bool:
        """Search for the chosen functions until some time; return whether a point was accepted.

        The function with the largest value so far comes first; each has an equal share of the time that is left. With
        `patient` False a function is left once its population has stagnated some times in a row.
        """
        for place, index in enumerate(sorted(chosen, key=lambda index: -self.inquiry.reached[index])):
            now = self.clock.seconds
            if now >= until:
                return False
            try:
                if self._turn(index, now, now + (until - now) / (len(chosen) - place), patient):
                    return True
            except KeyboardInterrupt:
                if index in self.populations:
                    self._offer(index, self.populations[index].point, "population")
                raise
        return False

    def _turn(self, index: int, began: float, until: float, patient: bool) -> bool:
        """Ask every source for one function."""
        span = until - began
        climbed, relaxed, copied = began + span * np.cumsum([CLIMBING, RELAXING, COPYING])
        polishing = until - POLISHING * span
        if not self.surrogates:
            return self._climb(index, polishing, patient) or self._polish(index, until)
        return (
            self._climb(index, climbed, patient)
            or (patient and self._ask_relaxation(index, relaxed))
            or self._ask_surrogates(index, copied)
            or self._climb(index, polishing, patient)
            or self._polish(index, until)
        )

    def _population(self, index: int, stop: Callable[[], bool]) -> Population:
        if index not in self.populations:
            functions = self.inquiry.functions
            self.populations[index] = Population(
                functions.network, self.inquiry.region, functions.row(index), self.inquiry.resources.rng
            )
            self.populations[index].add(np.stack([self.inquiry.points[index], self.inquiry.crown_peak([index])]), stop)
        return self.populations[index]

    def _climb(self, index: int, until: float, patient: bool) -> bool:
        stop = partial(self.clock.past, until)
        population = self._population(index, stop)
        best, runs = -np.inf, population.runs
        while not stop() and (patient or population.runs < runs + RUNS):
            if population.grow(stop) and self._offer(index, population.point, "population"):
                return True
            if population.value > best + 1e-6 * abs(best):
                best, runs = population.value, population.runs
        return self._offer(index, population.settle(stop), "population")

    def _ask_relaxation(self, index: int, until: float) -> bool:
        """Take the point of the linear relaxation, once."""
        if (index,) in self.inquiry.relaxed or self._engine() is None or self.clock.past(until):
            return False
        point = ask_relaxation(self.inquiry, [index], until).point
        return point is not None and self._join(index, "linear relaxation", [], point)

    def _ask_surrogates(self, index: int, until: float) -> bool:
        """Ask the MILPs of the surrogates, each for an equal share of the time that is left."""
        engine = self._engine()
        if engine is None:
            return False
        functions = self.inquiry.functions
        for place, surrogate in enumerate(self.surrogates):
            now, before = self.clock.seconds, self.inquiry.reached[index]
            mark = now + max(until - now, 0.0) / (len(self.surrogates) - place)
            points: list[Floats] = []
            found = partial(self._join, index, surrogate.name, points)
            left = partial(self.clock.left_until, mark)
            model = encode_surrogate(surrogate, self.inquiry.region, functions.row(index))
            asked = 0 if model is None else stream_incumbents(model, engine, left, found)
            raw = functions.at(np.stack(points))[:, index].max() if points else -np.inf
            gain = "a gain" if self.inquiry.reached[index] > before else "no gain"
            words = f"{len(points)} points of {asked} MILPs, the best {raw:.6g} as it was; {gain} after climbing"
            self.inquiry.note(surrogate.name, words)
            if self.accepted:
                return True
        return False

    def _engine(self) -> EngineChain | None:
        """Return the engines, chosen anew; None where none can be asked, or no time is left to."""
        return self.inquiry.engine if choose_engine(self.inquiry) is None and not out_of_time(self.inquiry) else None

    def _join(self, index: int, name: str, points: list[Floats], point: Floats) -> bool:
        """Take a point of a surrogate: as it is, and after climbing from it."""
        points.append(point)
        if self._offer(index, point, name):
            return True
        population = self._population(index, self.clock.over)
        population.add(point[None], self.clock.over)
        return self._offer(index, population.point, name)

    def _polish(self, index: int, until: float) -> bool:
        engine = self._engine()
        if engine is None or self.clock.past(until):
            return False
        functions = self.inquiry.functions
        start, time = self.inquiry.points[index], min(PROGRAM, self.clock.left_until(until))
        row = functions.row(index)
        best = polish(functions.network, self.inquiry.region, row, start, engine, time)
        self._population(index, self.clock.over).add(best[None], self.clock.over)
        return self._offer(index, best, "polishing")

    def _offer(self, index: int, point: Floats, source: str) -> bool:
        """Show a point; note its source where it is the best yet, and return whether it is accepted."""
        before = self.inquiry.reached[index]
        self.accepted = self.accept(point)
        self.inquiry.record(point)
        if (self.accepted or self.inquiry.reached[index] > before) and source != self.source:
            self.source = source
            self.inquiry.note(source, f"reached {self.inquiry.reached[index]:.6g}")
        return self.accepted

"""The search for the network itself: starts, perturbations of the best, and which of them pay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convexnn.recovery.hidden_layer import Hidden
from convexnn.recovery.polish import polish
from convexnn.recovery.problem import Problem
from convexnn.recovery.proposals import Proposals
from convexnn.recovery.rounds import Schedule, threshold_rounds
from convexnn.recovery.support_steps import conjugate_steps, damped_step

# A relative mean square error that float64 alone can show: the network is exact.
EXACT = 1e-20

# Below it, float32 cannot tell one candidate from another.
FINE = 1e-8

# Kinds of gates that a candidate draws its fresh ones from.
MIXTURES = (("dense", "single"), ("dense",), ("sparse", "moment"), ("dense", "sparse", "single", "moment"))

# Largest first budget of a candidate, as a multiple of the budget.
MOST_SLACK = 4.0

# Rows a weight from which full steps do not overfit the gates that they are made for: other starts would be slower.
AMPLE_ROWS = 20

# Rounds of a start in each style, and where rows are scarce, below so many a weight: there slow starts end better the
# longer they have been slow.
START_ROUNDS, LONG_START_ROUNDS, SCARCE_ROWS = (24, 50, 50), (24, 150, 300), 3

# Moves of the best: three that drop neurons, three that drop none; as often as they stand here.
MOVES = ("drop many", "drop few", "drop weak", "add", "price", "price", "go on")

# Where rows are not ample some of the weights are dropped, too: neurons have the right place and the wrong inputs.
MOVES_OF_FEW_ROWS = (*MOVES, "thin")

# Shares of the weights that are kept by a move that drops some.
THINNED = (0.5, 0.95)


@dataclass(frozen=True)
class Style:
    """A way of fitting: its name, the fit at a damping, the range of its rounds, and the work of a fit in n s units."""

    name: str
    fit: Callable[..., Tensor]
    dampings: tuple[float, ...]
    rounds: tuple[int, int]
    work: Callable[[int], float]


def _descent(columns: Tensor, residual: Tensor, damping: float) -> Tensor:
    return conjugate_steps(columns, residual, count=5)


STYLES = (
    Style("full steps", damped_step, (1e-2, 1e-2, 1e-3, 1e-4), (4, 26), lambda s: float(s)),
    Style("damped steps", damped_step, (1.0,), (50, 250), lambda s: float(s)),
    Style("short steps", _descent, (0.0,), (50, 250), lambda s: 20.0),
)

# Dampings of all styles once only float64 tells candidates apart: neurons may nearly be parallel there.
FINE_DAMPINGS = (1e-2, 1e-5, 1e-8)


@dataclass(frozen=True, eq=False)
class Found:
    """A layer, its loss (the share of the target's mean square that is missed), and where it came from."""

    hidden: Hidden
    loss: float
    source: str
    one_sided: bool = True


@dataclass
class Scores:
    """What each style has gained, in decibels a unit of work; what is long past counts less."""

    gains: list[float] = field(default_factory=lambda: [1.0] * len(STYLES))
    works: list[float] = field(default_factory=lambda: [1.0] * len(STYLES))

    def draw(self, rng: np.random.Generator, costs: list[float]) -> int:
        """Return the index of a style: each has work in proportion to what it gains by it, and none is ever out."""
        rates = np.divide(self.gains, self.works)
        chances = (0.1 + rates / rates.sum()) / costs
        return int(rng.choice(len(STYLES), p=chances / chances.sum()))

    def add(self, index: int, gain: float, work: float) -> None:
        """Credit a candidate of style `index`."""
        self.gains = [0.97 * value for value in self.gains]
        self.works = [0.97 * value for value in self.works]
        self.gains[index] += min(gain, 10.0)
        self.works[index] += work


@dataclass(frozen=True, eq=False)
class Plan:
    """A candidate before it is run: where it begins, what its style and schedule are, who proposes gates."""

    hidden: Hidden
    schedule: Schedule
    kinds: tuple[str, ...]
    style: int
    source: str
    one_sided: bool


@dataclass(frozen=True, eq=False)
class Search:
    """Candidates for a problem: plans made at random, run, and scored.

    Attributes
    ----------
    problem : Problem
        The data at unit scale; in float64 once float32 cannot tell candidates apart.
    budget, width : int
        Most nonzero weights, most neurons.
    signs : {"both", "positive", "negative"}
        Output weights allowed.
    rng : numpy.random.Generator
        The only source of randomness.
    stop : callable
        Asked before every round; a candidate that is cut short is judged as it is.
    scores : Scores
        What the styles have gained so far.
    """

    problem: Problem
    budget: int
    width: int
    signs: str
    rng: np.random.Generator
    stop: Callable[[], bool]
    scores: Scores = field(default_factory=Scores)

    @property
    def starts(self) -> list[tuple[int, bool, int]]:
        """The styles, whether all signs agree, and the widths, of the candidates that begin from nothing."""
        sides = (True, False) if self.signs == "both" else (True,)
        styles = range(1 if self._ample else len(STYLES))
        return [(style, side, width) for width in self._widths for side in sides for style in styles]

    def start(self, style: int, one_sided: bool, width: int) -> Plan:
        """Return a plan from nothing: random gates, and for full steps a budget that falls."""
        full = style == 0
        kinds = MIXTURES[self.rng.integers(2)] if full else ("dense",)
        slack, rounds = float(self.rng.uniform(1.3, MOST_SLACK)) if full else 1.0, self._start_rounds[style]
        gates = self._gates.mixed(kinds, width, self.problem.target)
        schedule = self._schedule(style, rounds, slack, one_sided)
        return Plan(self._newborn(gates, one_sided), schedule, kinds, style, "start", one_sided)

    def move(self, best: Found) -> Plan:
        """Return a perturbation of the best: neurons dropped, gates added, rounds to go on with."""
        rng, style = self.rng, self.scores.draw(self.rng, self._costs)
        kinds = MIXTURES[rng.integers(len(MIXTURES))]
        moves = MOVES if self._ample else MOVES_OF_FEW_ROWS
        name = moves[rng.integers(len(moves))]
        kept = thinned(best.hidden, rng) if name == "thin" else best.hidden
        kept = kept.kept(torch.as_tensor(_survivors(name, kept, rng)))
        room = max(0, self.width - len(kept.signs))
        count = room if name in ("go on", "thin") else max(room, self.width // 4 + 1)
        residual = self.problem.residual(kept.weights, kept.signs)
        gates = self._gates.priced(count, residual) if name == "price" else self._gates.mixed(kinds, count, residual)
        one_sided = best.one_sided and (self.signs != "both" or bool(rng.random() < 0.7))
        slack = 1.0 if name == "go on" else min(MOST_SLACK, 1.0 + float(rng.exponential(0.4)))
        schedule = self._schedule(style, int(rng.integers(*STYLES[style].rounds)), slack, one_sided)
        return Plan(kept.joined(self._newborn(gates, one_sided)), schedule, kinds, style, name, one_sided)

    def run(self, plan: Plan, best: float) -> Found:
        """Return what becomes of a plan, and credit its style with what it betters the loss `best` by."""
        propose = partial(self._gates.mixed, plan.kinds)
        hidden, loss = threshold_rounds(self.problem, plan.hidden, self.budget, plan.schedule, propose, self.stop)
        if int(hidden.live.sum()) > self.width:
            hidden, loss = polish(self.problem, hidden.compact(self.width), stop=self.stop)
        gain = 10.0 * np.log10(best / loss) if 0.0 < loss < best < np.inf else 0.0
        self.scores.add(plan.style, gain, plan.schedule.rounds * self._work(plan.style))
        source = f"{plan.source}, {STYLES[plan.style].name}"
        return Found(hidden.compact(self.width), loss, source, plan.one_sided and is_one_sided(hidden))

    @property
    def _ample(self) -> bool:
        return len(self.problem.target) >= AMPLE_ROWS * self.budget

    @property
    def _scarce(self) -> bool:
        return len(self.problem.target) < SCARCE_ROWS * self.budget

    @property
    def _start_rounds(self) -> tuple[int, ...]:
        return LONG_START_ROUNDS if self._scarce else START_ROUNDS

    @property
    def _widths(self) -> tuple[int, ...]:
        """The widths of starts, narrow ones first where rows are scarce."""
        least = ceil(self.budget / self.problem.rows.shape[1])
        narrow = sorted({max(least, ceil(share * self.width**0.5)) for share in (0.5, 1.0)})
        return (*(width for width in narrow if self._scarce and width < self.width), self.width)

    @property
    def _gates(self) -> Proposals:
        return Proposals(self.problem, self.rng)

    def _work(self, style: int) -> float:
        """Return the work of a round, in units of n d: one product over all blocks, and the fit."""
        return 1.5 * self.width + self.budget * STYLES[style].work(self.budget) / self.problem.rows.shape[1]

    @property
    def _costs(self) -> list[float]:
        """The work of a typical candidate of each style."""
        return [0.5 * sum(style.rounds) * self._work(index) for index, style in enumerate(STYLES)]

    def _newborn(self, gates: Tensor, one_sided: bool) -> Hidden:
        """Return empty blocks, all of one sign or of random ones."""
        signs = self.rng.choice([-1.0, 1.0], len(gates))
        if one_sided:
            side = {"positive": 1.0, "negative": -1.0, "both": 1.0 if self.problem.target.mean() >= 0.0 else -1.0}
            signs[:] = side[self.signs]
        return Hidden.empty(self.problem, gates, torch.as_tensor(signs).to(gates))

    def _schedule(self, style: int, rounds: int, slack: float, one_sided: bool) -> Schedule:
        fine = self.problem.rows.dtype == torch.float64
        dampings = FINE_DAMPINGS if fine else STYLES[style].dampings
        damping = float(dampings[self.rng.integers(len(dampings))])
        return Schedule(rounds, slack, partial(STYLES[style].fit, damping=damping), free_signs=not one_sided)


def thinned(hidden: Hidden, rng: np.random.Generator) -> Hidden:
    """Return the neurons that are left when a random share of the weights is dropped."""
    kept = torch.as_tensor(rng.random(hidden.weights.shape) < rng.uniform(*THINNED)).to(hidden.weights)
    thin = Hidden(hidden.weights * kept, hidden.signs, hidden.gates)
    return thin.kept(thin.live)


def is_one_sided(hidden: Hidden) -> bool:
    """Whether all signs of the live neurons agree."""
    signs = hidden.signs[hidden.live]
    return bool((signs == signs[:1]).all())


def _survivors(move: str, hidden: Hidden, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which neurons a move keeps."""
    count = len(hidden.signs)
    if move == "drop many":
        return rng.random(count) < 0.7
    if move == "drop few":
        return rng.random(count) < 0.9
    if move == "drop weak":
        lengths = hidden.weights.norm(dim=1).cpu().numpy()
        return np.asarray(lengths > np.quantile(lengths, 0.3)) if count else np.ones(0, dtype=bool)
    return np.ones(count, dtype=bool)

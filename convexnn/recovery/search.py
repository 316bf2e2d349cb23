"""The search for the network itself: candidates that start from nothing or perturb the best, run and scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.candidates.bandit import Bandit, Kind
from convexnn.recovery.candidates.moves import (
    MOVES,
    MOVES_OF_FEW_ROWS,
    PURSUED,
    PURSUED_CHANCES,
    drop_neighbourhood,
    turn_neurons,
)
from convexnn.recovery.candidates.parts import Part, renew_parts
from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.candidates.pursuit import Pursuit
from convexnn.recovery.candidates.reversals import reverse_neurons
from convexnn.recovery.candidates.rounds import Schedule, threshold_rounds
from convexnn.recovery.candidates.step_rules import STEP_RULES
from convexnn.recovery.layer.hidden_layer import HiddenLayer, without_linear_neurons
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem

# A relative mean square error that float64 alone can show: the network is exact.
EXACT = 1e-20

# Below it, float32 cannot tell one candidate from another.
FINE = 1e-8

# Kinds of gates that a candidate draws its fresh ones from.
MIXTURES = (("dense", "single"), ("dense",), ("sparse", "moment"), ("dense", "sparse", "single", "moment"))

# The same beside a linear function: there a gate of one feature is nothing new where the feature is of one sign.
MIXTURES_BESIDE_LINEAR = (("moment", "tail"), ("sparse", "moment"), ("moment",), ("dense", "sparse", "moment"))
START_MIXTURES_BESIDE_LINEAR = (("moment",), ("moment", "dense"))

# First budgets of every other candidate beside a linear function, as multiples of the budget: weights that fit what a
# missing neuron leaves have to go before its own can come.
RISING = (0.4, 0.95)

# Share of the candidates beside a linear function whose neurons are turned to see a row from the other side.
TURNS = 0.2

# Share of the candidates that begin with neurons turned round where that saves weights.
REVERSED = 0.5

# Neurons from which parts of a network are searched anew, rounds over all of fewer being as cheap, and the share of the
# variance missed below which they are.
PART_NEURONS, PART_LOSS = 30, 1e-3

# Candidates for a part, the share of them that begin from nothing, and the neurons that it may have more than before.
PART_CANDIDATES, ANEW, SPARE_NEURONS = 6, 0.3, 2

# Neurons among which a pursuit finds those that it adds.
NEWCOMERS = 5

# Share of the pursuits of a neighbourhood that hold all other neurons: they take less time.
HELD = 0.5

# Share of the pursuits whose neurons may have another sign than those that are there.
ANY_SIDE = 0.1

# Standard errors below which the lean of a target is chance.
CHANCE_LEAN = 3.0

# Largest first budget of a candidate, as a multiple of the budget.
MOST_SLACK = 4.0

# Rows a weight from which full steps do not overfit the gates that they are made for: other starts would be slower.
AMPLE_ROWS = 20

# Rounds of a start by each step rule, and where rows are scarce, below so many a weight: there slow starts end better
# the longer they have been slow.
START_ROUNDS, LONG_START_ROUNDS, SCARCE_ROWS = (24, 50, 50), (24, 150, 300), 3

# Dampings of all step rules once only float64 tells candidates apart: neurons may nearly be parallel there.
FINE_DAMPINGS = (1e-2, 1e-5, 1e-8)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A layer, its loss (the share of the target's mean square that is missed), and where it came from."""

    hidden: HiddenLayer
    loss: float
    source: str
    one_sided: bool = True


@dataclass(frozen=True, eq=False)
class CandidatePlan:
    """A candidate before it is run: its first layer, its schedule, its step rule (an index), its kinds of gates.

    Those of other kinds than rounds, which grow neuron by neuron or search parts anew, have no use for the schedule.
    `move` is the number of the move that made it, if one did. Neurons that are `held` stand beside those that grow, and
    are fitted together with them at the end.
    """

    hidden: HiddenLayer
    schedule: Schedule
    kinds: tuple[str, ...]
    rule: int
    source: str
    one_sided: bool
    kind: Kind = Kind.ROUNDS
    move: int | None = None
    held: HiddenLayer | None = None


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
    bandit, part_bandit : Bandit
        What the step rules and the kinds of candidates have gained so far, and what those of parts have.
    is_part : bool
        Whether this is the search of a part of a network.
    """

    problem: Problem
    budget: int
    width: int
    signs: str
    rng: np.random.Generator
    stop: Callable[[], bool]
    bandit: Bandit = field(default_factory=Bandit)
    part_bandit: Bandit = field(default_factory=Bandit)
    is_part: bool = False

    @property
    def starts(self) -> list[tuple[int, bool, int]]:
        """The step rules, whether all signs agree, and the widths, of the candidates that begin from nothing."""
        sides = (True, False) if self.signs == "both" else (True,)
        rules = range(1 if self._has_ample_rows else len(STEP_RULES))
        return [(rule, side, width) for width in self._start_widths for side in sides for rule in rules]

    def start(self, rule: int, one_sided: bool, width: int) -> CandidatePlan:
        """Return a plan from nothing: random gates, and for full steps a budget that falls."""
        full = rule == 0
        kinds = MIXTURES[self.rng.integers(2)] if full else ("dense",)
        if self.problem.modulo_linear:
            kinds = START_MIXTURES_BESIDE_LINEAR[self.rng.integers(2)]
        rounds = (LONG_START_ROUNDS if self._has_scarce_rows else START_ROUNDS)[rule]
        slack = float(self.rng.uniform(1.3, MOST_SLACK)) if full else 1.0
        gates = self._proposals.mixed(kinds, width, self.problem.target)
        schedule = self._schedule(rule, rounds, slack, one_sided)
        return CandidatePlan(self._empty_blocks(gates, one_sided), schedule, kinds, rule, "start", one_sided)

    def move(self, best: Candidate) -> CandidatePlan:
        """Return a perturbation of the best: neurons dropped, gates added, rounds to go on with; or another kind."""
        rng, rule = self.rng, self.bandit.draw_rule(self.rng, self._costs)
        beside = self.problem.modulo_linear
        mixtures = MIXTURES_BESIDE_LINEAR if beside else MIXTURES
        kinds = mixtures[rng.integers(len(mixtures))]
        if beside and len(best.hidden.signs) and rng.random() < TURNS:
            return self._turn(best, kinds, rule)
        kind = self.bandit.draw_kind(rng, self._kinds(best))
        if kind == Kind.PURSUIT:
            return self._plan_pursuit(best)
        hidden = self._reversed(best.hidden)
        if kind == Kind.PARTS:
            schedule = self._schedule(rule, 1, 1.0, best.one_sided)
            return CandidatePlan(hidden, schedule, kinds, rule, "parts", best.one_sided, Kind.PARTS)
        number = self.bandit.draw_move(rng, len(MOVES if self._has_ample_rows else MOVES_OF_FEW_ROWS))
        move = MOVES_OF_FEW_ROWS[number]
        kept = move.drop(hidden, rng)
        room = max(0, self.width - len(kept.signs))
        count = max(room, self.width // 4 + 1) if move.crowds else room
        residual = self.problem.residual(kept.weights, kept.signs)
        priced = self._proposals.priced if move.prices else partial(self._proposals.mixed, kinds)
        fresh = None if beside and move.prices else priced(count, residual)
        one_sided = best.one_sided and (self.signs != "both" or bool(rng.random() < 0.7))
        side = self._one_side if one_sided and beside else None
        gates = self._proposals.fitted(count, residual, side).weights if fresh is None else fresh
        slack = min(MOST_SLACK, 1.0 + float(rng.exponential(0.4))) if move.anneals else 1.0
        if beside and rng.random() < 0.5:
            slack = float(rng.uniform(*RISING))
        schedule = self._schedule(rule, int(rng.integers(*STEP_RULES[rule].rounds)), slack, one_sided)
        blocks = kept.concatenate(self._empty_blocks(gates, one_sided))
        return CandidatePlan(blocks, schedule, kinds, rule, move.name, one_sided, move=number)

    def run(self, plan: CandidatePlan, best: float) -> Candidate:
        """Return what becomes of a plan, and credit its kind, rule and move with what it betters the loss `best` by."""
        propose = partial(self._proposals.mixed, plan.kinds)
        if plan.kind == Kind.PURSUIT:
            hidden, loss = self._pursue(plan)
        elif plan.kind == Kind.PARTS:
            hidden, loss = self._renew_parts(plan)
        else:
            hidden, loss = threshold_rounds(
                self.problem, plan.hidden, self.budget, plan.schedule, propose, self.stop, best
            )
        if self.problem.modulo_linear:
            hidden = without_linear_neurons(self.problem, hidden)
        if int(hidden.live.sum()) > self.width:
            hidden, loss = polish(self.problem, hidden.compact(self.width), stop=self.stop)
        gain = 10.0 * np.log10(best / loss) if 0.0 < loss < best < np.inf else 0.0
        self.bandit.kinds.credit(plan.kind, gain, 1.0)
        if plan.kind == Kind.ROUNDS:
            self.bandit.rules.credit(plan.rule, gain, plan.schedule.rounds * self._work(plan.rule))
        if plan.move is not None:
            self.bandit.moves.credit(plan.move, gain, 1.0)
        source = f"{plan.source}, {STEP_RULES[plan.rule].name}" if plan.kind == Kind.ROUNDS else plan.source
        return Candidate(hidden.compact(self.width), loss, source, plan.one_sided and is_one_sided(hidden))

    def _pursue(self, plan: CandidatePlan) -> tuple[HiddenLayer, float]:
        """Return the layer that a plan grows into, and its loss."""
        if plan.held is not None:
            part = self._beside(plan.held).pursuit(plan.one_sided, self._side_of(plan.held)).run(plan.hidden)[0]
            return polish(self.problem, plan.held.concatenate(part), stop=self.stop)
        return self.pursuit(plan.one_sided, self._side_of(plan.hidden)).run(plan.hidden)

    def pursuit(self, one_sided: bool, side: float) -> Pursuit:
        """Return how layers grow here, by neurons of one sign, or of any."""
        fit = partial(self._proposals.fitted, NEWCOMERS, side=side if one_sided else None)
        return Pursuit(self.problem, fit, self.budget, self.width, self.rng, self.stop)

    def _beside(self, held: HiddenLayer) -> Search:
        """Return the search for what some neurons leave of the target and of the limits."""
        every = torch.arange(self.problem.rows.shape[1], device=self.problem.rows.device)
        problem = self.problem.of_inputs(every, self.problem.residual(held.weights, held.signs))
        return replace(self, problem=problem, budget=self.budget - held.nnz, width=self.width - len(held.signs))

    def _renew_parts(self, plan: CandidatePlan) -> tuple[HiddenLayer, float]:
        """Return the layer of a plan with parts of it searched anew, and its loss."""

        def renew(part: Part, loss: float) -> tuple[HiddenLayer, float]:
            return self._renew(Candidate(part.hidden, loss, plan.source, plan.one_sided), part)

        return renew_parts(self.problem, plan.hidden, self.budget, self.rng, renew, self.stop)

    def _renew(self, best: Candidate, part: Part) -> tuple[HiddenLayer, float]:
        """Return the best of some candidates for a part, from nothing or from what is there, and its loss."""
        live = len(part.hidden.signs)
        width = min(self.width - len(part.rest.signs), live + max(SPARE_NEURONS, live // 2))
        budget = max(1, self.budget - part.rest.nnz + part.extra)
        search = replace(self, problem=part.problem, budget=budget, width=width, bandit=self.part_bandit, is_part=True)
        for _ in range(PART_CANDIDATES):
            if self.stop():
                break
            anew = self.rng.random() < ANEW
            plan = search.start(0, best.one_sided, width) if anew else search.move(best)
            candidate = search.run(plan, best.loss)
            best = candidate if candidate.loss < best.loss else best
        return best.hidden, best.loss

    def thinner(self, best: Candidate) -> CandidatePlan:
        """Return a plan for fewer weights than a network has that is exact: some of its neurons are found anew."""
        return self._plan_growth("thin out", best, drop_neighbourhood(best.hidden, self.rng), holds=True)

    def _reversed(self, hidden: HiddenLayer) -> HiddenLayer:
        """Return the layer, at times with neurons turned round, where signs may be as they are then."""
        if self.problem.modulo_linear or self.rng.random() >= REVERSED:
            return hidden
        turned = reverse_neurons(hidden, self.rng)
        return turned if self.signs == "both" or is_one_sided(turned) else hidden

    def _kinds(self, best: Candidate) -> list[Kind]:
        """The kinds of candidates that the best is perturbed by."""
        live = len(best.hidden.signs)
        pursuits = [Kind.PURSUIT] * (self.problem.modulo_linear and live > 0)
        spread = float(self.problem.target.var(correction=0))
        parts = [Kind.PARTS] * (not self.is_part and live >= PART_NEURONS and best.loss < PART_LOSS * spread)
        return [Kind.ROUNDS, *pursuits, *parts]

    def _plan_pursuit(self, best: Candidate) -> CandidatePlan:
        """Return a plan that grows from the best, or from what is left of it without some neurons."""
        drop = PURSUED[self.rng.choice(len(PURSUED), p=PURSUED_CHANCES)]
        holds = drop is drop_neighbourhood and self.rng.random() < HELD
        return self._plan_growth("pursue", best, drop(best.hidden, self.rng), holds)

    def _plan_growth(self, source: str, best: Candidate, kept: HiddenLayer, holds: bool) -> CandidatePlan:
        """Return a plan that grows from what is kept of the best, or beside it."""
        schedule, nothing = self._schedule(0, 1, 1.0, best.one_sided), kept.select(torch.zeros_like(kept.live))
        hidden, held = (nothing, kept) if holds else (kept, None)
        return CandidatePlan(hidden, schedule, (), 0, source, best.one_sided, Kind.PURSUIT, held=held)

    def _turn(self, best: Candidate, kinds: tuple[str, ...], rule: int) -> CandidatePlan:
        """Return a plan with some of the neurons emptied, at gates that see a row of large residual the other way."""
        blocks = turn_neurons(self.problem, best.hidden, self.rng)
        schedule = self._schedule(rule, int(self.rng.integers(*STEP_RULES[rule].rounds)), 1.0, best.one_sided)
        return CandidatePlan(blocks, schedule, kinds, rule, "turn", best.one_sided)

    @property
    def _has_ample_rows(self) -> bool:
        return len(self.problem.target) >= AMPLE_ROWS * self.budget

    @property
    def _has_scarce_rows(self) -> bool:
        return len(self.problem.target) < SCARCE_ROWS * self.budget

    @property
    def _start_widths(self) -> tuple[int, ...]:
        """The widths of starts, narrow ones first where rows are scarce."""
        least = ceil(self.budget / self.problem.rows.shape[1])
        narrow = sorted({max(least, ceil(share * self.width**0.5)) for share in (0.5, 1.0)})
        return (*(width for width in narrow if self._has_scarce_rows and width < self.width), self.width)

    @property
    def _proposals(self) -> Proposals:
        return Proposals(self.problem, self.rng)

    def _work(self, rule: int) -> float:
        """Return the work of a round, in units of n d: one product over all blocks, and the fit."""
        return 1.5 * self.width + self.budget * STEP_RULES[rule].work(self.budget) / self.problem.rows.shape[1]

    @property
    def _costs(self) -> list[float]:
        """The work of a typical candidate of each step rule."""
        return [0.5 * sum(rule.rounds) * self._work(index) for index, rule in enumerate(STEP_RULES)]

    def _empty_blocks(self, gates: Tensor, one_sided: bool) -> HiddenLayer:
        """Return empty blocks, all of one sign or of random ones."""
        signs = self.rng.choice([-1.0, 1.0], len(gates))
        if one_sided:
            signs[:] = self._one_side
        return HiddenLayer.empty(self.problem, gates, torch.as_tensor(signs).to(gates))

    @property
    def _one_side(self) -> float:
        """The sign of output weights that all agree."""
        return {"positive": 1.0, "negative": -1.0}.get(self.signs) or self._side

    def _side_of(self, hidden: HiddenLayer) -> float:
        """The sign of output weights that all agree, mostly that which most weights of a layer have."""
        lean = float((hidden.signs * (hidden.weights != 0.0).sum(1)).sum())
        asked = self.signs != "both" or lean == 0.0 or self.rng.random() < ANY_SIDE
        return self._one_side if asked else float(np.sign(lean))

    @property
    def _side(self) -> float:
        """The sign that most output weights may have: that of the target's mean, where its linear part counts.

        Else that of its curvature, by the lean to rows far out (of large leverage); any where that is chance.
        """
        target = self.problem.target
        if not self.problem.modulo_linear:
            return 1.0 if target.mean() >= 0.0 else -1.0
        leverage = self.problem.basis.square().sum(1)
        leverage = leverage - leverage.mean()
        lean, chance = float(target @ leverage), float(target.norm() * leverage.norm()) / len(target) ** 0.5
        return float(np.sign(lean)) if abs(lean) > CHANCE_LEAN * chance else float(self.rng.choice([-1.0, 1.0]))

    def _schedule(self, rule: int, rounds: int, slack: float, one_sided: bool) -> Schedule:
        fine = self.problem.rows.dtype == torch.float64
        dampings = FINE_DAMPINGS if fine else STEP_RULES[rule].dampings
        damping = float(dampings[self.rng.integers(len(dampings))])
        return Schedule(rounds, slack, partial(STEP_RULES[rule].fit, damping=damping), free_signs=not one_sided)


def is_one_sided(hidden: HiddenLayer) -> bool:
    """Whether all signs of the live neurons agree."""
    signs = hidden.signs[hidden.live]
    return bool((signs == signs[:1]).all())

"""Rounds of hard thresholding over gates that follow the weights: select, fit, merge, revive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints
from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.support_steps import UnitColumns, unit_columns

# propose(count, residual (n,)) -> gates (count, d) for blocks that are empty.
Propose = Callable[[int, Tensor], Tensor]

# fit(unit columns (s, n), residual (n,)) -> the step of the weights (s,)
Fit = Callable[[UnitColumns, Tensor], Tensor]

# Share of the rounds over which the budget falls to its own value.
ANNEALED = 0.6

# Rounds after which the column norms of all gates are computed anew; between, those of new gates alone are.
STALE = 10

# Rounds of the polish of a layer that was cut short.
CUT_ROUNDS = 5

# Weights a gate from which their columns are made gate by gate.
FEW_GATES = 4

# Numbers of products a row that take as long as a number that is gathered.
CHEAP = 20

# Entries of a layer: gates (s,), features (s,).
Support = tuple[Tensor, Tensor]

# Loss, in units of the target's mean square, from which rounds do not come back.
DIVERGED = 1e12

# Rounds at the budget without a loss below this share of the least after which no more are taken.
STALLED, FALL = 20, 0.99

# Loss, in the same units, that is rounding: nothing is left for rounds to find.
ROUNDING = {torch.float32: 1e-12, torch.float64: 1e-20}


@dataclass(frozen=True)
class Schedule:
    """How rounds go: how many, the first budget as a multiple of the budget, the fit, and who may turn its sign.

    With `free_signs` a revived neuron takes the sign that keeps it on its own gate's side; else signs stay, and a
    weight against its gate turns the gate round.
    """

    rounds: int
    slack: float
    fit: Fit
    free_signs: bool

    def budget(self, final: int, index: int) -> int:
        """Return the budget of round `index`: geometric from slack times `final` down to `final`."""
        return round(final * self.slack ** max(0.0, 1.0 - index / (ANNEALED * self.rounds)))


@dataclass(frozen=True, eq=False)
class _RoundState:
    """A layer and what a round needs of it.

    Masks times signs (p, n), the residual (n,), column norms (p, d), the network's own loss, where its weights are.
    """

    hidden: HiddenLayer
    signed: Tensor
    residual: Tensor
    norms: Tensor
    loss: float
    support: Support


class InterruptedRoundsError(KeyboardInterrupt):
    """An interruption of rounds, with the best layer met before it, within the budget."""

    def __init__(self, hidden: HiddenLayer) -> None:
        super().__init__()
        self.hidden = hidden


@dataclass(eq=False)
class _Room:
    """Room for the columns of a support, which rounds use again: to ask the system for it anew takes longer."""

    values: Tensor | None = None

    def columns(self, problem: Problem, signed: Tensor, support: Support, known: Ints) -> Tensor:
        """Return +-D_j x_i for each of the gates, in ascending order, and its feature: (s, n), until the next call.

        The gates are `known` (s,) on the host, too.
        """
        gates, features = support
        size = (len(gates), len(problem.target))
        if self.values is None or len(self.values) < len(gates):
            self.values = problem.columns.new_empty(size)
        values = torch.index_select(problem.columns, 0, features, out=self.values[: len(gates)])
        counts = np.bincount(known)
        which = np.flatnonzero(counts)
        if FEW_GATES * len(which) > len(gates):
            return values.mul_(signed[gates])
        for gate, part in zip(which.tolist(), values.split(counts[which].tolist()), strict=True):
            part.mul_(signed[gate])
        return values


@dataclass(eq=False)
class _Course:
    """How far rounds are: the present layer, the best one within the budget, and its loss.

    `excess` is how many weights above the budget there were when the layer was last brought down to it early, `stale`
    for how many rounds at the budget none has lowered the least loss by a hundredth. The entries that were `selected`
    last are those of the layer if they are as many as its weights; None where neurons became one since.
    """

    hidden: HiddenLayer
    best: HiddenLayer
    selected: Support | None = None
    least: float = float("inf")
    excess: float = float("inf")
    stale: int = 0
    room: _Room = field(default_factory=_Room)

    def judge(self, loss: float, budget: int, planned: int) -> bool:
        """Keep the present layer if it is the best; return whether rounds end with it: it is exact, or they stall.

        Rounds that are `planned` to have another budget do not stall.
        """
        if self.hidden.nnz > budget:
            self.stale = 0
            return False
        self.stale = 0 if loss < FALL * self.least or planned != budget else self.stale + 1
        if loss < self.least:
            self.best, self.least = self.hidden, loss
        return loss <= ROUNDING[self.hidden.weights.dtype] or self.stale >= STALLED

    def select(self, problem: Problem, now: _RoundState, budget: int, schedule: Schedule) -> None:
        """Select and fit, and make parallel neurons one."""
        fitted, selected = _select_and_fit(problem, now, budget, schedule, self.room)
        self.hidden = merge_parallel(fitted)
        self.selected = selected if self.hidden is fitted else None

    def falls(self, excess: int) -> bool:
        """Whether a layer that is exact with so many weights too many is tried on the budget: not often in vain."""
        tried = 2 * excess <= self.excess
        self.excess = excess if tried else self.excess
        return tried


def threshold_rounds(
    problem: Problem,
    hidden: HiddenLayer,
    budget: int,
    schedule: Schedule,
    propose: Propose,
    stop: Callable[[], bool],
    goal: float = inf,
) -> tuple[HiddenLayer, float]:
    """Return the best layer met within the budget, polished, and its loss.

    A round: with unit columns D_j x_i / ||D_j x_i||, keep the largest entries of w + mu A^T r (mu the exact line search
    on the present support), fit them, let gates follow weights, make parallel neurons one, and give every empty block
    a fresh gate. `stop` is asked before each round, but for the first one from nothing, which keeps to the budget then;
    a layer that is above the budget when it says so is brought down to it. Rounds that diverge or stall end, and so do
    those whose layer is exact up to rounding; one that is so above the budget is brought down to it at once, and the
    schedule is gone on with if that was too early. The polish ends where its pace does not lead below the loss `goal`.
    An interruption comes out as an :class:`InterruptedRoundsError`.
    """
    course = _Course(hidden, hidden)
    try:
        _run_rounds(problem, course, budget, schedule, propose, stop)
        return _best_polished(problem, course, budget, schedule, stop, goal)
    except KeyboardInterrupt:
        found, _ = _best_polished(problem, course, budget, schedule, lambda: True, inf)
        raise InterruptedRoundsError(found) from None


def _run_rounds(
    problem: Problem, course: _Course, budget: int, schedule: Schedule, propose: Propose, stop: Callable[[], bool]
) -> None:
    """Take rounds from the course's layer, and keep the best within the budget."""
    norms, renewed = course.hidden.weights, None
    for index in range(schedule.rounds):
        hurried = stop()
        if hurried and (index or course.hidden.nnz):
            return
        now = _round_state(problem, course, norms, None if index % STALE == 0 else renewed)
        if not now.loss <= DIVERGED:
            course.hidden, course.selected = course.best, None
            return
        planned = schedule.budget(budget, index)
        if course.judge(now.loss, budget, planned):
            return
        early = now.loss <= ROUNDING[now.residual.dtype] and course.falls(course.hidden.nnz - budget)
        most = budget if hurried or early else planned
        course.select(problem, now, most, schedule)
        norms, renewed = now.norms, _empty_blocks(course.hidden)
        course.hidden = _revive_empty(course.hidden, renewed, propose, now.residual)


def _best_polished(
    problem: Problem, course: _Course, budget: int, schedule: Schedule, stop: Callable[[], bool], goal: float
) -> tuple[HiddenLayer, float]:
    """Return the better of the last layer, brought down to the budget, and the best one, polished, and its loss."""
    # What is worse before the polish may be better after it.
    last, loss = polish(problem, _within_budget(problem, course, budget, schedule), stop=stop, goal=goal)
    if not loss < 1.0 and stop():
        # Time was up before the polish could mend what the rounds had left.
        last, loss = polish(problem, _well_scaled(problem, last), rounds=CUT_ROUNDS)
    is_best = loss < course.least or course.hidden is course.best
    return (last, loss) if is_best else polish(problem, course.best, stop=stop, goal=goal)


def _within_budget(problem: Problem, course: _Course, budget: int, schedule: Schedule) -> HiddenLayer:
    """Return the layer; one that was cut short above the budget after a few rounds more, each on half as many weights.

    Its largest entries alone would not do: many weights that were fitted together cancel.
    """
    course = replace(course)
    while course.hidden.nnz > budget:
        now = _round_state(problem, course, course.hidden.weights, None)
        course.select(problem, now, max(budget, course.hidden.nnz // 2), schedule)
    return course.hidden


def _well_scaled(problem: Problem, hidden: HiddenLayer) -> HiddenLayer:
    """Return the layer at the best multiple c >= 0 of its output: no worse than no network at all."""
    output = problem.project(torch.relu(problem.linear(hidden.weights)) @ hidden.signs)
    size = output.square().sum()
    factor = (output @ problem.target / size).clamp(min=0.0) if size > 0.0 else torch.zeros_like(size)
    return HiddenLayer(hidden.weights * factor, hidden.signs, hidden.gates)


def _round_state(problem: Problem, course: _Course, norms: Tensor, renewed: Tensor | None) -> _RoundState:
    """Return what a round needs; `norms` are kept but for the blocks `renewed` (r,), and all made anew for None."""
    hidden = course.hidden
    inputs = problem.inputs(hidden.effective_gates)
    active = (inputs > 0.0).to(inputs.dtype)
    residual = problem.target - problem.project((hidden.signs * hidden.live) @ inputs.relu_())
    if renewed is None:
        norms = problem.column_squares(active).sqrt_()
    elif len(renewed):
        norms = norms.index_copy(0, renewed, problem.column_squares(active[renewed]).sqrt_())
    loss, nnz = torch.stack([residual.square().mean().double(), torch.count_nonzero(hidden.weights).double()]).tolist()
    hidden.know(nnz=int(nnz))
    support = course.selected
    if support is None or len(support[0]) != hidden.nnz:
        gates, features = torch.nonzero(hidden.weights, as_tuple=True)
        support = gates, features
    return _RoundState(hidden, active * hidden.signs[:, None], residual, norms, loss, support)


def _select_and_fit(
    problem: Problem, now: _RoundState, budget: int, schedule: Schedule, room: _Room
) -> tuple[HiddenLayer, Support]:
    """Return the layer after one selection and one fit, and what was selected; gates of live blocks follow weights."""
    hidden, n_inputs = now.hidden, now.norms.shape[1]
    wanted, inverse = _wanted_entries(problem, now)
    chosen, known = _top_indices(wanted, inverse > 0.0, budget)
    support = gates, features = chosen // n_inputs, chosen % n_inputs
    # Norms may be some rounds old; a column that has vanished since is left at zero.
    columns, lengths = unit_columns(problem, room.columns(problem, now.signed, support, known // n_inputs))
    inverse_lengths = torch.where(lengths > 0.0, 1.0 / lengths, 0.0)
    start = (wanted * inverse).flatten()[chosen] * lengths
    start += schedule.fit(columns, problem.target - columns.combine(start))
    weights = torch.zeros_like(hidden.weights)
    weights[gates, features] = start * inverse_lengths
    moved = HiddenLayer(weights, hidden.signs, hidden.gates)
    return (_align_revived(hidden, moved) if schedule.free_signs else moved), support


def _wanted_entries(problem: Problem, now: _RoundState) -> tuple[Tensor, Tensor]:
    """Return w + mu K A^T r (p, d) in units of its columns, and one over these units, 0 where there is no column.

    K is the identity for unit columns. Where columns are correlated it is, for every gate, the inverse of the second
    moments of the rows over what the gate sees of them, and the unit of a column is what the others leave of it.
    """
    slope = (now.signed * now.residual) @ problem.rows
    units = now.norms * problem.own_shares if problem.correlated else now.norms
    inverse = torch.where(units > 0.0, 1.0 / units, 0.0)
    step = slope * inverse
    if problem.correlated:
        sizes = now.norms.square().mean(1, keepdim=True)
        inverse_sizes = torch.where(sizes > 0.0, 1.0 / sizes, 0.0)
        step = (slope @ problem.precision) * inverse_sizes * units
    return now.hidden.weights * units + _step_size(problem, now, slope * inverse, step, inverse) * step, inverse


def _top_indices(values: Tensor, allowed: Tensor, count: int) -> tuple[Tensor, Ints]:
    """Return the flat indices of the `count` largest magnitudes among the allowed ones, ascending, on the host too."""
    flat = torch.where(allowed, values.abs(), -1.0).flatten()
    top = flat.topk(min(count, len(flat)), sorted=False)
    chosen = top.indices.sort().values
    told = torch.cat([chosen.double(), top.values.double()]).cpu().numpy()
    if (told[len(chosen) :] >= 0.0).all():
        return chosen, told[: len(chosen)].astype(np.int64)
    chosen = top.indices[top.values >= 0.0].sort().values
    return chosen, chosen.cpu().numpy()


def _step_size(problem: Problem, now: _RoundState, slope: Tensor, step: Tensor, inverse: Tensor) -> float:
    """Return mu = g_S . p_S / ||A_S p_S||^2, at most 1, for the slope g and the step p on the support S.

    It is 1 where g_S . p_S is rounding, or S empty.
    """
    gates, features = now.support
    direction = step[gates, features]
    change = _combined(problem, now, now.support, direction * inverse[gates, features])
    squares = now.residual.square().sum(), problem.project(change).square().sum()
    fall, size, curvature = torch.stack([(direction * slope[gates, features]).sum(), *squares]).tolist()
    return 1.0 if fall <= 1e-12 * size else min(1.0, fall / max(curvature, fall))


def _combined(problem: Problem, now: _RoundState, support: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """Return the sum (n,) of the columns of a support by weights (s,): from all features where the weights are many."""
    gates, features = support
    if CHEAP * len(gates) < now.norms.numel():
        return weights @ (problem.columns[features] * now.signed[gates])
    dense = torch.zeros_like(now.norms)
    dense[gates, features] = weights
    return problem.inputs(dense).mul_(now.signed).sum(0)


def _align_revived(before: HiddenLayer, after: HiddenLayer) -> HiddenLayer:
    """Return the layer with revived neurons on their gates' side: -relu(-x . w) in place of relu(x . w)."""
    turned = ~before.live & ((after.weights * before.gates).sum(1) < 0.0)
    side = torch.where(turned, -1.0, 1.0).to(after.signs.dtype)
    return HiddenLayer(after.weights * side[:, None], after.signs * side, after.gates)


def _empty_blocks(hidden: HiddenLayer) -> Tensor:
    """Return the empty blocks (e,), ascending, of a layer whose live ones have been counted."""
    count = len(hidden.signs) - hidden.n_live
    if not count:
        return torch.zeros(0, dtype=torch.int64, device=hidden.live.device)
    return hidden.live.int().argsort(stable=True)[:count]


def _revive_empty(hidden: HiddenLayer, empty: Tensor, propose: Propose, residual: Tensor) -> HiddenLayer:
    """Return the layer with fresh gates in the blocks `empty` (e,)."""
    if not len(empty):
        return hidden
    gates = hidden.gates.index_copy(0, empty, propose(len(empty), residual).to(hidden.gates.dtype))
    revived = HiddenLayer(hidden.weights, hidden.signs, gates)
    revived.know(n_live=hidden.n_live)
    return revived

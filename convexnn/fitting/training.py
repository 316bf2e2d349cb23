"""Training under a budget that falls: Adam steps, a hard threshold every few of them, then steps on the support."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import torch
from torch import Tensor

from convexnn.fitting.layers import Layers, with_signs
from convexnn.fitting.problem import FitProblem, Rows
from convexnn.fitting.schedule import Schedule
from convexnn.fitting.weighting import weighted_slope, weighted_value
from convexnn.fitting.worst_case import interval_bounds, worst_gradient, worst_outputs
from convexnn.solution import Status

# Adam's averages of the gradient and of its square, and what keeps the division finite.
DECAYS, EPSILON = (0.9, 0.999), 1e-8

# Steps between thresholds: fewer cost time, more let dropped weights come back that are dropped again.
BETWEEN = 10

# Times that a threshold gives the weights of idle neurons away: each may leave other neurons idle.
IDLE_ROUNDS = 4


class Adam:
    """Adam on one flat vector: the step, and the running mean of squares that also scores weights."""

    def __init__(self, parameters: Tensor) -> None:
        self.mean, self.squares, self.count = torch.zeros_like(parameters), torch.zeros_like(parameters), 0

    def step(self, parameters: Tensor, gradient: Tensor, rate: float) -> None:
        """Move the parameters against the gradient."""
        self.count += 1
        self.mean.lerp_(gradient, 1.0 - DECAYS[0])
        self.squares.mul_(DECAYS[1]).addcmul_(gradient, gradient, value=1.0 - DECAYS[1])
        size = (self.squares / (1.0 - DECAYS[1] ** self.count)).sqrt_().add_(EPSILON)
        parameters.addcdiv_(self.mean, size, value=-rate / (1.0 - DECAYS[0] ** self.count))


def train(
    problem: FitProblem,
    layers: Layers,
    schedule: Schedule,
    generator: torch.Generator,
    after_epoch: Callable[[float], bool],
) -> Status:
    """Train `layers` in place, leave them within the budget, and return how it ended.

    Every few steps the budget's largest |w| (E g^2)^(1/4) are kept: the geometric mean of magnitude and of the
    saliency |w| (E g^2)^(1/2) of optimal brain damage with Adam's estimate of the curvature. Gradients of dropped
    weights are not followed, and weights that lose a sign that they have to have are zero. Layers that are wider than
    the schedule's width end with weights on so many neurons alone, and keep their sizes: :meth:`Layers.narrowed` takes
    the other neurons out. `after_epoch(mean loss)` is called after each pass over the rows and says whether to stop.
    """
    adam, kept = Adam(layers.parameters), torch.ones_like(layers.parameters)
    trainer = _Trainer(layers, adam, kept, schedule, problem.signs(layers))
    steps = schedule.epochs * -(-problem.n_rows // schedule.batch)
    state = layers.parameters, trainer.adam.squares
    safe = [part.clone() for part in state]
    status = Status.SEARCH_ENDED
    try:
        for _ in range(schedule.epochs):
            loss = trainer.run_epoch(problem, steps, generator)
            if not (isfinite(loss) and all(isfinite(float(part.sum())) for part in state)):
                for part, before in zip(state, safe, strict=True):
                    part.copy_(before)
                status = Status.NOT_FINITE
                break
            for part, before in zip(state, safe, strict=True):
                before.copy_(part)
            if after_epoch(loss) and trainer.step < steps:
                status = Status.TIME_LIMIT
                break
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    trainer.threshold(1.0)
    return status


@dataclass(eq=False)
class _Trainer:
    """The state of a training: layers, their optimiser, which parameters are kept (N,), their signs (N,), the step."""

    layers: Layers
    adam: Adam
    kept: Tensor
    schedule: Schedule
    signs: Tensor | None = None
    step: int = 0

    def run_epoch(self, problem: FitProblem, steps: int, generator: torch.Generator) -> float:
        """Take the steps of one pass over the rows; return the mean loss over them."""
        total = 0.0
        for part in batches(problem, self.schedule.batch, generator):
            loss, gradient = self._descent(problem, part, self.step / steps)
            total += loss * len(part[0])
            self._move(gradient, steps)
        return total / problem.n_rows

    def _descent(self, problem: FitProblem, part: Rows, progress: float) -> tuple[float, Tensor]:
        """Return the mean loss over some rows, or that of their worst case, and its gradient (N,)."""
        rows, target, weights = part
        if problem.reach is None:
            values = self.layers.forward(rows)
            loss = weighted_value(problem.loss, values[-1], target, weights)
            return loss, self.layers.gradient(values, weighted_slope(problem.loss, values[-1], target, weights))
        layer_intervals = interval_bounds(self.layers, rows, self.schedule.margin_at(progress) * problem.reach)
        outputs, away = worst_outputs(problem, layer_intervals, target)
        slope = weighted_slope(problem.loss, outputs, target, weights)
        return weighted_value(problem.loss, outputs, target, weights), worst_gradient(
            self.layers, layer_intervals, slope, away
        )

    def threshold(self, progress: float) -> None:
        """Zero all but the best weights, in the parameters and in the mask; none is spent on idle neurons."""
        if self.schedule.width is not None:
            self._narrow(progress)
        count, budget = self.layers.n_weights, self.schedule.budget_at(progress)
        if budget is None or budget >= count:
            return
        weights, mask = self.layers.parameters[:count], self.kept[:count]
        scores = weights.abs() * self.adam.squares[:count].pow(0.25)
        for _ in range(IDLE_ROUNDS):
            mask.zero_()[scores.topk(budget, sorted=False).indices] = 1.0
            mask *= scores > 0.0
            idle = self.layers.idle(self.kept)
            if not bool(idle.any()):
                break
            scores[idle] = 0.0
        weights *= mask

    def _narrow(self, progress: float) -> None:
        """Zero the weakest neurons of layers that are too wide; strong is what has strong weights on both sides."""
        weights, squares = self.layers.weights, self.layers.split(self.adam.squares)[0]
        masks = self.layers.split(self.kept)[0]
        scores = [weight.square() * square.sqrt() for weight, square in zip(weights, squares, strict=True)]
        self.kept.fill_(1.0)
        for index, (before, after) in enumerate(pairwise(scores)):
            spare = len(before) - self.schedule.width_at(progress, len(before))
            weak = (before.sum(1) * after.sum(0)).topk(spare, largest=False).indices
            for parts in (weights, masks):
                parts[index][weak] = 0.0
                parts[index + 1][:, weak] = 0.0

    def _move(self, gradient: Tensor, steps: int) -> None:
        parameters, count = self.layers.parameters, self.layers.n_weights
        if self.schedule.ridge > 0.0:
            gradient[:count].add_(parameters[:count], alpha=self.schedule.ridge)
        gradient *= self.kept
        self.adam.step(parameters, gradient, self.schedule.rate_at(self.step, steps))
        if self.signs is not None:
            parameters.copy_(with_signs(parameters, self.signs))
        self.step += 1
        if self.step > self.schedule.settled * steps:
            parameters *= self.kept
        elif self.step % BETWEEN == 0:
            self.threshold(self.step / steps)


def batches(problem: FitProblem, size: int, generator: torch.Generator) -> Iterator[Rows]:
    """Yield all rows once with target and weights, in a random order and so many at a time."""
    if size >= problem.n_rows:
        yield problem.rows, problem.target, problem.weights
        return
    order = torch.randperm(problem.n_rows, generator=generator).to(problem.rows.device)
    for index in order.split(size):
        # Twice as fast as indexing.
        weights = None if problem.weights is None else problem.weights.index_select(0, index)
        yield problem.rows.index_select(0, index), problem.target.index_select(0, index), weights

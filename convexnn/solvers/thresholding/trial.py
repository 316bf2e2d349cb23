"""A step tried out: what it selects and what comes of that are assumed on the device, and looked at once by the host.

To look at a number makes the host wait for the device, and the device wait for work after it. So a trial assumes what
is likely: that no sizes are equal, that a support which has repeated does so again, that another takes the form of
columns that the present one has. The host then reads the selection, the loss, and what a step is judged by, at one
time; what was assumed wrongly is made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats, Ints
from convexnn.linear.selection import Candidates, is_distinct, likely_largest, settled
from convexnn.solvers.thresholding.dictionary import Columns, Dictionary
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate


@dataclass(frozen=True)
class Step:
    """A step w + mu g from an iterate: the `gradient` g, `places` (s,) of the support among its entries, `moved`.

    `size` is mu, a number of the device, where the step is to be judged by it, else None.
    """

    dictionary: Dictionary
    now: SparseIterate
    gradient: Candidates
    places: Tensor
    moved: Candidates
    size: Tensor | None = None


@dataclass(frozen=True)
class Tried:
    """What a step comes to: the iterate `after`, and the `longest` step by which the objective falls, with its `size`.

    The longest is ||dw||^2 / (c ||A dw||^2); it is infinite where the support stays, and where the step is not judged.
    """

    after: SparseIterate
    size: float = 0.0
    longest: float = inf


@dataclass(frozen=True)
class _Made:
    """What is made of a selection, on the support as it was (`same`) or with columns held or not.

    `numbers` are for the host, in float64: n times the loss; for a judged step on another support mu, ||dw||^2 and
    c ||A dw||^2 too.
    """

    same: bool
    held: bool
    support: Tensor
    weights: Tensor
    columns: Columns
    prediction: Tensor
    numbers: Tensor


def try_step(step: Step) -> Tried | None:
    """Return what comes of keeping the largest entries of w + mu g; None where the gradient is not finite.

    `repeats` of the iterate counts how often its support has been the same.
    """
    now = step.now
    sizes, count = step.dictionary.sizes(step.moved), len(now.support)
    same, held = now.repeats > 0, isinstance(now.columns, Tensor)
    likely = likely_largest(sizes, count)
    if likely is None and not is_finite(step.gradient):
        return None
    if likely is not None:
        made = _make(step, likely.places, same, held)
        known, top, numbers = _looked_at(step, likely.places, likely.top, made.numbers)
        if not isfinite(top[0]) and not is_finite(step.gradient):
            return None
        if is_distinct(*top[-2:]):
            return _checked(step, likely.places, made, known, numbers)
        del made  # before the next is made
    places = settled(sizes, count)
    made = _make(step, places, same, held)
    known, _, numbers = _looked_at(step, places, sizes[:0], made.numbers)
    return _checked(step, places, made, known, numbers)


def is_finite(gradient: Candidates) -> bool:
    """Whether all of a gradient is; the host waits for it."""
    return bool(gradient.values.isfinite().all())


def _looked_at(step: Step, places: Tensor, top: Tensor, numbers: Tensor) -> tuple[Ints, Floats, Floats]:
    """Return what is at some places, the top sizes and numbers, on the host: it waits for them once."""
    support, ends = step.moved.support(places), (len(places), len(places) + len(top))
    # Of one precision, which is quicker to put together.
    told = torch.cat([support.double(), top.double(), numbers]).cpu().numpy()
    return told[: ends[0]].astype(np.int64), told[ends[0] : ends[1]], told[ends[1] :]


def _make(step: Step, places: Tensor, same: bool, held: bool) -> _Made:
    dictionary, now = step.dictionary, step.now
    if same:
        support, columns, weights = now.support, now.columns, step.moved.values.index_select(0, step.places)
    else:
        support, weights = step.moved.support(places), step.moved.values.index_select(0, places)
        columns = dictionary.products(support, held)
    prediction = dictionary.predict(columns, support, weights)
    numbers = dictionary.loss.total(prediction, dictionary.targets).double().view(1)
    if not same and step.size is not None:
        numbers = torch.cat([numbers, _judged(step, places, weights, prediction)])
    return _Made(same, held, support, weights, columns, prediction, numbers)


def _judged(step: Step, places: Tensor, weights: Tensor, prediction: Tensor) -> Tensor:
    """Return mu, ||dw||^2 and c ||A dw||^2 of a move to the entries at some places, in float64."""
    assert step.size is not None
    change = torch.zeros_like(step.moved.values)
    change[places] = weights
    change[step.places] -= step.now.weights
    curvature = step.dictionary.squared_length(step.now.prediction - prediction)
    return torch.stack([step.size, change.square().sum().double(), step.dictionary.loss.smoothness * curvature])


def _checked(step: Step, places: Tensor, made: _Made, known: Ints, numbers: Floats) -> Tried:
    """Return what a selection comes to, now that the host knows it; what was assumed wrongly is made again."""
    dictionary, now = step.dictionary, step.now
    same = known.tobytes() == now.key
    if not same and (made.same or made.held != dictionary.holds(known)):
        made = _make(step, places, False, dictionary.holds(known))
        numbers = made.numbers.cpu().numpy()
    after = SparseIterate(
        now.support if same else made.support,
        known,
        made.weights,
        now.columns if same else made.columns,
        made.prediction,
        dictionary.objective_of(float(numbers[0])),
        now.step_size if step.size is None else step.size,
        now.repeats + 1 if same else 0,
        seen=now.seen,
    )
    if same or step.size is None:
        return Tried(after)
    size, change, curvature = (float(number) for number in numbers[1:])
    return Tried(after, size, change / curvature if curvature > 0.0 else inf)

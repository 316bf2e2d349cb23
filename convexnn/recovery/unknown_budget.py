"""Recovery where the budget is not known either: budgets that double until the data are explained."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.recovery.layer.all_rows import AllRows
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.ranks import Ranks
from convexnn.recovery.options import RecoveryOptions, RecoveryProgress
from convexnn.recovery.recover_weights import Outcome, Task, open_task, search_weights
from convexnn.recovery.restarts import nothing, stage_sizes
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord
from convexnn.solvers.common.deadline import SentDeadline
from convexnn.workers import Streams, is_spread, spread

# The first budget, and the patience of all budgets: one that is too small is given up soon.
FIRST_BUDGET, PATIENCE = 8, 20

# How a run ends that explains the data, exactly or up to noise, and after which there is no larger budget.
EXPLAINED = (Status.EXACT, Status.CONVERGED)
ENDS = (*EXPLAINED, Status.TIME_LIMIT, Status.INTERRUPTED)

# Options of one budget, and its random numbers.
Asked = tuple[RecoveryOptions, np.random.Generator]


def recover_smallest(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network that explains the data, and how the runs went.

    Budgets double from 8 up to that of the options, one start each, until a network is exact or what it leaves is
    noise. It has the weights alone that it needs for that. Where none does, it is the best of all runs. Workers, or
    ranks, search larger budgets ahead, which are given up once a smaller one explains the data.
    """
    asked, found = _asked(options, rng), list[tuple[Floats, Floats, RunRecord]]()
    while len(found) < len(asked) and not any(run.status in ENDS for *_, run in found):
        found += _runs(rows, target, asked[len(found) :], options)
    runs = [run for *_, run in found]
    explained = [place for place, run in enumerate(runs) if run.status in EXPLAINED]
    if explained:
        best, status = explained[0], runs[explained[0]].status
    else:
        best = int(np.argmin([_loss(rows, target, options.group, *each[:2]) for each in found]))
        status = next((run.status for run in runs if run.status in ENDS), runs[-1].status)
    whole = np.minimum.accumulate(np.concatenate([run.history for run in runs]))
    memory = max(run.memory or 0 for run in runs)
    return *found[best][:2], replace(runs[-1], status=status, iterations=len(whole), history=whole, memory=memory)


def _runs(
    rows: Floats, target: Floats, asked: Sequence[Asked], options: RecoveryOptions
) -> list[tuple[Floats, Floats, RunRecord]]:
    """Return the runs of some budgets: of those that need no larger sample than the first, up to one that ends them."""
    task = open_task(rows, target, *asked[0])
    sizes = [stage_sizes(task.every.n_rows, one.budget)[-1] for one, _ in asked]
    alike = asked[: sum(size == sizes[0] for size in sizes)]
    outcomes = task.every.ranks.searched(lambda: _searched(task, alike, options))
    return [task.answer(outcome, one) for outcome, (one, _) in zip(outcomes, alike, strict=False)]


def _asked(options: RecoveryOptions, rng: np.random.Generator) -> list[Asked]:
    """Return the options of each budget, ascending, with random numbers of its own."""
    budgets = [min(FIRST_BUDGET, options.budget)]
    while budgets[-1] < options.budget:
        budgets.append(min(2 * budgets[-1], options.budget))
    one = replace(options, n_restarts=1, patience=min(PATIENCE, options.patience), significant=True)
    every = [replace(one, budget=budget, width=min(options.width, budget)) for budget in budgets]
    return list(zip(every, Streams(rng, len(budgets)), strict=True))


def _searched(task: Task, asked: Sequence[Asked], options: RecoveryOptions) -> list[Outcome]:
    """Return what the budgets come to, one after the other or several at a time, up to the first that ends them.

    Where time is up what larger ones have come to meanwhile is there too.
    """
    outcomes = list[Outcome]()
    several = len(asked) > 1 and is_spread(options.n_jobs) and not options.deadline.is_over()
    try:
        with closing((_spread if several else _in_turn)(task, asked, options)) as found:
            for outcome in found:
                outcomes += [outcome] if outcome.history or not outcomes else []
                if outcome.status in ENDS and not (several and outcome.status is Status.TIME_LIMIT):
                    break
    except KeyboardInterrupt:
        last = outcomes.pop() if outcomes else Outcome(nothing(task.problem).hidden, Status.INTERRUPTED, [])
        outcomes.append(last if last.status in EXPLAINED else replace(last, status=Status.INTERRUPTED))
    return outcomes


def _in_turn(task: Task, asked: Sequence[Asked], options: RecoveryOptions) -> Generator[Outcome]:
    for one, rng in asked:
        yield search_weights(task.problem, task.every.height, one, rng)


def _spread(task: Task, asked: Sequence[Asked], options: RecoveryOptions) -> Generator[Outcome]:
    """Yield the outcomes in the order of the budgets, and tell of their candidates; an interruption ends the last."""
    deadline, height = options.deadline.sent(), task.every.height
    sent = [replace(one, callback=None, group=None, n_jobs=1) for one, _ in asked]
    calls = [(task.problem, height, one, deadline, rng) for one, (_, rng) in zip(sent, asked, strict=True)]
    with closing(spread(search_budget, calls, options.n_jobs, ordered=True)) as found:
        for place, (outcome, told, state) in found:
            asked[place][1].bit_generator.state = state
            yield _told(outcome, told, options.callback)


def _told(
    outcome: Outcome, candidates: list[RecoveryProgress], callback: Callable[[RecoveryProgress], None] | None
) -> Outcome:
    """Return an outcome whose candidates are told to the callback, which may interrupt."""
    if callback is None:
        return outcome
    try:
        for progress in candidates:
            callback(progress)
    except KeyboardInterrupt:
        return replace(outcome, status=Status.INTERRUPTED)
    return outcome


def search_budget(
    problem: Problem, height: float, options: RecoveryOptions, deadline: SentDeadline, rng: np.random.Generator
) -> tuple[Outcome, list[RecoveryProgress], Any]:
    """Return what one budget comes to, its candidates, and its random numbers at the end: the work of a worker.

    Where time is up no budget but the first begins: there is a network already.
    """
    told = list[RecoveryProgress]()
    here = replace(options, deadline=deadline.received(), callback=told.append)
    if options.budget > FIRST_BUDGET and here.deadline.is_over():
        outcome = Outcome(nothing(problem).hidden, Status.TIME_LIMIT, [])
    else:
        outcome = search_weights(problem, height, here, rng)
    return outcome, told, rng.bit_generator.state


def _loss(rows: Floats, target: Floats, group: Any, gates: Floats, signed: Floats) -> float:
    """Return the mean square that a network leaves, whose neurons (p, d) are given with and without their signs."""
    ranks, whole = Ranks(group), np.ones(rows.shape[1])
    every = AllRows(rows, target, sum(ranks.counts(len(rows))), torch.device("cpu"), ranks, lambda: False, whole)
    found = every.evaluate(torch.as_tensor(gates), torch.as_tensor(np.sign((gates * signed).sum(axis=1))))
    assert found is not None
    return found.loss

"""Recovery where the budget is not known either: budgets that double until the data are explained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.recovery.layer.all_rows import AllRows
from convexnn.recovery.layer.ranks import Ranks
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.recover_weights import recover_weights
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord

# The first budget, and the patience of all budgets: one that is too small is given up soon.
FIRST_BUDGET, PATIENCE = 8, 20

# How a run ends that explains the data: exactly, or up to noise.
EXPLAINED = (Status.EXACT, Status.CONVERGED)


def recover_smallest(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network that explains the data, and how the runs went.

    Budgets double from 8 up to that of the options, one start each, until a network is exact or what it leaves is
    noise. It has the weights alone that it needs for that. Where none does, it is the best of all runs.
    """
    budget, found, history = min(FIRST_BUDGET, options.budget), list[tuple[Floats, Floats, RunRecord]](), list[Floats]()
    while True:
        patience = min(PATIENCE, options.patience)
        width = min(options.width, budget)
        one = replace(options, budget=budget, width=width, n_restarts=1, patience=patience, significant=True)
        found.append(recover_weights(rows, target, one, rng))
        run = found[-1][2]
        history.append(run.history)
        over = run.status in (*EXPLAINED, Status.TIME_LIMIT, Status.INTERRUPTED)
        if over or budget == options.budget:
            break
        budget = min(2 * budget, options.budget)
    best = len(found) - 1
    if run.status not in EXPLAINED:
        best = int(np.argmin([_loss(rows, target, options.group, *each[:2]) for each in found]))
    whole = np.minimum.accumulate(np.concatenate(history))
    memory = max(each.memory or 0 for *_, each in found)
    return *found[best][:2], replace(run, iterations=len(whole), history=whole, memory=memory)


def _loss(rows: Floats, target: Floats, group: Any, gates: Floats, signed: Floats) -> float:
    """Return the mean square that a network leaves, whose neurons (p, d) are given with and without their signs."""
    ranks, whole = Ranks(group), np.ones(rows.shape[1])
    every = AllRows(rows, target, sum(ranks.counts(len(rows))), torch.device("cpu"), ranks, lambda: False, whole)
    found = every.evaluate(torch.as_tensor(gates), torch.as_tensor(np.sign((gates * signed).sum(axis=1))))
    assert found is not None
    return found.loss

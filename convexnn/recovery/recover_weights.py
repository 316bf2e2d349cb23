"""The engine of a recovery: data at unit scale in, weights in the data's own units out."""

from __future__ import annotations

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.linear.operator import as_device
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.significance import drop_dust, drop_insignificant
from convexnn.recovery.linear_part import is_uncentred
from convexnn.recovery.memory import estimate_peak_bytes
from convexnn.recovery.options import RecoveryOptions, RecoveryProgress
from convexnn.recovery.restarts import MultistartSearch
from convexnn.recovery.search import EXACT
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord

# Rounds of the last fit, on all rows in float64.
LAST_ROUNDS = 50


def recover_weights(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network for rows (n, D) and a target (n,), and how it went."""
    n_rows, n_inputs = rows.shape
    scale, height = root_mean_squares(rows), float(root_mean_squares(target[:, None])[0])
    device = as_device(options.device)
    problem = Problem(torch.as_tensor(rows / scale, device=device), torch.as_tensor(target / height, device=device))
    uncentred = is_uncentred(problem, options.budget)
    memory = estimate_peak_bytes(n_rows, n_inputs, options.budget, options.width, uncentred)
    search = MultistartSearch(problem, options, rng)
    status, history = _run(search, 0.5 * height**2)
    hidden = search.best.hidden
    try:
        search.rejoin()
        hidden = search.best.hidden
        hidden = _finished(problem, hidden, options)
        status = Status.EXACT if search.best.loss <= EXACT else status
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    gates = hidden.weights.cpu().numpy() * (height / scale)
    run = RunRecord("recover", status, len(history), options.deadline.seconds, np.array(history), memory)
    return gates, gates * hidden.signs.cpu().numpy()[:, None], run


def _finished(problem: Problem, hidden: HiddenLayer, options: RecoveryOptions) -> HiddenLayer:
    """Return the layer fitted to all rows, without the weights that rounding, or noise, explains."""
    hidden, loss = polish(problem, hidden, rounds=LAST_ROUNDS, stop=options.deadline.is_over)
    if loss <= EXACT:
        hidden = drop_dust(problem, hidden, EXACT, options.deadline.is_over)
    if options.significant:
        hidden = drop_insignificant(problem, hidden, options.width * problem.rows.shape[1])
    return hidden.compact(options.width)


def _run(search: MultistartSearch, unit: float) -> tuple[Status, list[float]]:
    """Run a search to its end; return how it ended and the lowest loss, in units of `unit`, after each candidate."""
    callback, deadline, history = search.options.callback, search.options.deadline, list[float]()
    try:
        for candidate in search.candidates():
            history.append(unit * search.best.loss)
            if callback is not None:
                loss, best = unit * candidate.loss, history[-1]
                callback(RecoveryProgress(len(history), loss, best, deadline.seconds, search.restart, candidate.source))
    except KeyboardInterrupt:
        return Status.INTERRUPTED, history
    if search.best.loss <= EXACT:
        return Status.EXACT, history
    if deadline.is_over():
        return Status.TIME_LIMIT, history
    return Status.CONVERGED if search.at_noise_floor else Status.SEARCH_ENDED, history


def root_mean_squares(columns: Floats) -> Floats:
    """Return the root mean square of each column, 1 for columns of zeros; large entries do not overflow."""
    peaks = np.abs(columns).max(axis=0)
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    level: Floats = np.sqrt(np.square(columns / peaks).mean(axis=0))
    return peaks * np.where(level > 0.0, level, 1.0)

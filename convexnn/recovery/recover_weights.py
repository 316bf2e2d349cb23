"""The engine of a recovery: data at unit scale in, weights in the data's own units out."""

from __future__ import annotations

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.linear.operator import as_device
from convexnn.recovery.course import Course
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.linear_part import is_uncentred
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.significance import drop_dust, drop_insignificant
from convexnn.recovery.memory import estimate_peak_bytes
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.restarts import nothing, stage_sizes
from convexnn.recovery.search import EXACT
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord
from convexnn.tiles import row_tiles

# Rounds of the last fit, on all rows in float64.
LAST_ROUNDS = 50

# Rows times squared weights, the work of a step, from which there is no last fit once time is up: some 0.1 s.
LATE_WORK = 500_000_000


def recover_weights(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network for rows (n, D) and a target (n,), and how it went.

    Where time is up already the network is that of a sample of the rows: bringing all of them to one scale takes longer
    than a limit allows.
    """
    if options.deadline.is_over():
        rows, target = _sample(rows, target, options.budget, rng)
    n_rows, n_inputs = rows.shape
    scale, height = root_mean_squares(rows), float(root_mean_squares(target[:, None])[0])
    device = as_device(options.device)
    problem = Problem(torch.as_tensor(rows / scale, device=device), torch.as_tensor(target / height, device=device))
    memory = estimate_peak_bytes(n_rows, n_inputs, options.budget, options.width, is_uncentred(problem, options.budget))
    course = Course(options, 0.5 * height**2, nothing(problem))
    status = course.run(problem, rng)
    hidden, history = course.best.hidden, course.history
    try:
        hidden = _finished(problem, hidden, options)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    gates = hidden.weights.cpu().numpy() * (height / scale)
    run = RunRecord("recover", status, len(history), options.deadline.seconds, np.array(history), memory)
    return gates, gates * hidden.signs.cpu().numpy()[:, None], run


def _sample(rows: Floats, target: Floats, budget: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return rows (m, D) for a first candidate, and their targets (m,); all of them where these are constant."""
    size = stage_sizes(len(rows), budget)[0]
    index = np.sort(rng.choice(len(rows), size=size, replace=False)) if size < len(rows) else slice(None)
    part = target[index]
    return (rows[index], part) if np.ptp(part) > 0.0 else (rows, target)


def _finished(problem: Problem, hidden: HiddenLayer, options: RecoveryOptions) -> HiddenLayer:
    """Return the layer fitted to all rows, without the weights that rounding, or noise, explains.

    Where time is up and a step of the fit is much work, the layer is as it was found, on some of the rows.
    """
    work = len(problem.rows) * int((hidden.weights != 0.0).sum()) ** 2
    if options.deadline.is_over() and work > LATE_WORK:
        return hidden.compact(options.width)
    hidden, loss = polish(problem, hidden, rounds=LAST_ROUNDS, stop=options.deadline.is_over)
    if loss <= EXACT:
        hidden = drop_dust(problem, hidden, EXACT, options.deadline.is_over)
    if options.significant:
        hidden = drop_insignificant(problem, hidden, options.width * problem.rows.shape[1])
    return hidden.compact(options.width)


def root_mean_squares(columns: Floats) -> Floats:
    """Return the root mean square of each column, 1 for columns of zeros; large entries do not overflow."""
    peaks = np.maximum(columns.max(axis=0), -columns.min(axis=0))
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    total = np.zeros(columns.shape[1])
    for part in row_tiles(*columns.shape):
        total += np.square(columns[part] / peaks).sum(axis=0)
    level: Floats = np.sqrt(total / len(columns))
    return peaks * np.where(level > 0.0, level, 1.0)

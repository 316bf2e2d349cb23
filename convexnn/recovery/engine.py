"""The engine of a recovery: data at unit scale in, weights in the data's own units out."""

from __future__ import annotations

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.linear.operator import as_device
from convexnn.recovery.memory import stated_bytes
from convexnn.recovery.options import RecoveryProgress, Wish
from convexnn.recovery.polish import polish
from convexnn.recovery.problem import Problem
from convexnn.recovery.restarts import Hunt
from convexnn.recovery.search import EXACT
from convexnn.recovery.significance import drop_insignificant
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord

# Rounds of the last fit, on all rows in float64.
LAST_ROUNDS = 50


def find(rows: Floats, target: Floats, wish: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network for rows (n, D) and a target (n,), and how it went."""
    n_rows, n_inputs = rows.shape
    memory = stated_bytes(n_rows, n_inputs, wish.budget, wish.width)
    scale, height = root_mean_squares(rows), float(root_mean_squares(target[:, None])[0])
    place = as_device(wish.device)
    problem = Problem(torch.as_tensor(rows / scale, device=place), torch.as_tensor(target / height, device=place))
    hunt = Hunt(problem, wish.budget, wish.width, wish.signs, rng, wish.is_over, wish.n_restarts, wish.patience)
    status, history = _run(hunt, wish, 0.5 * height**2)
    hidden = polish(problem, hunt.best.hidden, rounds=LAST_ROUNDS, stop=wish.is_over)[0]
    if wish.significant:
        hidden = drop_insignificant(problem, hidden, wish.width * rows.shape[1]).compact(wish.width)
    gates = hidden.weights.cpu().numpy() * (height / scale)
    run = RunRecord("recover", status, len(history), wish.seconds, np.array(history), memory)
    return gates, gates * hidden.signs.cpu().numpy()[:, None], run


def _run(hunt: Hunt, wish: Wish, unit: float) -> tuple[Status, list[float]]:
    """Run a hunt to its end; return how it ended and the lowest loss, in units of `unit`, after each candidate."""
    history: list[float] = []
    try:
        for found in hunt.candidates():
            history.append(unit * hunt.best.loss)
            if wish.callback is not None:
                place = hunt.restart, found.source
                wish.callback(RecoveryProgress(len(history), unit * found.loss, history[-1], wish.seconds, *place))
    except KeyboardInterrupt:
        return Status.INTERRUPTED, history
    ended = wish.is_over() and hunt.best.loss > EXACT
    return Status.TIME_LIMIT if ended else Status.CONVERGED, history


def root_mean_squares(columns: Floats) -> Floats:
    """Return the root mean square of each column, 1 for columns of zeros; large entries do not overflow."""
    peaks = np.abs(columns).max(axis=0)
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    level: Floats = np.sqrt(np.square(columns / peaks).mean(axis=0))
    return peaks * np.where(level > 0.0, level, 1.0)

"""The default for budgets: several ways to a support, from quick to thorough, the best of them polished by swaps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.common.descent import Callback
from convexnn.solvers.common.warm_start import Start
from convexnn.solvers.thresholding.cosamp import cosamp_step
from convexnn.solvers.thresholding.htp import htp_step
from convexnn.solvers.thresholding.niht import niht_step
from convexnn.solvers.thresholding.phases import (
    ROWS_PER_WEIGHT,
    Settings,
    Trail,
    on_all_rows,
    on_whitened_rows,
)
from convexnn.solvers.thresholding.reweighting import Reweighting
from convexnn.solvers.thresholding.swaps import Swaps, swap_flops
from convexnn.solvers.thresholding.whitening import affordable_rows, whitening_bytes

# Most work of one iteration of reweighting, and of one swap.
REWEIGHTING_FLOPS = 1e9
SWAP_FLOPS = 2e10

# Most numbers in the columns of CoSaMP, three times the budget of them.
COSAMP_ENTRIES = 1 << 22

# Most iterations of one run of each phase: together fewer than those of a solve.
PURSUITS = 50
NIHTS = 1000
COSAMPS = 30
REWEIGHTINGS = 100
SWAPS = 200


def hard_thresholding(
    program: ConvexProgram,
    *,
    max_iterations: int = 3000,
    time_limit: float | None = None,
    whiten: bool | str = "auto",
    ridge: float | str = "auto",
    start: Start = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory_limit: int = 1 << 30,
    seed: int = 0,
    callback: Callback | None = None,
) -> Solution:
    """Solve a cardinality program by thresholding in several ways, reweighting and swaps: the best of all.

    Parameters
    ----------
    program : ConvexProgram
        With a budget, any loss, any number of outputs.
    max_iterations, time_limit, whiten, ridge, start, device, dtype, memory_limit, seed, callback
        As in :func:`convexnn.solvers.thresholding.htp.htp`; `max_iterations` (default 3000) and `time_limit` count over
        all phases.

    Returns
    -------
    Solution
        Of the best support met, with the best weights on it; ``gap`` is None. Within the limits it is never worse than
        that of :func:`convexnn.solvers.thresholding.niht.niht` with ``whiten=False``.

    Notes
    -----
    1. Hard thresholding pursuit on whitened rows (:func:`convexnn.solvers.thresholding.htp.htp`). A fit to rounding
       ends the run.
    2. Normalised IHT on plain rows (:func:`convexnn.solvers.thresholding.niht.niht`); with losses of labels CoSaMP too
       (:func:`convexnn.solvers.thresholding.cosamp.cosamp`), which fits them far better.
    3. Reweighting (:class:`convexnn.solvers.thresholding.reweighting.Reweighting`), where an iteration is affordable,
       if need be on a part of the rows.
    4. Swaps from the best support so far (:class:`convexnn.solvers.thresholding.swaps.Swaps`).

    The objective on all rows, with the best weights in float64, decides. Losses of labels have no phases 3 and 4, and 1
    with ``whiten=True`` alone; without whitening there are no phases 1 and 3.
    """
    settings = Settings(max_iterations, time_limit, whiten, ridge, start, device, dtype, memory_limit, seed, callback)
    trail = Trail(program, settings)
    with trail.interruptible():
        _phases(trail, settings)
    return trail.solution("hard_thresholding")


def _phases(trail: Trail, settings: Settings) -> None:
    precise = replace(settings, dtype="float64")
    fits, squared = precise.room(trail.program) >= 0, trail.program.loss.name == "squared"
    rows = precise.rows_to_whiten(trail.program)
    if rows is not None:
        on_whitened_rows(trail, htp_step, precise, rows, PURSUITS)
    if not trail.done:
        _plainly(trail, settings)
    if squared and rows is not None and not trail.done:
        _reweighted(trail, precise)
    if squared and fits and not trail.done:
        _swapped(trail, precise)


def _plainly(trail: Trail, settings: Settings) -> None:
    """Run normalised IHT from its own start, and from the best support if that came from a part of the rows.

    With labels CoSaMP comes after it, where its fits are affordable.
    """
    on_all_rows(trail, niht_step, settings, NIHTS, afresh=True)
    if trail.partial and not trail.done:
        on_all_rows(trail, niht_step, settings, NIHTS)
    program = trail.program
    labels = program.loss.name != "squared" and 3 * (program.budget or 0) * len(program.rows) <= COSAMP_ENTRIES
    if labels and not trail.done:
        on_all_rows(trail, cosamp_step, settings, COSAMPS, afresh=True)


def _reweighted(trail: Trail, settings: Settings) -> None:
    program = trail.program
    n, n_columns, k = len(program.rows), int(program.patterns.features.sum()), program.n_outputs
    count = affordable_rows(n, 2 * k * n_columns, settings.room(program), REWEIGHTING_FLOPS)
    if (count < n and count * k < ROWS_PER_WEIGHT * (program.budget or 0)) or count < 2:
        return
    rows = None if count == n else settings.drawn_rows(n, count)
    dictionary = settings.dictionary(program, rows)
    held = min(8 * count * n_columns, settings.room(program) // 4)
    trail.holds(dictionary, whitening_bytes(count, n_columns) + held)
    problem = Reweighting(dictionary, settings.room(program) // 4)
    trail.run(problem.step, problem.begin, REWEIGHTINGS)


def _swapped(trail: Trail, settings: Settings) -> None:
    budget, size = len(trail.support), trail.program.patterns.features.size
    if swap_flops(budget, size) > SWAP_FLOPS or 48 * budget * size > settings.room(trail.program):
        return
    dictionary = settings.dictionary(trail.program)
    trail.holds(dictionary, 48 * budget * size)
    problem = Swaps(dictionary)
    support = torch.as_tensor(trail.support, device=problem.slopes.device)
    trail.run(problem.step, partial(problem.begin, support), SWAPS)

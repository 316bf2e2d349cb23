"""The default for budgets: several ways to a support, from quick to thorough, the best of them polished by swaps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.thresholding.cosamp import cosamp_step
from convexnn.solvers.thresholding.htp import htp_step
from convexnn.solvers.thresholding.niht import niht_step
from convexnn.solvers.thresholding.options import Options, with_options
from convexnn.solvers.thresholding.phases import (
    ROWS_PER_WEIGHT,
    SupportSearch,
    draw_rows,
    make_dictionary,
    on_all_rows,
    on_whitened_rows,
    rows_to_whiten,
    spare_bytes,
)
from convexnn.solvers.thresholding.reweighting import Reweighting
from convexnn.solvers.thresholding.swaps import SwapSearch, swap_flops
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


@with_options(Options, max_iterations=3000)
def hard_thresholding(program: ConvexProgram, options: Options) -> Solution:
    """Solve a cardinality program by thresholding in several ways, reweighting and swaps: the best of all.

    Parameters
    ----------
    program : ConvexProgram
        With a budget, any loss, any number of outputs.
    options : Options
        By keyword, each on its own: see :class:`convexnn.solvers.thresholding.options.Options`.

    Returns
    -------
    Solution
        Of the best support met, with the best weights on it; ``gap`` is None. ``SEARCH_ENDED`` where the
        phases are gone through without an exact fit. Within the limits it is never worse than that of
        :func:`convexnn.solvers.thresholding.niht.niht` with ``whiten=False``.

    Notes
    -----
    1. Hard thresholding pursuit on whitened rows (:func:`convexnn.solvers.thresholding.htp.htp`). A fit to rounding
       ends the run.
    2. Normalised IHT on plain rows (:func:`convexnn.solvers.thresholding.niht.niht`); with losses of labels CoSaMP too
       (:func:`convexnn.solvers.thresholding.cosamp.cosamp`), which fits them far better.
    3. Reweighting (:class:`convexnn.solvers.thresholding.reweighting.Reweighting`), where an iteration is affordable,
       if need be on a part of the rows.
    4. Swaps from the best support so far (:class:`convexnn.solvers.thresholding.swaps.SwapSearch`).

    The objective on all rows, with the best weights in float64, decides. Losses of labels have no phases 3 and 4, and 1
    with ``whiten=True`` alone; without whitening there are no phases 1 and 3.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> solution = cx.solve(program, "hard_thresholding")
    >>> solution.solver, solution.nnz
    ('hard_thresholding', 3)
    """
    search = SupportSearch(program, options)
    with search.interruptible():
        _run_phases(search, options)
    return search.solution("hard_thresholding", ended=Status.SEARCH_ENDED)


def _run_phases(search: SupportSearch, options: Options) -> None:
    precise = replace(options, dtype="float64")
    fits, squared = spare_bytes(search.program, precise) >= 0, search.program.loss.name == "squared"
    rows = rows_to_whiten(search.program, precise)
    if rows is not None:
        on_whitened_rows(search, htp_step, precise, rows, PURSUITS)
    if not search.done:
        _threshold_plain_rows(search, options)
    if squared and rows is not None and not search.done:
        _reweight(search, precise)
    if squared and fits and not search.done:
        _swap(search, precise)


def _threshold_plain_rows(search: SupportSearch, options: Options) -> None:
    """Run normalised IHT from its own start, and from the best support if that came from a part of the rows.

    With labels CoSaMP comes after it, where its fits are affordable.
    """
    on_all_rows(search, niht_step, options, NIHTS, afresh=True)
    if search.subsampled and not search.done:
        on_all_rows(search, niht_step, options, NIHTS)
    program = search.program
    labels = program.loss.name != "squared" and 3 * (program.budget or 0) * len(program.rows) <= COSAMP_ENTRIES
    if labels and not search.done:
        on_all_rows(search, cosamp_step, options, COSAMPS, afresh=True)


def _reweight(search: SupportSearch, options: Options) -> None:
    program = search.program
    n, n_columns, k = len(program.rows), int(program.patterns.features.sum()), program.n_outputs
    count = affordable_rows(n, 2 * k * n_columns, spare_bytes(program, options), REWEIGHTING_FLOPS)
    if (count < n and count * k < ROWS_PER_WEIGHT * (program.budget or 0)) or count < 2:
        return
    rows = None if count == n else draw_rows(n, count, options.seed)
    dictionary = make_dictionary(program, options, rows)
    held = min(8 * count * n_columns, spare_bytes(program, options) // 4)
    search.account_for(dictionary, whitening_bytes(count, n_columns) + held)
    problem = Reweighting(dictionary, spare_bytes(program, options) // 4)
    search.run(problem.step, problem.begin, REWEIGHTINGS)


def _swap(search: SupportSearch, options: Options) -> None:
    budget, size = len(search.support), search.program.patterns.features.size
    if swap_flops(budget, size) > SWAP_FLOPS or 48 * budget * size > spare_bytes(search.program, options):
        return
    dictionary = make_dictionary(search.program, options)
    search.account_for(dictionary, 48 * budget * size)
    problem = SwapSearch(dictionary)
    support = torch.as_tensor(search.support, device=problem.slopes.device)
    search.run(problem.step, partial(problem.begin, support), SWAPS)

"""Memory: what is stated is held, nothing grows with rows times gates, and a limit is kept or refused."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import convexnn as cx
from convexnn import tiles
from convexnn.linear.masks import DenseMasks, PackedMasks, RecomputedMasks
from convexnn.solvers.thresholding.dictionary import open_dictionary
from tests.helpers import zoo
from tests.helpers.places import ROOT

X, Y = zoo.data(4000, 2)


@cache
def program() -> cx.ConvexProgram:
    """Return a program on so many more rows and gates than features that even bits are more than a recomputation."""
    return cx.ConvexProgram(X, Y, cx.sample_patterns(X, 2000), budget=5)


def test_masks_shrink_with_the_limit_and_the_answer_stays() -> None:
    asked = program()
    least = zoo.least_limit(asked)
    answers, forms = [], []
    n, m = len(X), len(asked.patterns)
    roomy = cx.memory_estimate(asked).total
    for limit in (roomy, roomy - 1, least + n * -(-m // 8), least):
        memory = cx.memory_estimate(asked, memory_limit=limit)
        assert memory.total <= limit
        held = open_dictionary(asked, device="cpu", dtype="float32", memory_limit=limit).operator.masks
        forms.append((type(held), memory.masks))
        answers.append(cx.solve(asked, "niht", memory_limit=limit, max_iterations=20, whiten=False))
        assert answers[-1].memory == memory.total
    expected = [(DenseMasks, 4 * n * m), (DenseMasks, n * m), (PackedMasks, n * -(-m // 8)), (RecomputedMasks, 0)]
    assert forms == expected
    assert all(np.array_equal(answer.support, answers[0].support) for answer in answers)


def test_masks_on_a_cpu_are_bits_once_numbers_would_count() -> None:
    forms = {m: tiles.mask_bits(20_000, m, 1 << 30, 32) for m in (100, 300, 1000, 10_000, 100_000)}
    assert forms == {100: 32, 300: 32, 1000: 8, 10_000: 1, 100_000: 1}
    assert tiles.mask_bits(20_000, 10_000, 1 << 30, 32, spacious=True) == 32
    assert tiles.mask_bits(20_000, 10_000, 1 << 20, 32) == 0


def test_tiles_shrink_with_the_limit() -> None:
    assert [tiles.tile_entries(limit) for limit in (1 << 30, 1 << 23, 0)] == [1 << 19, 1 << 17, 1 << 12]
    covered = np.zeros((1000, 300), dtype=int)
    for rows, gates in tiles.product_tiles(1000, slice(0, 300), 1 << 12):
        assert (rows.stop - rows.start) * (gates.stop - gates.start) <= 1 << 12
        assert gates.start % 8 == 0
        covered[rows, gates] += 1
    assert (covered == 1).all()


def test_a_limit_below_what_is_needed_is_one_clear_line() -> None:
    asked = program()
    needed = zoo.least_limit(asked)
    for call in (cx.memory_estimate, lambda p, **o: cx.solve(p, "niht", **o)):
        with pytest.raises(ValueError, match=f"memory_limit is 1000; expected at least {needed} bytes") as caught:
            call(asked, memory_limit=1000)
        assert "\n" not in str(caught.value)
    penalised = cx.ConvexProgram(X, Y, asked.patterns, penalty="l1", strength=0.1)
    with pytest.raises(TypeError, match="program has a penalty; expected a program with a budget"):
        cx.memory_estimate(penalised)
    with pytest.raises(ValueError, match="dtype 'float16' is unknown"):
        cx.memory_estimate(asked, dtype="float16")
    with pytest.raises(TypeError, match="memory_limit is '1GB'; expected a whole number"):
        cx.memory_estimate(asked, memory_limit="1GB")  # type: ignore[arg-type]


def test_it_reads_well() -> None:
    memory = cx.memory_estimate(program())
    assert memory.total == memory.data + memory.gates + memory.masks + memory.columns + memory.work
    words = str(memory)
    assert words.startswith(f"{memory.total / 1e6:.3g} MB: data ")
    assert "columns 0.24" in words


def test_solvers_without_an_estimate_say_nothing() -> None:
    penalised = cx.ConvexProgram(X[:50], Y[:50], cx.sample_patterns(X[:50], 10), penalty="l1", strength=0.1)
    assert cx.solve(penalised).memory is None


@pytest.mark.parametrize("merge_within", [0.0, 0.01])
def test_sampling_holds_a_tile_of_masks_and_no_more(merge_within: float) -> None:
    rows, m = np.random.default_rng(0).standard_normal((4000, 10)), 8000
    tracemalloc.start()
    drawn = cx.sample_patterns(rows, m, merge_within=merge_within)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(drawn) > 1000
    held = 0.3 if merge_within else 0.0  # bits, and a block of them
    assert peak <= (1.0 / 8.0 + held) * len(rows) * m + 24 * tiles.TILE_ENTRIES + 100 * m * 10


def test_the_fit_and_the_certificate_never_hold_the_columns() -> None:
    rows = np.random.default_rng(0).standard_normal((20_000, 20))
    asked = cx.ConvexProgram(rows, rows[:, 0] ** 2, cx.sample_patterns(rows, 40), budget=400)
    solution = cx.solve(asked, "niht", max_iterations=1)
    from convexnn.program.support_fit import fit_support
    from convexnn.solvers.common.certificate import RunRecord, certify_support

    tracemalloc.start()
    columns = asked.support_columns(solution.support)
    weights = fit_support(columns, np.zeros(solution.nnz, dtype=np.int64), asked.targets, asked.loss)
    record = RunRecord("niht", solution.status, 1, 0.0, solution.history)
    again = certify_support(asked, solution.support, weights, record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.allclose(again.values, solution.values)
    assert peak < 0.5 * 8 * len(rows) * solution.nnz


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of resident memory are read from /proc")
@pytest.mark.parametrize(("gates", "solver", "plain"), [(50, "niht", 0), (1500, "niht", 0), (50, "cosamp", 1)])
def test_the_estimate_is_above_the_measured_peak_and_within_a_factor_of_two(
    gates: int, solver: str, plain: int
) -> None:
    sizes = ["--rows=8000", "--features=60", "--budget=500", "--iterations=3", "--warm=1"]
    sizes += [f"--solver={solver}", f"--plain={plain}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), str(gates), "--here", *sizes]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["solve"] <= figures["estimate"] <= 2.0 * figures["solve"]

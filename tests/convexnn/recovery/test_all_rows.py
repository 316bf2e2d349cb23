"""All rows in blocks: the same as at once, from a memory map that is never copied, and over several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.checks import Floats
from convexnn.recovery.layer.all_rows import AllRows
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.ranks import ALONE
from tests.helpers.recovery_problems import planted

CPU = torch.device("cpu")


def both(stop: Any = lambda: False) -> tuple[Problem, AllRows, HiddenLayer]:
    """Return the same rows at once and in blocks, and a network that reads some features."""
    rng = np.random.default_rng(0)
    rows, target = 3.0 * rng.standard_normal((500, 9)), rng.standard_normal(500)
    scale = rng.uniform(0.5, 2.0, 9)
    every = AllRows(rows, target, 500, CPU, ALONE, stop, scale, 1.5)
    weights = torch.zeros((4, 9), dtype=torch.float64)
    weights[:, [1, 4, 7]] = torch.as_tensor(rng.standard_normal((4, 3)))
    hidden = HiddenLayer(weights, torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64), weights)
    return every.scaled(rows, target), every, hidden


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexnn.recovery.layer.all_rows.BLOCK", block)
    problem, every, hidden = both()
    support = torch.nonzero(hidden.weights, as_tuple=True)
    whole, found = (rows.evaluate(hidden.weights, hidden.signs) for rows in (problem, every))
    assert whole is not None
    assert found is not None
    assert found.loss == pytest.approx(whole.loss, rel=1e-12)
    equations = found.equations(support)
    assert equations is not None
    for one, other in zip(whole.equations(support) or (), equations, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    polished, again = polish(problem, hidden), polish(every, hidden)
    torch.testing.assert_close(polished[0].weights, again[0].weights, rtol=1e-6, atol=1e-8)
    assert again[1] == pytest.approx(polished[1], rel=1e-9)


@pytest.mark.parametrize("asked", range(12))
def test_a_polish_that_is_cut_short_keeps_the_best(asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexnn.recovery.layer.all_rows.BLOCK", 5000)
    questions = iter(range(10_000))
    problem, every, hidden = both(lambda: next(questions) >= asked)
    found, loss = polish(every, hidden)
    before = problem.loss(hidden.weights, hidden.signs)
    assert problem.loss(found.weights, found.signs) <= before
    assert loss == np.inf or loss <= before


def test_of_many_rows_a_sample_is_searched_and_all_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of 3,000 rows is met better by a fit to all of them than by one to 1,000."""
    monkeypatch.setattr("convexnn.recovery.restarts.MOST_ROWS", 1000)
    X, y, _, _ = planted(2, n=3000, d=12, m=3, s=9)
    y = y + 0.3 * np.random.default_rng(1).standard_normal(3000)
    found = cx.recover(X, y, 9, 3, n_restarts=1, patience=5, significant=True)
    program = found.program
    assert program.X.shape == (3000, 12)
    gates = found.to_network().layers[0][0].toarray()
    active = (X @ gates.T) > 0.0
    columns = np.concatenate([active[:, [j]] * X[:, gates[j] != 0.0] for j in range(len(gates))], axis=1)
    # Stationary on all rows, as a fit to some of them is not.
    residual = y - found.predict(X)
    assert np.abs(columns.T @ residual).max() < 1e-3 * np.abs(columns.T @ y).max()


def test_a_row_that_the_sample_does_not_hold_is_missed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexnn.recovery.restarts.MOST_ROWS", 500)
    X, y, _, _ = planted(0, n=4000, d=10, m=2, s=6)
    exact = cx.recover(X, y, 6, 2)
    assert exact.status is cx.Status.EXACT
    y[::1000] += 1.0
    spoiled = cx.recover(X, y, 6, 2, n_restarts=1, patience=5)
    assert spoiled.status is cx.Status.SEARCH_ENDED
    assert spoiled.relative_error is not None
    assert spoiled.relative_error > 1e-6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_memory_map_is_read_and_not_held(tmp_path: Path) -> None:
    """In a process of its own: 240 MB on the disk, of which less than half is held at any time."""
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (600_000, 50))
    rng = np.random.default_rng(0)
    for start in range(0, len(rows), 50_000):
        rows[start : start + 50_000] = rng.standard_normal((50_000, 50))
    np.save(tmp_path / "y.npy", np.maximum(rows[:, 0] - rows[:, 1], 0.0) - np.maximum(rows[:, 2] + rows[:, 3], 0.0))
    rows.flush()
    script = """
import sys, threading, time
import numpy as np
import convexnn as cx
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
small = np.random.default_rng(0).standard_normal((100, 3))
cx.recover(small, np.maximum(small[:, 0], 0.0), 2, 2, n_restarts=1, patience=1)
X, y = np.load("X.npy", mmap_mode="r"), np.load("y.npy")
before, most = anonymous(), [0]
def watch():
    while True:
        most[0] = max(most[0], anonymous())
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
found = cx.recover(X, y, 4, 2)
print(found.status.name, most[0] - before)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(cx.__file__).parent.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    status, kilobytes = ran.stdout.split()
    assert status == "EXACT"
    assert int(kilobytes) < 240_000 / 2


# Each rank has a part of the rows, of sizes that differ; what all return is printed by each.
RANK = """
import json, os, sys
import numpy as np
import torch.distributed as dist
import convexnn as cx

rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
dist.init_process_group("gloo", init_method="file://" + os.environ["MEETING"], rank=rank, world_size=ranks)
{body}
dist.destroy_process_group()
"""

SAME = """
import convexnn.recovery.restarts as restarts
restarts.MOST_ROWS = 700
told = []
for seed, rows, noise in json.loads(os.environ["CASES"]):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, 8))
    y = np.maximum(X[:, 0] - X[:, 1], 0.0) + np.maximum(2.0 * X[:, 2] + X[:, 3], 0.0) - np.maximum(X[:, 4], 0.0)
    y += noise * rng.standard_normal(rows)
    cuts = np.linspace(0, rows, ranks + 1).astype(int) if ranks > 1 else [0, rows]
    part = slice(cuts[rank], cuts[rank + 1])
    few = {"n_restarts": 2, "patience": 3} if noise else {}
    found = cx.recover(X[part], y[part], 5, 3, group=dist.group.WORLD, **few)
    network = found.to_network().layers[0][0].toarray()
    told.append([found.status.name, np.argwhere(network != 0.0).tolist(), network.tolist()])
print(json.dumps(told))
"""


def run_ranks(count: int, body: str, folder: Path, **variables: str) -> list[subprocess.Popen[str]]:
    """Start so many ranks and return them."""
    environment = os.environ | {"PYTHONPATH": str(Path(cx.__file__).parent.parent), "WORLD_SIZE": str(count)}
    environment |= {"MEETING": str(folder / f"meeting{count}"), "OMP_NUM_THREADS": "1", **variables}
    script = RANK.replace("{body}", body)
    return [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def test_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    """From a sample of the rows, and from all; each rank returns one network to the last bit, under noise too."""
    cases = [(seed, rows, noise) for seed in range(2) for rows in (400, 2500) for noise in (0.0, 0.2)]
    outcomes = list[list[Any]]()
    for count in (1, 2):
        ended = [(rank, *rank.communicate()) for rank in run_ranks(count, SAME, tmp_path, CASES=json.dumps(cases))]
        assert all(rank.returncode == 0 for rank, *_ in ended), ended[-1][2]
        found = [json.loads(out) for _, out, _ in ended]
        assert all(other == found[0] for other in found)
        outcomes.append(found[0])
    for (_, _, noise), one, two in zip(cases, *outcomes, strict=True):
        assert one[:2] == two[:2]
        assert (one[0] == "EXACT") is (noise == 0.0)
        assert np.allclose(one[2], two[2], rtol=1e-9, atol=1e-9)


GONE = """
X = np.random.default_rng(rank).standard_normal((100, 3))
try:
    if rank == 0:
        sys.exit(0)
    cx.recover(X, np.maximum(X[:, 0], 0.0), 2, 2, group=dist.group.WORLD)
except OSError as error:
    print(error)
    os._exit(0)
"""


def test_a_rank_that_has_gone_is_one_line(tmp_path: Path) -> None:
    _, out = [rank.communicate(timeout=120)[0] for rank in run_ranks(2, GONE, tmp_path)]
    assert out.startswith("a rank of the group has gone, or does not answer (")
    assert out.count("\n") == 1
    assert ".cc:" not in out


STOPPED = """
import convexnn.recovery.restarts as restarts
from convexnn.recovery.layer.all_rows import AllRows
restarts.MOST_ROWS = 700

def interrupted(*given):
    raise KeyboardInterrupt

if rank == 0:
    AllRows.equations = interrupted
X = np.random.default_rng(rank).standard_normal((3000, 3))
try:
    cx.recover(X, np.maximum(X[:, 0], 0.0) + 0.1 * X[:, 1] ** 2, 2, 2, n_restarts=1, group=dist.group.WORLD)
except (KeyboardInterrupt, OSError) as error:
    print(type(error).__name__, flush=True)
    os._exit(0)
"""


def test_an_interruption_of_the_last_fit_of_several_ranks_is_raised(tmp_path: Path) -> None:
    """Half of what the ranks tell each other is told: what one of them asks next would be answered by the rest."""
    told = [rank.communicate(timeout=120)[0].strip() for rank in run_ranks(2, STOPPED, tmp_path)]
    assert told == ["KeyboardInterrupt", "RankGoneError"]


BAD = """
X = np.random.default_rng(rank).standard_normal((100, 3))
X[7, 2] = np.nan if rank else 1.0
try:
    cx.recover(X, np.maximum(X[:, 0], 0.0), 2, 2, group=dist.group.WORLD)
except ValueError as error:
    print(error)
"""


def test_bad_rows_of_one_rank_are_told_on_all(tmp_path: Path) -> None:
    for rank in run_ranks(2, BAD, tmp_path):
        assert "X holds nan at index (7, 2)" in rank.communicate(timeout=120)[0]


DIFFER = """
X = np.random.default_rng(rank).standard_normal((100, 3))
try:
    cx.recover(X, np.maximum(X[:, 0], 0.0), 2 + rank, 2, group=dist.group.WORLD)
except ValueError as error:
    print(error)
"""


def test_ranks_that_ask_for_different_things_are_refused_on_all(tmp_path: Path) -> None:
    for rank in run_ranks(2, DIFFER, tmp_path):
        assert "the ranks of group differ in their arguments" in rank.communicate()[0]


def test_a_read_only_map_is_kept_and_a_writable_one_is_copied(tmp_path: Path) -> None:
    X: Floats = np.random.default_rng(0).standard_normal((20, 3))
    np.save(tmp_path / "X.npy", X)
    patterns = cx.sample_patterns(X, 4)
    for mode, kept in (("r", True), ("r+", False), ("c", False)):
        given = np.load(tmp_path / "X.npy", mmap_mode=mode)  # type: ignore[arg-type]
        program = cx.ConvexProgram(given, X[:, 0], patterns, penalty="l1", strength=0.1)
        assert np.shares_memory(program.X, given) is kept
        assert not program.X.flags.writeable


def test_a_group_that_is_none_is_refused() -> None:
    X, y = np.eye(4), np.arange(4.0)
    with pytest.raises(ValueError, match=r"group is 'world'; expected .* init_process_group"):
        cx.recover(X, y, budget=1, group="world")

"""Ranks that work for the first one: the same answers, errors on all of them, and one that has gone is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import convexnn as cx
from convexnn.rank_workers import active_pool, is_cancelled
from convexnn.workers import is_spread
from tests.convexnn.test_workers import answer, data, free_port
from tests.helpers.places import ROOT
from tests.helpers.recovery_problems import planted

BEGIN = """
import json, os, sys, time
import numpy as np
import torch.distributed as dist
import convexnn as cx
from convexnn.rank_workers import is_cancelled, on_first_rank
from convexnn.workers import is_spread, spread

dist.init_process_group("gloo")
rank = dist.get_rank()
"""


def ranks(count: int, words: list[str], **settings: str) -> list[subprocess.Popen[str]]:
    """Start so many ranks of a command and return them."""
    known = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    known |= {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    known |= {"WORLD_SIZE": str(count), **settings}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env=known | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def told(count: int, script: str, **settings: str) -> list[str]:
    """Return what each of so many ranks prints that run a script."""
    begun = ranks(count, ["-c", BEGIN + script], **settings)
    ended = [rank.communicate(timeout=120) for rank in begun]
    assert all(rank.returncode == 0 for rank in begun), ended
    return [out for out, _ in ended]


def answers() -> list[Any]:
    """Return what starts of a recovery find, and fits without some of the rows, from which the ridge follows."""
    fit = cx.SparseReLURegressor(budget=6, epochs=1, random_state=0).fit(*data())
    return [is_spread(None), answer("recover"), fit.ridge_, fit.loss_curve_.tolist()]


ANSWERS = """
from tests.convexnn.test_rank_workers import answers

print(json.dumps(on_first_rank(dist.group.WORLD, answers), default=str))
"""


def test_ranks_give_the_serial_answer_to_the_last_bit_on_each_of_them() -> None:
    first, second = told(2, ANSWERS)
    assert first == second
    was_spread, *found = json.loads(first)
    assert was_spread
    assert found == json.loads(json.dumps(answers()[1:], default=str))


UNKNOWN = """
from convexnn.recovery import unknown_budget
from tests.helpers.recovery_problems import planted

def told(problem, height, options, rng, search=unknown_budget.search_weights):
    print("budget", options.budget, file=sys.stderr)
    return search(problem, height, options, rng)

unknown_budget.search_weights = told
X, y, _, _ = planted(1, s=18)
half = slice(0, 100) if rank == 0 else slice(100, None)
found = cx.recover(X[half], y[half], width=6, group=dist.group.WORLD)
print(json.dumps([found.status.name, found.nnz, found.to_network().layers[0][0].toarray().tolist()]))
"""


def test_without_a_budget_ranks_search_larger_ones_ahead() -> None:
    begun = ranks(2, ["-c", BEGIN + UNKNOWN])
    ended = [rank.communicate(timeout=120) for rank in begun]
    assert all(rank.returncode == 0 for rank in begun), ended
    assert all("budget" in err for _, err in ended)
    status, nnz, weights = json.loads(ended[0][0])
    assert json.loads(ended[1][0]) == [status, nnz, weights]
    X, y, _, _ = planted(1, s=18)
    alone = cx.recover(X, y, width=6)
    assert (status, nnz) == (alone.status.name, alone.nnz) == ("EXACT", 18)
    assert np.allclose(weights, alone.to_network().layers[0][0].toarray(), rtol=1e-9, atol=1e-9)


CANCELLED = """
def work(number):
    began = time.perf_counter()
    while number and not is_cancelled() and time.perf_counter() - began < 60:
        time.sleep(0.01)
    return number

def asked():
    found = []
    for index, result in spread(work, [(number,) for number in range(9)], ordered=True):
        found.append(result)
        break
    return found + [result for _, result in spread(pow, [(2, 3), (3, 2), (2, 5), (1, 1)], ordered=True)]

began = time.perf_counter()
print(on_first_rank(dist.group.WORLD, asked), is_cancelled(), time.perf_counter() - began < 50)
"""


def test_what_is_no_longer_wanted_is_cancelled_and_the_ranks_are_free_for_more() -> None:
    assert told(3, CANCELLED) == ["[0, 8, 9, 32, 1] False True\n"] * 3


RAISED = """
def work(number):
    if number == 2:
        raise ValueError("number is 2; expected another one")
    if number == 3:
        raise KeyboardInterrupt
    return number

for numbers in ([1, 2, 4, 5], [3, 3]):
    try:
        on_first_rank(dist.group.WORLD, lambda: list(spread(work, [(number,) for number in numbers])))
    except (ValueError, KeyboardInterrupt) as error:
        print(type(error).__name__, error)
"""


def test_an_error_of_the_work_is_raised_on_all_ranks() -> None:
    assert told(2, RAISED) == ["ValueError number is 2; expected another one\nKeyboardInterrupt \n"] * 2


def table(folder: Path) -> tuple[Path, Any]:
    """Write a noisy table that no start fits exactly, and return it and its data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    y = np.maximum(X[:, 0] - X[:, 1], 0.0) + 0.2 * rng.standard_normal(60)
    path = folder / "data.csv"
    np.savetxt(path, np.column_stack([X, y]), delimiter=",", fmt="%.17g")
    return path, (X, y)


def test_a_command_of_several_ranks_prints_and_writes_once_what_one_does(tmp_path: Path) -> None:
    path, (X, y) = table(tmp_path)
    words = ["-m", "convexnn", "recover", str(path), "--budget", "6", "--width", "3", "--patience", "2", "--json"]
    begun = ranks(2, [*words, "--save", str(tmp_path / "net.npz"), "--checkpoint", str(tmp_path / "run.json")])
    (first, errors), (second, others) = (rank.communicate(timeout=120) for rank in begun)
    assert ([rank.returncode for rank in begun], errors, second, others) == ([0, 0], "", "", "")
    found = cx.recover(X, y, 6, 3, patience=2)
    network = found.to_network()
    assert json.loads(first)["weights"] == network.layers[0][0].toarray().tolist()
    assert cx.SparseReLUNetwork.load(tmp_path / "net.npz") == network
    # What several ranks have kept, one goes on with, and has nothing left to do.
    again = cx.recover(X, y, 6, 3, patience=2, checkpoint=tmp_path / "run.json")
    assert again.history.tolist() == found.history.tolist()


def test_bad_input_is_one_line_of_the_first_rank(tmp_path: Path) -> None:
    begun = ranks(2, ["-m", "convexnn", "recover", str(table(tmp_path)[0]), "--budget", "0"])
    (_, errors), (_, others) = (rank.communicate(timeout=120) for rank in begun)
    assert begun[0].returncode == 2
    assert errors == "error: budget is 0; expected a whole number of at least 1\n"
    assert others == ""


# The second rank is killed in its second start, when the first start of all is in the checkpoint.
KILLED = """
import signal, threading
import convexnn.recovery.course as course

run_start = course.run_start

begun = []

def run(problem, options, deadline, rng):
    begun.append(1)
    while rank == 1 and len(begun) == 2 and not json.load(open(os.environ["RUN"]))["starts"]:
        time.sleep(0.05)
    if rank == 1 and len(begun) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_start(problem, options, deadline, rng)

course.run_start = run
from tests.convexnn.test_workers import data
try:
    cx.recover(*data(), 6, 3, n_restarts=6, patience=2, checkpoint=os.environ["RUN"], group=dist.group.WORLD)
except OSError as error:
    print(error, flush=True)
    os._exit(0)
"""


def test_a_rank_that_is_killed_is_one_line_and_the_checkpoint_goes_on(tmp_path: Path) -> None:
    first, second = ranks(2, ["-c", BEGIN + KILLED], RUN=str(tmp_path / "run.json"))
    out, _ = first.communicate(timeout=120)
    assert second.wait(timeout=60) == -signal.SIGKILL
    assert out.startswith("a rank of the group has gone, or does not answer (")
    assert out.count("\n") == 1
    second.communicate()
    kept = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert 1 <= len(kept) < 6
    X, y = data()
    # Each rank had all rows: twice as many as one has.
    both = (np.concatenate([X, X]), np.concatenate([y, y]))
    whole, on = (
        cx.recover(*both, 6, 3, n_restarts=6, patience=2, checkpoint=path) for path in (None, tmp_path / "run.json")
    )
    assert on.history.tolist() == whole.history.tolist()
    assert on.weights.tolist() == whole.weights.tolist()


def test_without_ranks_there_is_nobody_to_work() -> None:
    assert active_pool() is None
    assert not is_cancelled()
    assert not is_spread(None)

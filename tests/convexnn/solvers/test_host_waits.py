"""How often an iteration hands a number of the device to Python: on a card the host waits there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.solvers.thresholding import dictionary

# The most that an iteration may ask for, on average over the few iterations that each method takes. `niht` asks once
# for each shorter step that it tries where the support changes, and again where it had been taken for the one before.
# `htp` and `cosamp` fit on the host: columns go there, weights come back.
MOST = {"iht": 1.0, "niht": 3.3, "htp": 4.0, "cosamp": 7.0}
ITERATIONS = {"iht": (5, 15), "niht": (5, 15), "htp": (1, 3), "cosamp": (1, 3)}

# The same under a cap, where entries of the gradient are chosen first.
MOST_CAPPED = {"iht": 3.0, "niht": 3.4, "htp": 5.0, "cosamp": 8.0}


def waits(counting: Any, solver: str, n: int, gates: int, iterations: int, cap: int | None = None) -> tuple[int, int]:
    """Return the calls of a run, and its iterations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 20))
    y = np.maximum(X[:, :5], 0.0).sum(1) + rng.standard_normal(n)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, gates, seed=0), budget=20, budget_per_neuron=cap)
    with counting() as counted:
        found = cx.solve(program, solver, whiten=False, max_iterations=iterations)
    return counted.count, found.iterations


def an_iteration(counting: Any, solver: str, n: int, gates: int, cap: int | None = None) -> float:
    """Return the calls of an iteration, on average."""
    (first, early), (second, late) = (waits(counting, solver, n, gates, each, cap) for each in ITERATIONS[solver])
    assert (early, late) == ITERATIONS[solver]
    return (second - first) / (late - early)


@pytest.mark.parametrize("solver", sorted(MOST))
@pytest.mark.parametrize(("n", "gates"), [(500, 20), (4000, 200)])
def test_an_iteration_asks_the_device_for_a_few_numbers_whatever_its_size(
    counting: Any, solver: str, n: int, gates: int
) -> None:
    assert an_iteration(counting, solver, n, gates) <= MOST[solver]


@pytest.mark.parametrize("solver", sorted(MOST))
def test_an_iteration_under_a_cap_asks_for_little_more(counting: Any, solver: str) -> None:
    assert an_iteration(counting, solver, 500, 20, cap=2) <= MOST_CAPPED[solver]


@pytest.mark.parametrize("entries", [200, 100])
def test_a_gradient_that_is_not_held_is_asked_about_once(
    counting: Any, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictionary, "STREAM_ENTRIES", entries)
    assert an_iteration(counting, "iht", 500, 20) <= MOST["iht"] + 1.0


def test_what_hands_entries_to_the_host_is_counted(counting: Any) -> None:
    values, mask = torch.arange(5.0), torch.arange(5) > 2
    calls: list[Callable[[], object]] = [
        values.sum().item,
        values.tolist,
        values.cpu,
        lambda: bool(mask.any()),
        lambda: values[mask],
        lambda: torch.equal(values, values),
        lambda: torch.nonzero(values),
        lambda: torch.unique(values),
        lambda: torch.isin(values, values),
        lambda: torch.as_tensor(np.ones(3)),
    ]
    for number, call in enumerate(calls):
        with counting() as counted:
            call()
        assert counted.count == 1, number
    with counting() as counted:
        torch.where(mask, values, 0.0).topk(2).values.cumsum(0)
    assert counted.count == 0

"""How often an iteration hands a number of the device to Python: on a card the host waits there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from tests.helpers.places import ROOT

# The most that an iteration may ask for, on average. `niht` asks anew for each shorter step that it tries where the
# support changes.
MOST = {"iht": 6.0, "niht": 16.0}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The mode by which `benchmarks/gpu.py` counts such calls."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("gpu").Waits


def waits(counting: Any, solver: str, n: int, gates: int, iterations: int) -> tuple[int, int]:
    """Return the calls of a run, and its iterations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 20))
    y = np.maximum(X[:, :5], 0.0).sum(1) + rng.standard_normal(n)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, gates, seed=0), budget=20)
    with counting() as counted:
        found = cx.solve(program, solver, whiten=False, max_iterations=iterations)
    return counted.count, found.iterations


@pytest.mark.parametrize("solver", sorted(MOST))
@pytest.mark.parametrize(("n", "gates"), [(500, 20), (4000, 200)])
def test_an_iteration_asks_the_device_for_a_few_numbers_whatever_its_size(
    counting: Any, solver: str, n: int, gates: int
) -> None:
    (first, early), (second, late) = (waits(counting, solver, n, gates, iterations) for iterations in (5, 15))
    assert (early, late) == (5, 15)
    assert second - first <= MOST[solver] * (late - early)

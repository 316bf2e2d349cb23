"""How often an iteration hands a number of the device to Python: on a card the host waits there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import convexnn as cx

# Numbers, counts and entries that go to the host; the most an iteration may ask for, on average. `niht` asks anew for
# each shorter step that it tries where the support changes.
WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2")
MOST = {"iht": 6.0, "niht": 16.0}


class Waits(TorchDispatchMode):
    """Counts such calls."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.name().partition(".")[0] in WAITING
        return func(*args, **(kwargs or {}))


def waits(solver: str, n: int, gates: int, iterations: int) -> tuple[int, int]:
    """Return the calls of a run, and its iterations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 20))
    y = np.maximum(X[:, :5], 0.0).sum(1) + rng.standard_normal(n)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, gates, seed=0), budget=20)
    with Waits() as counted:
        found = cx.solve(program, solver, whiten=False, max_iterations=iterations)
    return counted.count, found.iterations


@pytest.mark.parametrize("solver", sorted(MOST))
@pytest.mark.parametrize(("n", "gates"), [(500, 20), (4000, 200)])
def test_an_iteration_asks_the_device_for_a_few_numbers_whatever_its_size(solver: str, n: int, gates: int) -> None:
    (first, early), (second, late) = (waits(solver, n, gates, iterations) for iterations in (5, 15))
    assert (early, late) == (5, 15)
    assert second - first <= MOST[solver] * (late - early)

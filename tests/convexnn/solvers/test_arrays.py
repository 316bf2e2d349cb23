"""The interior point method on torch's arrays, held against NumPy's: functions, steps, solutions, memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import convexnn as cx
from convexnn.solvers.convex import arrays
from convexnn.solvers.convex.arrays import UNSOLVABLE, ArrayLibrary, NumpyArrays, TorchArrays, largest
from convexnn.solvers.convex.interior_steps import InteriorIterate, InteriorPoint
from convexnn.solvers.convex.softmax_steps import SoftmaxPoint
from tests.helpers import zoo

# The module: its name in the package is that of the function.
interior_point = import_module("convexnn.solvers.convex.interior_point")

CASES = [case for case in zoo.cases(cone=True) if case.penalty != "feature_l1"]


@pytest.fixture
def held(device: str) -> TorchArrays:
    """torch's arrays on the device."""
    return TorchArrays(torch.device(device))


FUNCTIONS: dict[str, Callable[[ArrayLibrary, Any, Any], Any]] = {
    "masked sums": lambda library, values, mask: library.masked_sums(values, mask),
    "row major": lambda library, values, mask: library.row_major(mask.T),
    "zeros": lambda library, values, mask: library.zeros(3, 4),
    "identity": lambda library, values, mask: library.eye(3),
    "diagonals": lambda library, values, mask: library.diagonal(values.reshape(3, 2, 2)),
    "solves": lambda library, values, mask: library.factor(values @ values.T + library.eye(3))(values[:, 0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_libraries_compute_the_same(name: str, held: TorchArrays) -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.standard_normal((3, 4)), rng.random((3, 4)) < 0.5
    expected = FUNCTIONS[name](NumpyArrays(), values, mask)
    found = held.host(FUNCTIONS[name](held, held.array(values), held.array(mask)))
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous or name == "diagonals"
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_diagonals_are_written_to_in_both_libraries(held: TorchArrays) -> None:
    for library in (NumpyArrays(), held):
        blocks = library.zeros(2, 3, 3)
        diagonal = library.diagonal(blocks)
        diagonal += 2.0
        np.testing.assert_array_equal(library.host(blocks), np.stack([2.0 * np.eye(3)] * 2))


@pytest.mark.parametrize("entry", [-1.0, np.nan, np.inf])
def test_a_matrix_without_a_factor_is_said_to_be_in_both_libraries(entry: float, held: TorchArrays) -> None:
    for library in (NumpyArrays(), held):
        matrix = library.eye(3)
        matrix[1, 1] = entry
        with pytest.raises(UNSOLVABLE):
            library.factor(matrix)


def test_the_largest_value_of_none_is_zero(held: TorchArrays) -> None:
    for library in (NumpyArrays(), held):
        assert largest(library.zeros(0, 2)) == 0.0
        assert largest(library.array([-2.0, 1.0])) == 2.0


def test_the_cpu_has_the_arrays_of_numpy_and_a_device_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(arrays.arrays_on("cpu"), NumpyArrays)
    program = zoo.Case("squared", 1, "group_l1", "gaussian", False, True).program()
    # With a device too it is the one that `auto` begins with.
    assert cx.solve(program, device="cpu").solver == "interior_point"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda' and no CUDA device is available; expected 'cpu'"):
        cx.solve(program, "interior_point", device="cuda")
    with pytest.raises(ValueError, match="device 'tpu' is unknown; expected 'cpu', 'cuda'"):
        cx.solve(program, "interior_point", device="tpu")


def after(case: zoo.Case, library: ArrayLibrary, steps: int) -> tuple[InteriorPoint, InteriorIterate]:
    """Return the method for the first output, or all of a softmax, and its iterate after some steps."""
    program = case.program()
    coupled = case.loss == "softmax"
    kind, target = (SoftmaxPoint, program.targets) if coupled else (InteriorPoint, program.targets[:, 0])
    method = kind(program, target, 1e-9, arrays=library)
    now = method.begin()
    for _ in range(steps):
        now = method.step(now)
    return method, now


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_steps_of_both_libraries_are_the_same_up_to_rounding(case: zoo.Case, held: TorchArrays) -> None:
    (ours, here), (theirs, there) = (after(case, library, 5) for library in (NumpyArrays(), held))
    assert there.objective == pytest.approx(here.objective, rel=1e-9)
    assert there.smoothing == pytest.approx(here.smoothing, rel=1e-6)
    for name in ("neurons", "slacks", "multipliers", "penalty_dual"):
        expected, found = getattr(here, name), held.host(getattr(there, name))
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max(), err_msg=name)
    # Multipliers that are in balance again: many are 0, and blocks of few rows are singular but for rounding.
    for method, now, library in ((ours, here, NumpyArrays()), (theirs, there, held)):
        balanced = library.host(method.balanced(now))
        assert (balanced >= 0.0).all()
        assert np.isfinite(balanced).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_solutions_on_torch_are_certified_and_those_of_numpy(
    case: zoo.Case, held: TorchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = case.program()
    here = cx.solve(program, "interior_point")
    monkeypatch.setattr(interior_point, "arrays_on", lambda device: held)
    there = cx.solve(program, "interior_point")
    assert there.status is here.status is cx.Status.CONVERGED
    assert abs(there.iterations - here.iterations) <= 1
    assert there.objective == pytest.approx(here.objective, abs=1e-6 * program.zero_loss)
    assert there.violation == 0.0


def test_numbers_that_are_not_finite_end_a_run_on_torch(held: TorchArrays) -> None:
    method, now = after(CASES[0], held, 2)
    now.multipliers[0, 0] = float("nan")
    assert np.isnan(method.step(now).objective)


class Marked(TorchArrays):
    """Marks the arrays that it makes, as a device would."""

    def array(self, values: ArrayLike) -> Any:
        return marked(super().array(values))

    def zeros(self, *shape: int) -> Any:
        return marked(super().zeros(*shape))

    def eye(self, size: int) -> Any:
        return marked(super().eye(size))


def marked(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is marked as one of the device."""
    tensor.on_device = True  # type: ignore[attr-defined]
    return tensor


class Apart(TorchDispatchMode):
    """Refuses what a card refuses: operations between its arrays and others that are more than a number."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call; what it returns is on the device where what it took is."""
        tensors = [value for value in tree_leaves((args, kwargs or {})) if isinstance(value, torch.Tensor)]
        ours = [hasattr(tensor, "on_device") for tensor in tensors]
        others = [tensor for tensor, our in zip(tensors, ours, strict=True) if tensor.ndim and not our]
        assert not (any(ours) and others), f"{func} mixes devices"
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result) if any(ours) else ():
            if isinstance(value, torch.Tensor):
                marked(value)
        return result


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.kind == "sparse" or case.bias or case.penalty == "none"], ids=str
)
def test_arrays_of_the_host_and_of_the_device_never_meet(case: zoo.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("an array of the device became one of NumPy")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    with Apart():  # type: ignore[no-untyped-call]
        method, now = after(case, Marked(torch.device("cpu")), 4)
        assert hasattr(now.neurons, "on_device")
        slope = method.cones.weight_slack_adjoint(method.balanced(now))
        assert hasattr(method.cones.project(slope), "on_device")
        # So that the bound is looked at in any case.
        method.goal = float("inf")
        assert method._is_final(now) or case.penalty == "none"


class Peak(TorchDispatchMode):
    """Counts the bytes that torch's arrays hold, and the most that they held."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call, and count what it returns."""
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.held[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.held = {key: entry for key, entry in self.held.items() if not entry[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.held.values()))
        return result


# Iterations after which arrays that are not given back would be more than what is stated.
SEVERAL = 10

PROGRAMS = [("squared", 8, False), ("squared", 60, False), ("softmax", 8, False), ("softmax", 8, True)]


def few_bytes(loss: str, gates: int, intercept: bool) -> tuple[cx.ConvexProgram, int]:
    """Return a program of 300 numbers or 100 labels, and the least bytes that its error message asks for."""
    X, y = zoo.data(300 if loss == "squared" else 100, 8)
    target, patterns = zoo.target(loss, 3 if loss == "softmax" else 1, X, y), cx.sample_patterns(X, gates, seed=0)
    program = cx.ConvexProgram(
        X, target, patterns, loss=loss, penalty="group_l1", strength=1e-3, cone=True, intercept=intercept
    )
    with pytest.raises(ValueError, match="interior_point expects at least") as caught:
        cx.solve(program, "interior_point", memory_limit=0)
    return program, int(str(caught.value).split("at least ")[1].split()[0])


@pytest.mark.parametrize(("loss", "gates", "intercept"), PROGRAMS)
def test_the_arrays_of_numpy_stay_within_the_bytes_that_are_stated(loss: str, gates: int, intercept: bool) -> None:
    program, least = few_bytes(loss, gates, intercept)
    tracemalloc.start()
    found = cx.solve(program, "interior_point", memory_limit=least, max_iterations=SEVERAL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.iterations == SEVERAL
    assert peak <= least


@pytest.mark.parametrize(("loss", "gates", "intercept"), PROGRAMS)
def test_the_arrays_of_torch_stay_within_the_bytes_that_are_stated(
    loss: str, gates: int, intercept: bool, held: TorchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, least = few_bytes(loss, gates, intercept)
    monkeypatch.setattr(interior_point, "arrays_on", lambda device: held)
    with Peak() as peak:
        found = cx.solve(program, "interior_point", memory_limit=least, max_iterations=SEVERAL)
    assert found.iterations == SEVERAL
    assert 0 < peak.most <= least

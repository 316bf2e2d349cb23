"""The pattern operator against the dense matrix, on every form of masks, precision, head and device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn import tiles as room
from convexnn.checks import Floats
from convexnn.linear.masks import DenseMasks, PackedMasks, RecomputedMasks
from convexnn.linear.operator import PatternOperator
from tests.helpers import zoo

N, D = 30, 5
LIMITS = {"dense": 1 << 20, "packed": 100, "recomputed": 0}
FORMS = {"dense": DenseMasks, "packed": PackedMasks, "recomputed": RecomputedMasks}


def heads(kind: str, count: int) -> Floats | None:
    rng = np.random.default_rng(7)
    return {
        "ones": None,
        "signed": rng.choice([-1.0, 1.0], (1, count)),
        "vector": rng.standard_normal((3, count)),
    }[kind]


def as_matrix(A: PatternOperator) -> torch.Tensor:
    """Return A as a dense matrix (n k, m d)."""
    return A.columns(torch.arange(A.size, device=A.device))


def dot_test(A: PatternOperator, seed: int) -> float:
    """Return |<A u, r> - <u, A^T r>| / (||A u|| ||r||) for random u and r: rounding if A^T is the adjoint."""
    rng = np.random.default_rng(seed)
    u, r = A.tensor(rng.standard_normal(A.in_shape)), A.tensor(rng.standard_normal(A.out_shape))
    forward = A.forward(u)
    gap = (forward * r).sum() - (u * A.adjoint(r)).sum()
    return float(gap.abs() / (forward.norm() * r.norm()))


@pytest.fixture(params=["whole", "tiled"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tiled":
        monkeypatch.setattr(room, "TILE_ROWS", 7)
        monkeypatch.setattr(room, "TILE_ENTRIES", 7 * 8)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("head", ["ones", "signed", "vector"])
@pytest.mark.parametrize("form", LIMITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_products_are_those_of_the_dense_matrix(kind: str, dtype: str, form: str, head: str, device: str) -> None:
    X, _ = zoo.data(N, D)
    drawn = zoo.patterns(X, kind, count=19)
    V = heads(head, len(drawn))
    A = PatternOperator(X, drawn, V, device=device, dtype=dtype, memory_limit=LIMITS[form])
    assert isinstance(A.masks, FORMS[form])
    blocks = zoo.dense_matrix(X, drawn).reshape(N, len(drawn), D)
    V = np.ones((1, len(drawn))) if V is None else V
    matrix = np.einsum("nmd,km->nkmd", blocks, V).reshape(N * len(V), -1)
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    rng = np.random.default_rng(1)
    U, R = rng.standard_normal(A.in_shape), rng.standard_normal(A.out_shape)

    def close(found: torch.Tensor, expected: Floats) -> bool:
        return np.allclose(found.cpu().numpy(), expected, atol=tolerance)

    assert close(as_matrix(A), matrix)
    assert close(A.forward(A.tensor(U)), (matrix @ U.ravel()).reshape(A.out_shape))
    assert close(A.adjoint(A.tensor(R)), (matrix.T @ R.ravel()).reshape(A.in_shape))
    assert close(A.column_norms(), np.linalg.norm(matrix, axis=0).reshape(A.in_shape))
    assert dot_test(A, seed=2) < tolerance


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("form", LIMITS)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_what_is_combined_without_columns_is_the_sum_of_the_columns(kind: str, outputs: int, form: str) -> None:
    X, _ = zoo.data(N, D)
    drawn = zoo.patterns(X, kind, count=19)
    A = PatternOperator(X, drawn, dtype="float64", memory_limit=LIMITS[form])
    rng = np.random.default_rng(3)
    owned = np.repeat(drawn.features.ravel(), outputs)
    for size in (0, 1, 20):
        support = np.sort(rng.choice(np.flatnonzero(owned), size, replace=False))
        weights, spread = rng.standard_normal(size), np.zeros((size, outputs))
        spread[np.arange(size), support % outputs] = weights
        expected = zoo.dense_matrix(X, drawn)[:, support // outputs] @ spread
        found = A.combination(torch.as_tensor(support), outputs).weighted(A.tensor(weights))
        assert np.allclose(found.numpy(), expected, atol=1e-12)


def test_no_column_and_one_column() -> None:
    X, _ = zoo.data(N, D)
    A = PatternOperator(X, zoo.patterns(X), dtype="float64")
    assert A.columns(torch.tensor([], dtype=torch.int64)).shape == (N, 0)
    assert torch.equal(A.columns(torch.tensor([7])), as_matrix(A)[:, [7]])


def test_the_columns_are_those_of_the_program() -> None:
    X, y = zoo.data(N, D)
    drawn = zoo.patterns(X, "given")
    support = np.array([3, 0, 11])
    columns = PatternOperator(X, drawn, dtype="float64").columns(torch.tensor(support)).numpy()
    assert np.array_equal(columns, cx.ConvexProgram(X, y, drawn, budget=1).columns(support))
    assert not columns[:, ~drawn.features.flat[support]].any()


def test_units_scale_the_products_and_not_the_masks() -> None:
    X, _ = zoo.data(N, D)
    drawn, units = zoo.patterns(X), np.array([1.0, 1e60, 1e-60, 3.0, 0.5])
    far = cx.sample_patterns(X * units, generators=drawn.generators / units)
    A = PatternOperator(X * units, far, units=units)
    assert torch.allclose(as_matrix(A), as_matrix(PatternOperator(X, drawn)))


def test_bad_input_is_one_clear_line() -> None:
    X, _ = zoo.data(N, D)
    drawn = zoo.patterns(X)
    with pytest.raises(ValueError, match="dtype 'float16' is unknown; expected one of: float32, float64"):
        PatternOperator(X, drawn, dtype="float16")
    for device in ("gpu", "meta", None):
        with pytest.raises(ValueError, match=f"device {device!r} is unknown; expected 'cpu', 'cuda'"):
            PatternOperator(X, drawn, device=device)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="memory_limit is '1GB'; expected a whole number of at least 0"):
        PatternOperator(X, drawn, memory_limit="1GB")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory_limit is -1"):
        PatternOperator(X, drawn, memory_limit=-1)
    with pytest.raises(ValueError, match=r"heads has shape \(2, 3\); expected \(k, 8\)"):
        PatternOperator(X, drawn, np.ones((2, 3)))
    with pytest.raises(ValueError, match="X has 4 features; expected 5"):
        PatternOperator(X[:, :4], drawn)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        PatternOperator(X * 1e200, drawn)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is available")
def test_a_missing_cuda_device_is_named() -> None:
    X, _ = zoo.data(N, D)
    with pytest.raises(ValueError, match="no CUDA device is available"):
        PatternOperator(X, zoo.patterns(X), device="cuda")

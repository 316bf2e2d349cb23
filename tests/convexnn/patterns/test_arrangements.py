"""Arrangements: every cell once, with a gate strictly inside, against formulas, brute force and exact counts."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from convexnn.checks import Floats
from convexnn.patterns import arrangements as room

Rows = list[list[Fraction]]


def exact_count(rows: Rows) -> int:
    """Return the number of cells by deletion and restriction in rational arithmetic."""
    lines = list({tuple(entry / next(filter(None, row)) for entry in row): None for row in rows if any(row)})
    if not lines:
        return 1
    *others, last = lines
    pivot = next(i for i, entry in enumerate(last) if entry)
    restricted = [[b - row[pivot] / last[pivot] * a for a, b in zip(last, row, strict=True)] for row in others]
    return exact_count([list(row) for row in others]) + exact_count(restricted)


def masks_of(X: Floats, gates: Floats) -> set[bytes]:
    """Return the masks as bytes, in plain arithmetic."""
    return {mask.tobytes() for mask in gates @ X.T >= 0.0}


def check_inside(X: Floats, gates: Floats, margin: float) -> None:
    """Check that the gates are strictly inside cells, no two in the same."""
    nonzero = X[X.any(axis=1)]
    assert len({mask.tobytes() for mask in gates @ nonzero.T > 0.0}) == len(gates)
    cosines = room.unit_rows(gates) @ room.unit_rows(nonzero).T
    assert np.abs(cosines).min(initial=1.0) > margin


@pytest.mark.parametrize(
    ("n", "rank"),
    [(1, 1), (6, 1), (2, 2), (9, 2), (3, 3), (12, 3), (40, 3), (9, 4), (20, 4), (10, 5), (9, 8), (9, 9), (4, 7)],
)
def test_rows_in_general_position_have_as_many_cells_as_the_formula_says(n: int, rank: int) -> None:
    X = np.random.default_rng(n).standard_normal((n, rank))
    gates = room.enumerate_cells(X)
    assert len(gates) == room.count_patterns(n, rank)
    check_inside(X, gates, 1e-9)


def test_the_count_has_its_closed_forms() -> None:
    assert [room.count_patterns(n, 0) for n in (1, 5)] == [1, 1]
    assert [room.count_patterns(n, 1) for n in (1, 5)] == [2, 2]
    assert [room.count_patterns(n, 2) for n in (1, 5, 500)] == [2, 10, 1000]
    assert [room.count_patterns(n, n + extra) for n in (1, 3, 10) for extra in (0, 4)] == [2, 2, 8, 8, 1024, 1024]
    assert room.count_patterns(5000, 100) == 2 * sum(comb(4999, i) for i in range(100))
    with pytest.raises(ValueError, match="rank is -1; expected a whole number of at least 0"):
        room.count_patterns(3, -1)
    with pytest.raises(ValueError, match="n_rows is 0; expected a whole number of at least 1"):
        room.count_patterns(0, 1)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_no_random_gate_finds_another_mask(columns: int) -> None:
    rng = np.random.default_rng(columns)
    for X in (rng.standard_normal((9, columns)), rng.integers(-1, 2, (12, columns)).astype(float)):
        found = masks_of(X, room.enumerate_cells(X))
        assert masks_of(X, rng.standard_normal((100_000, columns))) <= found


@given(npst.arrays(int, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.integers(-2, 2)))
def test_whole_data_with_ties_have_the_cells_counted_in_rational_arithmetic(X: np.ndarray) -> None:
    # Repeated, parallel, opposite, zero and dependent rows, zero columns, every rank.
    gates = room.enumerate_cells(X.astype(float))
    assert len(gates) == exact_count([[Fraction(int(entry)) for entry in row] for row in X])
    check_inside(X.astype(float), gates, 1e-3)


@pytest.mark.parametrize("columns", [3, 4])
def test_a_grid_has_the_cells_counted_in_rational_arithmetic(columns: int) -> None:
    side = [np.arange(3.0)] * (columns - 1)
    X = np.column_stack([np.stack(np.meshgrid(*side), axis=-1).reshape(-1, columns - 1), np.ones(3 ** (columns - 1))])
    X = X[:11]
    gates = room.enumerate_cells(X)
    assert len(gates) == exact_count([[Fraction(int(entry)) for entry in row] for row in X])
    check_inside(X, gates, 1e-3)


def test_data_of_low_rank_have_the_cells_of_their_rank() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3)) @ rng.standard_normal((3, 8))
    gates = room.enumerate_cells(X)
    assert len(gates) == room.count_patterns(12, 3)
    check_inside(X, gates, 1e-9)


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_near_duplicates_are_told_apart(rank: int, gap: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, rank))
    X[5:] = X[:5] + gap * rng.standard_normal((5, rank))
    assert len(room.enumerate_cells(X)) == room.count_patterns(10, rank)


def test_lines_are_grouped_whatever_their_length_and_side() -> None:
    X = np.array([[1.0, 3.0], [0.0, 0.0], [-0.1, -0.3], [1e-200, 3e-200], [0.0, 2.0], [3.0, 1.0], [0.0, -1e200]])
    lines = room.distinct_lines(X)
    assert np.allclose(lines, [[10**-0.5, 3 * 10**-0.5], [0.0, 1.0], [3 * 10**-0.5, 10**-0.5]])
    assert len(room.enumerate_cells(X)) == 6
    assert room.distinct_lines(np.zeros((3, 2))).shape == (0, 2)


@given(npst.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 7), st.just(2)), elements=st.integers(-2, 2)))
def test_planes_side_by_side_have_the_cells_of_each(planes: np.ndarray) -> None:
    owner, gates = room.plane_cells(planes)
    assert (np.diff(owner) >= 0).all()
    assert np.allclose(np.linalg.norm(gates, axis=1), 1.0)
    for index, rows in enumerate(planes):
        check_inside(rows, gates[owner == index], 1e-3)
        assert (owner == index).sum() == exact_count([[Fraction(int(entry)) for entry in row] for row in rows])


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for X in (rng.standard_normal((15, 4)), rng.integers(-2, 3, (12, 4)).astype(float)):
        monkeypatch.setattr(room, "TILE_ENTRIES", 1 << 21)
        whole = room.enumerate_cells(X)
        monkeypatch.setattr(room, "TILE_ENTRIES", 50)
        tiled = room.enumerate_cells(X)
        assert np.allclose(whole, tiled, rtol=0.0, atol=1e-9)

"""Extreme eigenvalues of Z_T^T Z_T / n over all sets T of t columns: enumerated, or bounded from outside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice
from math import comb

import numpy as np

from convexnn.checks import Floats, Ints
from convexnn.patterns.activation_patterns import masks
from convexnn.theory.supports.design import GRAM_SIZE, Design

# Sets of columns that are enumerated where nobody asked for it, and where somebody did.
FEW_SETS = 20_000
MOST_SETS = 1_000_000
# Entries of the Gram matrices of sets that are held at one time.
TILE_ENTRIES = 1 << 20

EPS = float(np.finfo(np.float64).eps)


def column_sets(n_columns: int, size: int) -> Iterator[Ints]:
    """Yield all sets of `size` of the columns, in order, as arrays (b, size) of many at a time."""
    every = combinations(range(n_columns), size)
    step = max(1, TILE_ENTRIES // size**2)
    while block := list(islice(every, step)):
        yield np.array(block, dtype=np.int64)


def set_extremes(gram: Floats, size: int) -> tuple[float, float]:
    """Return the least and the largest eigenvalue of the submatrices of a Gram matrix (p, p) on `size` columns.

    Smaller sets have no eigenvalue outside these (Cauchy interlacing).
    """
    low, high = np.inf, -np.inf
    for sets in column_sets(len(gram), size):
        spectra = np.linalg.eigvalsh(gram[sets[:, :, None], sets[:, None, :]])
        low, high = min(low, float(spectra[:, 0].min())), max(high, float(spectra[:, -1].max()))
    return low, high


def rounding(design: Design, size: int) -> float:
    """Return what rounding can move an eigenvalue of Z_T^T Z_T / n by, |T| <= size.

    The error of the products is at most gamma_n |Z_T|^T |Z_T|, that of the eigenvalues a small multiple of t eps ||.||;
    the trace bounds both norms.
    """
    return 2.0 * (design.n_rows + 16 * size + 32) * EPS * _largest_squares(design, size)


def upper_bounds(design: Design, size: int) -> dict[str, float]:
    """Return upper bounds on max lambda_max(Z_T^T Z_T / n), |T| <= size, by name; those that are affordable.

    * ``every set``: the eigenvalues of every set of columns, where they are at most 20,000.
    * ``all columns``: lambda_max(Z^T Z / n).
    * ``Gram rows``: Gershgorin, the largest sum of the t largest |z_i . z_j| / n of a column i.
    * ``column norms``: the trace, the sum of the t largest ||z_i||^2 / n.
    * ``gates``: Z_T Z_T^T <= (X X^T) * (D D^T) over the gates of T, at most t of them and at most those active on one
      row; its norm is at most that number times lambda_max(X^T X / n) (Schur's product theorem).
    """
    slack = rounding(design, size)
    bounds = {"column norms": _largest_squares(design, size), "gates": _gate_bound(design, size)}
    gram = design.gram
    if gram is not None:
        entries = -np.sort(-np.abs(gram), axis=1)[:, :size]
        bounds["Gram rows"] = float(entries.sum(axis=1).max())
        if comb(design.n_columns, size) <= FEW_SETS:
            bounds["every set"] = set_extremes(gram, size)[1]
    whole = _whole_norm(design, gram)
    bounds |= {} if whole is None else {"all columns": whole + rounding(design, design.n_columns)}
    return {name: (value + slack) * (1.0 + 8.0 * EPS) for name, value in bounds.items()}


def lower_bounds(design: Design, size: int) -> dict[str, float]:
    """Return lower bounds, at least 0, on min lambda_min(Z_T^T Z_T / n), |T| <= size, by name.

    ``every set`` and ``all columns`` as in :func:`upper_bounds`; ``Gram rows``: the least z_i . z_i / n less its t - 1
    largest |z_i . z_j| / n; ``no bound above 0``: 0.
    """
    slack, bounds, gram = rounding(design, size), {"no bound above 0": 0.0}, design.gram
    if gram is not None:
        apart = np.abs(gram)
        np.fill_diagonal(apart, 0.0)
        others = -np.sort(-apart, axis=1)[:, : size - 1].sum(axis=1)
        bounds["Gram rows"] = float((np.diagonal(gram) - others).min()) - slack
        bounds["all columns"] = float(np.linalg.eigvalsh(gram)[0]) - rounding(design, design.n_columns)
        if comb(design.n_columns, size) <= FEW_SETS:
            bounds["every set"] = set_extremes(gram, size)[0] - slack
    return {name: max(0.0, value * (1.0 - 8.0 * EPS)) for name, value in bounds.items()}


def _largest_squares(design: Design, size: int) -> float:
    ordered = np.sort(design.squares)[::-1]
    return float(ordered[:size].sum())


def _whole_norm(design: Design, gram: Floats | None) -> float | None:
    """Return lambda_max(Z^T Z / n) by the smaller of the two Gram matrices, or None where both are too large."""
    if gram is None:
        if design.matrix is None or design.n_rows > GRAM_SIZE:
            return None
        gram = design.matrix @ design.matrix.T / design.n_rows
    return float(np.linalg.eigvalsh(gram)[-1])


def _gate_bound(design: Design, size: int) -> float:
    rows, generators = design.program.rows, design.program.patterns.generators
    step = max(1, TILE_ENTRIES // len(generators))
    most = max(int(masks(rows[i : i + step], generators).sum(axis=1).max()) for i in range(0, len(rows), step))
    product = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    trace = float(np.trace(product)) / len(rows)
    norm = float(np.linalg.eigvalsh(product)[-1]) / len(rows) if len(product) <= GRAM_SIZE else trace
    return min(size, most) * (norm + 2.0 * (sum(rows.shape) + 16 * len(product) + 32) * EPS * trace)

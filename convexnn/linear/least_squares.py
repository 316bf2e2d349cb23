"""Least squares on a support: the one place where coherent or dependent columns are dealt with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq, qr
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpocon

from convexnn.checks import Floats
from convexnn.linear.columns import SupportColumns
from convexnn.tiles import row_tiles

Columns = NDArray[np.floating] | SupportColumns

# With two equal columns and rounding, a cut at machine precision lets weights of 1e11 and -1e11 through.
RCOND = 1e-10

# Reciprocal condition of the Gram matrix of unit columns down to which it is trusted. Its rounding, some 1e-15, then
# moves the weights by at most 1e-5 of themselves, and a step of refinement by 1e-5 of that.
GRAM_RCOND = 1e-10


def least_squares(columns: Columns, target: Floats) -> Floats:
    """Return weights w (s,) that minimise ||columns w - target||, float64, of least norm over unit columns.

    Parameters
    ----------
    columns : ndarray (n, s), float32 or float64, or SupportColumns
        The matrix C, read a tile of rows at a time.
    target : ndarray (n,)
        What to fit.

    Notes
    -----
    Over unit columns, C^T C w = C^T y by Cholesky and one step of refinement with the residual y - C w, as accurate as
    an orthogonal method while cond(C)^2 is far below 1/eps (Bjorck, "Stability analysis of the method of seminormal
    equations", 1987). Where the reciprocal condition of C^T C is estimated below 1e-10, [C y] is reduced to a triangle
    by one QR after the other and the rest is left to singular values, of which those below 1e-10 of the largest are
    cut: columns that are zero or depend on others are no error, and the cut does not depend on the units of a column.
    Memory: 24 s^2 bytes, 48 s^2 by the triangle, and two tiles, whatever n.
    """
    n, s = columns.shape
    if not s:
        return np.zeros(0)
    if n < s:
        return _by_singular_values(columns, target, _norms(columns))
    gram, moment = normal_equations(columns, target)
    norms = unit_gram(gram)
    factor = _factor(gram)
    if factor is None:
        del gram
        return _by_singular_values(columns, target, norms)
    weights: Floats = cho_solve(factor, moment / norms, check_finite=False) / norms
    return weights + cho_solve(factor, _missing(columns, target, weights) / norms, check_finite=False) / norms


def tiles_of(columns: Columns) -> Iterator[tuple[slice, Floats]]:
    """Yield slices of the rows, in order, and the columns there as float64."""
    if isinstance(columns, SupportColumns):
        yield from columns.tiles()
        return
    for rows in row_tiles(*columns.shape):
        yield rows, np.asarray(columns[rows], dtype=np.float64)


def normal_equations(columns: Columns, target: Floats) -> tuple[Floats, Floats]:
    """Return the upper triangle of C^T C (s, s), in Fortran order, and C^T y (s,)."""
    s = columns.shape[1]
    gram, moment = np.zeros((s, s), order="F"), np.zeros(s)
    for rows, tile in tiles_of(columns):
        gram = dsyrk(1.0, tile.T, beta=1.0, c=gram, overwrite_c=1)
        moment += tile.T @ target[rows]
    return gram, moment


def _norms(columns: Columns) -> Floats:
    """Return the norms of the columns, 1 where they are zero."""
    norms = np.sqrt(sum(np.einsum("ij,ij->j", tile, tile) for _, tile in tiles_of(columns)))
    return np.where(norms > 0.0, norms, 1.0)


def unit_gram(gram: Floats) -> Floats:
    """Return the norms of the columns, 1 where they are zero, and divide the Gram matrix by them in place."""
    norms: Floats = np.sqrt(np.diagonal(gram))
    norms[norms == 0.0] = 1.0
    gram /= norms
    gram /= norms[:, None]
    return norms


def _factor(gram: Floats) -> tuple[Floats, bool] | None:
    """Return the Cholesky factor of the Gram matrix over unit columns, which it replaces; None where not to trust."""
    size = _largest_sum(gram)
    try:
        factor: tuple[Floats, bool] = cho_factor(gram, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    share, _ = dpocon(factor[0], size)
    return factor if share >= GRAM_RCOND else None


def _largest_sum(upper: Floats) -> float:
    """Return the 1-norm of the symmetric matrix whose upper triangle is given; zero below."""
    size = np.abs(upper)
    return float((size.sum(axis=0) + size.sum(axis=1) - np.diagonal(size)).max())


def _missing(columns: Columns, target: Floats, weights: Floats) -> Floats:
    """Return C^T (y - C w), shape (s,)."""
    total = np.zeros(len(weights))
    for rows, tile in tiles_of(columns):
        total += tile.T @ (target[rows] - tile @ weights)
    return total


def _by_singular_values(columns: Columns, target: Floats, norms: Floats) -> Floats:
    """Return the weights by the singular values of a triangle R, with R^T R = [C y]^T [C y]: those of C itself."""
    s = columns.shape[1]
    waiting = [np.empty((0, s + 1))]
    for rows, tile in tiles_of(columns):
        tall = np.column_stack([tile / norms, target[rows]])
        for start in range(0, len(tall), s):
            # A reduction costs as much for few new rows as for as many as the triangle has.
            if sum(map(len, waiting[1:])) + len(tall[start : start + s]) > s:
                waiting = [_reduced(waiting)]
            waiting.append(tall[start : start + s])
    triangle = _reduced(waiting)
    weights: Floats = lstsq(triangle[:, :s], triangle[:, s], cond=RCOND, lapack_driver="gelsd", check_finite=False)[0]
    return weights / norms


def _reduced(waiting: list[Floats]) -> Floats:
    """Return the triangle of the stacked matrices, which has their singular values; themselves where they are few."""
    stacked = np.concatenate(waiting)
    if len(stacked) <= stacked.shape[1]:
        return stacked
    triangle: Floats = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][: stacked.shape[1]]
    return triangle

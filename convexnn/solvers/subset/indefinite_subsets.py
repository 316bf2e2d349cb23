"""Which small principal submatrices of a matrix are indefinite: the enumeration at the leaves of the exact search."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats

Indices = NDArray[np.intp]

# A pivot below this is in doubt. Above it, the rounding of a complement (1e-15, divided by its pivots) stays below it.
DOUBT = 1e-7

# Caps on the eigenvalues that are tried, each row until it helps no more; the diagonal that has to remain; the power of
# the row sums by which the rows are balanced.
CAPS = ((0.5, 0.3, 0.2, 0.12), (0.8,))
MEAGRE = 1e-3
BALANCE = 0.25

# More pairs than this (for quadruples, a multiple of N) are worth an eigendecomposition to have fewer of them.
WORTH_AT_FOUR, WORTH_BEYOND = 1.0, 20

# Numbers of one batch: a few arrays of this size stay in the cache.
BATCH = 1 << 17


def indefinite_subsets(matrix: Floats, size: int, barred: Bools, pulse: Callable[[], None]) -> Iterator[Indices]:
    """Yield small index sets whose principal submatrix is not positive definite, or in doubt by rounding.

    Parameters
    ----------
    matrix : ndarray (N, N)
        R, symmetric with unit diagonal.
    size : int
        Largest number of indices in a set.
    barred : ndarray (N, N) of bool
        Symmetric; pairs that no set may hold.
    pulse : callable
        Called often; an exception that it raises ends the search.

    Yields
    ------
    ndarray (count, u) of int
        Index sets of size u, 2 to `size`. Every set of at most `size` indices that holds no barred pair and has R_TT
        not positive definite has a subset among those yielded; if nothing is yielded, there is no such set.

    Notes
    -----
    If R_TT is not positive definite, Gershgorin gives a row i in T with sum_{j in T, j != i} |R_ij| >= 1. Let (i, j) be
    its largest entry in T. The t - 1 entries of row i from |R_ij| downwards then sum to at least 1: few pairs (i, j)
    pass, and only their Schur complements, with t - 2 indices to go, need a look. Triples are settled by their
    determinant. Of quadruples, with R_kl and the angles a_k between index k and the pair, those alone can be indefinite
    where |R_kl| >= cos(a_k + a_l), so the larger angle is at least half of arccos max_l |R_kl|.
    """
    pulse()
    if size < 2 or len(matrix) < 2:
        return
    weight = np.abs(matrix)
    weight[barred] = 0.0
    np.fill_diagonal(weight, 0.0)
    pairs = np.argwhere(np.triu(weight >= 1.0 - DOUBT))
    if len(pairs):
        yield pairs
        barred = barred.copy()
        barred[pairs[:, 0], pairs[:, 1]] = barred[pairs[:, 1], pairs[:, 0]] = True
        weight[barred] = 0.0
    if size == 3:
        yield from _triples(matrix, barred, _heavy(weight, 3), pulse)
    elif size > 3:
        heavy = _fewest(matrix, barred, size, _heavy(weight, size))
        if size == 4:
            yield from _quadruples(matrix, barred, weight.max(axis=1), heavy, pulse)
        else:
            yield from _larger(matrix, size, barred, heavy, pulse)


def _heavy(weight: Floats, size: int) -> Indices:
    """Return the pairs, shape (count, 2), of which an indefinite set of at most `size` indices holds one at least."""
    if size == 3:
        return np.argwhere(np.triu(weight >= 0.5 - DOUBT))
    span = min(size - 1, len(weight))
    ranked = -np.sort(-weight, axis=1)
    rows = np.flatnonzero(ranked[:, :span].sum(axis=1) >= 1.0 - DOUBT)
    ranked = ranked[rows]
    sums = np.cumsum(np.pad(ranked, ((0, 0), (1, span))), axis=1)
    counts = (sums[:, span:-1] - sums[:, : -span - 1] >= 1.0 - DOUBT).sum(axis=1)
    level = ranked[np.arange(len(rows)), counts - 1]
    heavy = np.zeros(weight.shape, dtype=bool)
    heavy[rows] = (weight[rows] >= level[:, None]) & (weight[rows] > 0.0)
    return np.argwhere(np.triu(heavy | heavy.T))


def _fewest(matrix: Floats, barred: Bools, size: int, heavy: Indices) -> Indices:
    """Return fewer pairs than `heavy` to the same end, if a capped spectrum gives fewer and they are worth its price.

    R = S + N with S positive semidefinite: where N_TT is positive definite, R_TT is. N is R with its eigenvalues
    capped, which takes away what columns have in common and leaves a diagonal that weighs more against the rest.
    """
    if len(heavy) <= (WORTH_AT_FOUR * len(matrix) if size == 4 else WORTH_BEYOND):
        return heavy
    spectrum = np.linalg.eigh(matrix)
    for caps in CAPS:
        for cap in caps:
            other = _heavy(_capped(matrix, *spectrum, cap, barred, size), size)
            if len(other) >= len(heavy):
                break
            heavy = other
            if len(heavy) <= WORTH_BEYOND:
                return heavy
    return heavy


def _capped(matrix: Floats, sizes: Floats, directions: Floats, cap: float, barred: Bools, size: int) -> Floats:
    """Return the weights of Gershgorin for R with its eigenvalues capped, N: |N_ij| / sqrt(N_ii N_jj) x_j / x_i.

    Any x > 0 is right; a power of the row sums balances the rows. A row whose diagonal is too small to divide by is 1.
    """
    above = sizes > cap
    tall = directions[:, above] * np.sqrt(sizes[above] - cap)
    rest = matrix - tall @ tall.T
    diagonal = np.diag(rest)
    poor = diagonal < MEAGRE
    scale = 1.0 / np.sqrt(np.where(poor, 1.0, diagonal))
    weight = np.abs(rest) * scale * scale[:, None]
    np.fill_diagonal(weight, 0.0)
    share = np.sort(weight, axis=1)[:, 1 - size :].sum(axis=1) ** BALANCE
    share[share == 0.0] = 1.0
    weight *= share / share[:, None]
    weight[poor] = 1.0
    weight[barred] = 0.0
    np.fill_diagonal(weight, 0.0)
    return weight


def _batches(edges: Indices, width: int, pulse: Callable[[], None]) -> Iterator[Indices]:
    step = max(1, BATCH // width)
    for start in range(0, len(edges), step):
        pulse()
        yield edges[start : start + step]


def _open(barred: Bools, edges: Indices) -> Bools:
    """Return which indices may join each edge, shape (edges, N)."""
    first, second = edges.T
    free = ~(barred[first] | barred[second])
    rows = np.arange(len(edges))
    free[rows, first] = free[rows, second] = False
    return free


def _triples(matrix: Floats, barred: Bools, edges: Indices, pulse: Callable[[], None]) -> Iterator[Indices]:
    for batch in _batches(edges, len(matrix), pulse):
        first, second = batch.T
        a, b, c = matrix[first], matrix[second], matrix[first, second][:, None]
        determinants = (1.0 - c * c) * (1.0 - a * a) - np.square(b - c * a)
        edge, third = np.nonzero((determinants <= DOUBT) & _open(barred, batch))
        if len(edge):
            yield np.column_stack([batch[edge], third])


def _quadruples(
    matrix: Floats, barred: Bools, peaks: Floats, edges: Indices, pulse: Callable[[], None]
) -> Iterator[Indices]:
    reach = np.arccos(np.minimum(peaks, 1.0))
    half_angle = np.sin(0.5 * reach) ** 2 - DOUBT
    for batch in _batches(edges, len(matrix), pulse):
        u, v, rest, room = _complements(matrix, batch)
        free = _open(barred, batch)
        doubtful = free & (rest * room[:, None] <= DOUBT)
        if doubtful.any():
            edge, third = np.nonzero(doubtful)
            yield np.column_stack([batch[edge], third])
            free &= ~doubtful
        rest[~free] = 2.0
        heads = np.argwhere(1.0 - rest >= half_angle)
        for part in _batches(heads, len(matrix), pulse):
            row, fourth = _partners(rest, reach, part)
            edge, third = part[row].T
            mixed = matrix[third, fourth] - u[edge, third] * u[edge, fourth] - v[edge, third] * v[edge, fourth]
            minors = rest[edge, third] * rest[edge, fourth] - mixed * mixed
            bad = np.flatnonzero((minors * room[edge] <= DOUBT) & ~barred[third, fourth] & (third != fourth))
            if len(bad):
                yield np.column_stack([batch[edge[bad]], third[bad], fourth[bad]])


def _partners(rest: Floats, reach: Floats, heads: Indices) -> tuple[Indices, Indices]:
    """Return which indices l can make an indefinite quadruple with each (edge, k) of `heads`: rows of heads, and l.

    The angle of l is at most that of k, and at least arccos max |R_kl| less it.
    """
    edge, third = heads.T
    own = rest[edge, third]
    least = np.cos(np.maximum(reach[third] - np.arccos(np.sqrt(own)), 0.0)) ** 2 + DOUBT
    table = rest[edge]
    inside = (table <= least[:, None]) & (table >= own[:, None])
    row, fourth = np.divmod(np.flatnonzero(inside), rest.shape[1])
    return row, fourth


def _complements(matrix: Floats, edges: Indices) -> tuple[Floats, Floats, Floats, Floats]:
    """Return u, v (edges, N), 1 - u^2 - v^2 and 1 - c^2: the complement of pair c is R - u u^T - v v^T."""
    first, second = edges.T
    u, c = matrix[first], matrix[first, second]
    room = 1.0 - c * c
    v = (matrix[second] - c[:, None] * u) / np.sqrt(room)[:, None]
    return u, v, 1.0 - u * u - v * v, room


def _larger(matrix: Floats, size: int, barred: Bools, edges: Indices, pulse: Callable[[], None]) -> Iterator[Indices]:
    barred = barred.copy()
    # Heaviest first: a pair that is done is barred to those that come after, and with it most of their sets.
    for edge in edges[np.argsort(-np.abs(matrix[edges[:, 0], edges[:, 1]]), kind="stable")]:
        pulse()
        pair = edge[None]
        u, v, rest, room = (part[0] for part in _complements(matrix, pair))
        free = _open(barred, pair)[0]
        doubtful = free & (rest * room <= DOUBT)
        if doubtful.any():
            third = np.flatnonzero(doubtful)
            yield np.column_stack([np.repeat(pair, len(third), axis=0), third])
        kept = np.flatnonzero(free & ~doubtful)
        scale = 1.0 / np.sqrt(rest[kept])
        basis = np.stack([u[kept] * scale, v[kept] * scale])
        inner = matrix[np.ix_(kept, kept)] * scale * scale[:, None] - basis.T @ basis
        np.fill_diagonal(inner, 1.0)
        for sets in indefinite_subsets(inner, size - 2, barred[np.ix_(kept, kept)], pulse):
            yield np.column_stack([np.repeat(pair, len(sets), axis=0), kept[sets]])
        barred[edge[0], edge[1]] = barred[edge[1], edge[0]] = True

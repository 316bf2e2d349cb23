"""Hyperplane arrangements: every cell that the hyperplanes {h : x_i . h = 0} cut the space of gates into."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from convexnn.checks import Bools, Floats, as_count

Keys = NDArray[np.uint64]
Meetings = tuple[Keys, NDArray[np.int64]]

# Rounding of float64 data with a margin: unit rows that differ by less are one line, and rows are dependent whose
# smallest singular value is smaller.
PARALLEL = 1e-13
DEPENDENT = 1e-12
# Pairs of an extreme ray and a cell that are held at one time.
TILE_ENTRIES = 1 << 21


def count_patterns(n_rows: int, rank: int) -> int:
    """Return the most activation patterns that gates can cut out of data: 2 sum_{i < rank} C(n_rows - 1, i).

    Parameters
    ----------
    n_rows : int
        Rows of the data that are neither zero nor parallel to one another, at least 1.
    rank : int
        Rank of the data, at least 0; at rank 0 the data are zero and the one pattern is active on every row.

    Notes
    -----
    Cells of an arrangement of hyperplanes through the origin (Cover, 1965). Rows in general position, any `rank` of
    them independent, attain the count; others have fewer.

    Examples
    --------
    >>> count_patterns(30, 4)
    8180
    """
    n, r = as_count(n_rows, "n_rows"), as_count(rank, "rank", at_least=0)
    if r == 0:
        return 1
    total = term = 1
    for i in range(1, min(r, n)):
        term = term * (n - i) // i
        total += term
    return 2 * total


def unit_rows(array: Floats) -> Floats:
    """Return the rows of `array` at unit length; rows of zeros stay."""
    peaks = np.maximum(array.max(axis=1), -array.min(axis=1))[:, None]
    scaled = array / np.where(peaks > 0.0, peaks, 1.0)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    scaled /= np.where(norms > 0.0, norms, 1.0)
    return scaled


def distinct_lines(rows: Floats) -> Floats:
    """Return one unit row of each line that the nonzero `rows` (n, c) span, in order of first appearance, (l, c)."""
    units = unit_rows(rows)[rows.any(axis=1)]
    # Lines that differ have different products with a generic direction, so parallel rows end up side by side.
    products = units @ np.random.default_rng(0).standard_normal(rows.shape[1])
    upright = units * np.where(products < 0.0, -1.0, 1.0)[:, None]
    order = np.argsort(np.abs(products), kind="stable")
    apart = np.abs(np.diff(upright[order], axis=0)).max(axis=1, initial=0.0) > PARALLEL
    groups = np.empty(len(units), dtype=np.int64)
    groups[order] = np.concatenate([[0], np.cumsum(apart)])[: len(units)]
    return units[np.sort(np.unique(groups, return_index=True)[1])]


def row_space(lines: Floats) -> Floats:
    """Return an orthonormal basis (r, c) of the space that unit rows `lines` (l, c) span; r is their rank."""
    _, values, basis = np.linalg.svd(lines, full_matrices=False)
    return basis[values > DEPENDENT * values.max(initial=0.0)]


def enumerate_cells(rows: Floats) -> Floats:
    """Return a gate strictly inside every cell of the arrangement of `rows` (n, c), shape (m, c).

    Cells are the full-dimensional ones: the sign vectors of X h over all h with x_i . h != 0 for every nonzero row.
    Their number is :func:`count_patterns` for rows in general position. Rank 1 has two cells and rank 2 is sorted by
    angle; above, cells are found from their extreme rays, and the gate is the sum of a cell's unit extreme rays, which
    is strictly inside and well so.

    Parameters
    ----------
    rows : ndarray (n, c)
        Rows of about the same size in every column; zero, repeated and parallel rows are allowed.

    Notes
    -----
    An extreme ray of a cell is the null space of r - 1 independent rows. The cells around a ray v have the signs of v
    at rows x_i . v != 0; at the others, the cells of those rows' own arrangement around v, of rank r - 1 (every choice
    of signs when they are independent). So every cell is met once for each of its rays: about 2^(r - 1) C(n, r - 1)
    meetings for 2 C(n, r - 1) cells, without a linear program. A gate comes back only if its own signs are those of its
    cell, so no cell is invented; those thinner than about 1e-9, between rows that are equal but for rounding, may be
    missed.
    """
    lines = distinct_lines(rows)
    basis = row_space(lines)
    if not len(basis):
        return np.eye(1, rows.shape[1])
    return _cells(lines @ basis.T) @ basis


def _cells(lines: Floats) -> Floats:
    """Return a gate in every cell of unit `lines` (l, r) of full rank r >= 1."""
    if lines.shape[1] == 1:
        return np.array([[1.0], [-1.0]])
    if lines.shape[1] == 2:
        return plane_cells(lines[None])[1]
    return _Arrangement(lines).cells()


def plane_cells(planes: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return gates strictly inside every cell of many arrangements in the plane, by sorting angles.

    Parameters
    ----------
    planes : ndarray (p, n, 2)
        Rows of p arrangements; zero and parallel rows are allowed.

    Returns
    -------
    owner : ndarray (m,) of int
        The arrangement each gate belongs to, ascending.
    gates : ndarray (m, 2)
        Unit gates at the middle between neighbouring critical angles; (1, 0) alone where all rows are zero.
    """
    angles = np.mod(np.arctan2(planes[..., 0], -planes[..., 1]), np.pi)  # of the line orthogonal to a row
    angles[~planes.any(axis=2)] = np.nan
    angles.sort(axis=1)  # zero rows last
    sizes = np.isfinite(angles).sum(axis=1)
    following = np.roll(angles, -1, axis=1)
    last = np.maximum(sizes - 1, 0)[:, None]
    np.put_along_axis(following, last, angles[:, :1] + np.pi, axis=1)
    # An angle of pi - rounding and one of 0 are one line too: its cell is the one that ends the turn.
    owner, place = np.nonzero(following - angles > PARALLEL)
    middle = (angles[owner, place] + following[owner, place]) / 2
    empty = np.flatnonzero(sizes == 0)
    turn = np.concatenate([middle, middle + np.pi, np.zeros(len(empty))])
    owner = np.concatenate([owner, owner, empty])
    order = np.argsort(owner, kind="stable")
    return owner[order], np.column_stack([np.cos(turn), np.sin(turn)])[order]


class _Arrangement:
    """Cells of unit lines (l, r) of full rank r >= 3, from their extreme rays.

    A cell is named by the sum of random 64-bit words of its positive lines, so that the names of the cells around a
    ray cost one addition each; of a cell and its antipode the smaller name stands for both. A gate is returned only
    if its own signs have the name of its cell.
    """

    def __init__(self, lines: Floats) -> None:
        self.lines = lines
        self.words = np.random.default_rng(0).integers(2**64 - 1, size=len(lines), dtype=np.uint64, endpoint=True)

    def cells(self) -> Floats:
        """Return a gate in every cell, antipodes in the second half."""
        rays, frames, flat = self._rays()
        names, sums = np.empty(0, dtype=np.uint64), np.empty((0, self.lines.shape[1]))
        for found, ray in self._meetings(rays, frames, flat):
            ahead = self._antipodes(found)
            more = _summed_rays(np.minimum(found, ahead), np.where(found <= ahead, 1.0, -1.0), ray, rays)
            names, place = np.unique(np.concatenate([names, more[0]]), return_inverse=True)
            total = np.zeros((len(names), self.lines.shape[1]))
            total[place[: len(sums)]] = sums
            total[place[len(sums) :]] += more[1]
            sums = total
        gates = unit_rows(sums)
        products = gates @ self.lines.T
        own = self._names(products > 0.0)
        inside = (np.minimum(own, self._antipodes(own)) == names) & (np.abs(products).min(axis=1) > PARALLEL)
        return np.concatenate([gates[inside], -gates[inside]])

    def _names(self, positive: Bools) -> Keys:
        return positive.astype(np.uint64) @ self.words

    def _antipodes(self, names: Keys) -> Keys:
        return self.words.sum(dtype=np.uint64) - names

    def _rays(self) -> tuple[Floats, Floats, Bools]:
        """Return one unit vector of each ray (k, r), bases of their complements (k, r - 1, r), zero lines (k, l)."""
        n_lines, rank = self.lines.shape
        size = comb(n_lines, rank - 1) * (rank - 1)
        subsets = np.fromiter(chain.from_iterable(combinations(range(n_lines), rank - 1)), dtype=np.int64, count=size)
        subsets = subsets.reshape(-1, rank - 1)
        _, values, frames = np.linalg.svd(self.lines[subsets])
        # Best conditioned first, so that of the subsets that share a ray the most exact one stands for it.
        order = np.argsort(-values[:, -1], kind="stable")
        order = order[values[order, -1] > DEPENDENT]
        frames, values = frames[order], values[order]
        flat = self._flat(frames, values)
        np.put_along_axis(flat, subsets[order], True, axis=1)
        first = np.unique(self._names(flat), return_index=True)[1]
        return frames[first, -1], frames[first, :-1], flat[first]

    def _flat(self, frames: Floats, values: Floats) -> Bools:
        """Return which lines are zero at the rays that the subsets' singular vectors end with, up to rounding.

        A line that is a combination of the subset's rows with coefficients c inherits |c| times their rounding.
        """
        coefficients = np.linalg.norm(frames[:, :-1] @ self.lines.T / values[:, :, None], axis=1)
        rounding = 8 * self.lines.shape[1] * np.finfo(np.float64).eps
        return np.abs(frames[:, -1] @ self.lines.T) <= rounding * (1.0 + coefficients)

    def _meetings(self, rays: Floats, frames: Floats, flat: Bools) -> Iterator[Meetings]:
        """Yield the names of the cells around the rays, each with the index of its ray."""
        base = self._names((rays @ self.lines.T > 0.0) & ~flat)
        simple = flat.sum(axis=1) == self.lines.shape[1] - 1
        yield from self._simple(base, flat, np.flatnonzero(simple))
        held, count = list[Meetings](), 0
        for ray in np.flatnonzero(~simple):
            names = base[ray] + self._around(frames[ray], flat[ray])
            held.append((names, np.full(len(names), ray)))
            count += len(names)
            if count > TILE_ENTRIES:
                yield _joined(held)
                held, count = [], 0
        if held:
            yield _joined(held)

    def _simple(self, base: Keys, flat: Bools, chosen: NDArray[np.int64]) -> Iterator[Meetings]:
        """Yield the cells around rays on r - 1 independent lines alone: every choice of signs there is one."""
        size = self.lines.shape[1] - 1
        choices = (np.arange(1 << size)[None, :] >> np.arange(size)[:, None] & 1).astype(np.uint64)
        corners = self.words[np.nonzero(flat[chosen])[1].reshape(-1, size)]
        step = max(1, TILE_ENTRIES >> size)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            names = base[part, None] + corners[start : start + step] @ choices
            yield names.ravel(), np.repeat(part, 1 << size)

    def _around(self, frame: Floats, flat: Bools) -> Keys:
        """Return the names, over the lines that are zero at a ray, of the cells that these lines cut around it."""
        local = self.lines[flat] @ frame.T
        return (_cells(local) @ local.T > 0.0).astype(np.uint64) @ self.words[flat]


def _joined(meetings: list[Meetings]) -> Meetings:
    names, rays = zip(*meetings, strict=True)
    return np.concatenate(names), np.concatenate(rays)


def _summed_rays(names: Keys, sides: Floats, chosen: NDArray[np.int64], rays: Floats) -> tuple[Keys, Floats]:
    """Return the distinct names, ascending, and for each the sum of sides * rays[chosen] over its entries."""
    order = np.argsort(names)
    ascending = names[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    ends = np.append(starts, len(names))
    incidence = csr_array((sides[order], chosen[order], ends), shape=(len(starts), len(rays)))
    return ascending[starts], incidence @ rays

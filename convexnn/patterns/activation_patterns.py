"""Activation patterns: the gates h_j and the masks 1{X h_j >= 0} that they cut out of the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Bools as Bools
from convexnn.checks import (
    Floats,
    as_flag,
    as_generator,
    as_known,
    as_matrix,
    as_moderate,
    as_nonnegative,
    as_rows,
)
from convexnn.checks import Ints as Ints
from convexnn.patterns.arrangements import unit_rows as unit_rows
from convexnn.patterns.gates import DRAWS, Gates, Request, append_ones, draw_gates
from convexnn.patterns.merging import merge_near
from convexnn.records import Record
from convexnn.tiles import row_tiles

# Masks are made for this many (row, gate) pairs at a time, so that memory does not grow with the number of gates.
TILE_ENTRIES = 1 << 20

# Features are left out of products with gates that do not read them where there are so many times those that are read.
SPARE = 4


@dataclass(frozen=True, eq=False, repr=False)
class ActivationPatterns(Record):
    """Distinct activation patterns on the data that they were sampled for.

    Gate j has the pattern D_j = diag(1{X h_j >= 0}). Of gates with equal masks only the first is kept; it owns
    the union of their features, and block j of a program has columns for the features it owns alone. With bias, X
    is followed by a column of ones, which every pattern owns.

    Attributes
    ----------
    generators : ndarray (m, d), with bias (m, d + 1)
        The gates h_j, in the order drawn or given; with bias the last column is the bias.
    features : ndarray of bool, shape of the generators
        ``features[j, i]``: pattern j owns feature i.
    kind : str
        How the gates were made, one of the kinds of :func:`sample_patterns`.
    n_drawn, n_merged, n_dropped, n_linear : int
        Gates drawn; merged into an earlier one with the same mask, or one within ``merge_within``; dropped, since
        active on no row; active on every row (together one linear block).
    bias : bool
        Whether the gates act on X with a column of ones.
    n_possible : int or None
        For enumerated gates, the most patterns that such gates can have on as many rows; else None.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.array([[1.0, -1.0], [-1.0, 2.0], [0.5, 0.5]])
    >>> patterns = cx.sample_patterns(X, generators=[[1.0, 0.0], [2.0, 0.1]])
    >>> len(patterns), patterns.n_merged, patterns.masks(X).tolist()
    (1, 1, [[True], [False], [True]])
    """

    generators: Floats
    features: Bools
    kind: str
    n_drawn: int
    n_merged: int
    n_dropped: int
    n_linear: int
    bias: bool = False
    n_possible: int | None = None

    def __repr__(self) -> str:
        return f"<{self}>"

    def __len__(self) -> int:
        return len(self.generators)

    @property
    def n_columns(self) -> int:
        """d, with bias d + 1: the number of columns that gates and weights have."""
        return int(self.generators.shape[1])

    @property
    def n_features(self) -> int:
        """d, the number of features of the data as they are given."""
        return self.n_columns - self.bias

    def rows(self, X: ArrayLike) -> Floats:
        """Return `X` (n, d) checked, with bias followed by a column of ones: float64 (n, n_columns)."""
        return append_ones(as_rows(X, "X", self.n_features, "patterns have"), self.bias)

    def masks(self, X: ArrayLike) -> Bools:
        """Return the masks 1{X h_j >= 0} of every pattern on `X` (n, d), shape (n, m)."""
        return masks(self.rows(X), self.generators)

    def __str__(self) -> str:
        possible = "" if self.n_possible is None else f" of at most {self.n_possible:,} possible"
        bias = ", with bias" if self.bias else ""
        return (
            f"{len(self):,} activation patterns ({self.kind}{bias}): {self.n_drawn:,} drawn{possible}, "
            f"{self.n_merged:,} merged, {self.n_dropped:,} never active, {self.n_linear:,} always active"
        )


def masks(X: Floats, generators: Floats) -> Bools:
    """Return 1{X h_j >= 0}, shape (n, m), for rows `X` (n, d) and `generators` (m, d), by :func:`decide_active`.

    Features that no gate reads are left out where they are most of them, as in sparse networks.
    """
    d, read = X.shape[1], np.flatnonzero(generators.any(axis=0))
    is_sparse = 0 < SPARE * len(read) <= d
    gates = generators[:, read] if is_sparse else generators
    result = np.empty((len(X), len(generators)), dtype=bool)
    for part in row_tiles(*X.shape):
        rows = unit_rows(X[part].take(read, axis=1) if is_sparse else X[part])
        for tile in gate_tiles(len(rows), len(gates)):
            result[part, tile] = decide_active(np, rows, unit_rows(gates[tile]), d)
    return result


def decide_active(library: Any, rows: Any, gates: Any, n_features: int | None = None) -> Any:
    """Return which products of unit `rows` (n, d) and unit `gates` (m, d) are at least 0 up to rounding, (n, m).

    A matrix product rounds differently with its shape, so a product that is zero in exact arithmetic may come out on
    either side. One that is negative by no more than the rounding error of its own terms, c sum_i |x_i h_i| with
    c = (d + 8) eps, counts as zero and so as active: the boundary is then the same in every batch. `library` is numpy
    or torch, the owner of the float64 arrays. `n_features` is d where features of zeros are left out.
    """
    d = rows.shape[1]
    tolerance = ((d if n_features is None else n_features) + 8) * float(np.finfo(np.float64).eps)
    products = rows @ gates.T
    active = products >= 0.0
    # The terms of unit vectors sum to at most 1, so only these can be within the tolerance: few, on most data.
    near = library.where(~active & (products >= -tolerance))
    for start in range(0, len(near[0]), max(1, TILE_ENTRIES // d)):
        i, j = (index[start : start + max(1, TILE_ENTRIES // d)] for index in near)
        active[i, j] = products[i, j] >= -tolerance * library.abs(rows[i] * gates[j]).sum(1)
    return active


def gate_tiles(n_rows: int, n_gates: int, entries: int = TILE_ENTRIES, multiple: int = 1) -> Iterator[slice]:
    """Yield slices of the gates such that rows x gates in a slice stay below `entries`; starts are multiples."""
    step = max(multiple, entries // max(1, n_rows) // multiple * multiple)
    for start in range(0, n_gates, step):
        yield slice(start, min(start + step, n_gates))


def sample_patterns(
    X: ArrayLike,
    n_patterns: int | None = None,
    *,
    kind: str | None = None,
    order: int | None = None,
    generators: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    patch: int | tuple[int, int] | None = None,
    bias: bool = False,
    merge_within: float = 0.0,
    seed: int | np.random.Generator = 0,
) -> ActivationPatterns:
    """Draw or enumerate gates and keep one for each distinct activation pattern on `X`.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows.
    n_patterns : int, optional
        Gates to draw; fewer patterns may come back, since equal masks merge. Needed for ``gaussian``, ``sparse`` and
        ``convolutional``; for ``single`` at most 2d (default: all 2d); for ``enumerate`` the most patterns that may
        be possible (default 200,000); none for ``given``.
    kind : {"gaussian", "sparse", "single", "enumerate", "convolutional", "given"}, optional
        * ``gaussian``: h ~ N(0, I).
        * ``sparse``: N(0, 1) on `order` random features, zero elsewhere.
        * ``single``: +e_i and -e_i.
        * ``enumerate``: one gate strictly inside each cell of the arrangement of hyperplanes {h : x_i . h = 0}, so
          every pattern that gates with x_i . h != 0 at all nonzero rows can have. With `order`, every pattern of the
          gates of each `order` features.
        * ``convolutional``: a filter N(0, 1) on a random patch of the image, all channels, zero elsewhere.
        * ``given``: the rows of `generators`.

        Default ``gaussian``, or ``given`` where `generators` are.
    order : int, optional
        Features of a ``sparse`` gate, 1 to d (default 2), or of an enumerated one (default: all at once).
    generators : array_like (m, d), with bias (m, d + 1), optional
        The gates of kind ``given``; no row may be zero.
    image_shape : (height, width) or (channels, height, width), optional
        The images that the rows of `X` are, in C order; needed for ``convolutional``.
    patch : int or (height, width), optional
        Size of a convolutional filter in pixels, at most the image (default 3).
    bias : bool, default False
        Append a column of ones to X for the gates. The offset of a random gate puts its hyperplane through a random
        point between two random rows: either side has a row, and shifted data give shifted gates.
        ``single`` gates become +-(e_i, -t) with t the threshold that splits the rows most evenly, and enumerated
        gates of order 1 are every threshold on every feature.
    merge_within : float, default 0.0
        Fraction of the rows, at least 0 and below 1, in which two masks may differ and count as one: in the order
        drawn, a gate joins the first kept one within it. At 0 only equal masks merge.
    seed : int or numpy.random.Generator, default 0
        Source of the draws.

    Returns
    -------
    ActivationPatterns

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range, or more patterns are possible than may be enumerated; the
        message names it.

    Notes
    -----
    Masks use >=, with products that are zero up to rounding active, so a zero vector would be a linear block and is
    never a gate. Masks that occur only where some x_i . h = 0 belong to no cell and are not enumerated: weights u in
    the closure of a cell have the same relu(X u) = D X u by the cell's own D, so no network is lost. Up to
    2 sum_{i < r} C(n - 1, i) patterns are possible at rank r (:func:`convexnn.patterns.arrangements.count_patterns`).
    Sampling instead of enumerating is licensed by Kim and Pilanci (ICML 2024); owning a gate's features alone keeps the
    mapped neurons as sparse as the gate.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, -1.0], [-1.0, 2.0]])
    >>> print(sample_patterns(X, kind="single"))
    2 activation patterns (single): 4 drawn, 2 merged, 0 never active, 0 always active
    >>> print(sample_patterns(X, kind="enumerate"))
    3 activation patterns (enumerate): 4 drawn of at most 4 possible, 0 merged, 1 never active, 1 always active
    """
    rows = as_matrix(X, "X", min_rows=2)
    if kind is None:
        kind = "gaussian" if generators is None else "given"
    chosen, rng = as_known(kind, "kind", DRAWS), as_generator(seed)
    request = Request(n_patterns, order, generators, image_shape, patch, as_flag(bias, "bias"))
    distance = _distance(merge_within, len(rows))
    if request.bias or chosen == "enumerate":
        as_moderate(rows, "X")
    gates = draw_gates(rows, chosen, request, rng)
    return _distinct(append_ones(rows, request.bias), gates, chosen, request.bias, distance)


def _distance(merge_within: float, n_rows: int) -> int:
    fraction = as_nonnegative(merge_within, "merge_within")
    if fraction >= 1.0:
        raise ValueError(f"merge_within is {merge_within}; expected a fraction of the rows, at least 0 and below 1")
    return int(fraction * n_rows + 1e-9)


def _distinct(rows: Floats, gates: Gates, kind: str, bias: bool, distance: int) -> ActivationPatterns:
    """Keep the first gate of each mask on `rows` that is active somewhere, with the union of the features."""
    owner, n_linear = _first_gates(rows, gates.generators)
    live = np.flatnonzero(owner >= 0)
    if not live.size:
        raise ValueError(f"none of the {len(owner)} gates is active on any row of X; draw more, or of another kind")
    kept, place = np.unique(owner[live], return_inverse=True)
    if distance:
        joined = merge_near(_packed_masks(rows, gates.generators[kept]), distance)
        kept, place = np.unique(kept[joined[place]], return_inverse=True)
    counts = {"n_drawn": len(owner), "n_merged": live.size - kept.size, "n_dropped": len(owner) - live.size}
    features = _united(gates.owned[live], place)
    generators = gates.generators if kept.size == len(owner) else gates.generators[kept]
    return ActivationPatterns(
        generators, features, kind, **counts, n_linear=n_linear, bias=bias, n_possible=gates.n_possible
    )


def _united(owned: Bools, groups: Ints) -> Bools:
    """Return the union of the rows `owned` of each group 0, 1, ..., all of which occur."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.logical_or.reduceat(owned[order], starts, axis=0)


def _first_gates(rows: Floats, generators: Floats) -> tuple[Ints, int]:
    """Return for each gate the first one with its mask, -1 where never active, and how many are always active."""
    first: dict[bytes, int] = {}
    owner = np.full(len(generators), -1)
    n_linear = 0
    for start, packed in _packed_tiles(rows, generators):
        active = np.bitwise_count(packed).sum(axis=1)
        n_linear += int((active == len(rows)).sum())
        for gate in np.flatnonzero(active):
            key = blake2b(packed[gate].tobytes(), digest_size=16).digest()
            owner[start + gate] = first.setdefault(key, start + int(gate))
    return owner, n_linear


def _packed_masks(rows: Floats, generators: Floats) -> NDArray[np.uint8]:
    """Return the masks as bits, one gate a row, padded with zeros to whole words of 64, (m, 8 ceil(n / 64))."""
    result = np.zeros((len(generators), 8 * -(-len(rows) // 64)), dtype=np.uint8)
    for start, packed in _packed_tiles(rows, generators):
        result[start : start + len(packed), : packed.shape[1]] = packed
    return result


def _packed_tiles(rows: Floats, generators: Floats) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the first gate of each tile and the masks of the tile as bits, one gate a row."""
    points = unit_rows(rows)
    for gates in gate_tiles(len(rows), len(generators)):
        yield gates.start, np.packbits(decide_active(np, unit_rows(generators[gates]), points), axis=1)

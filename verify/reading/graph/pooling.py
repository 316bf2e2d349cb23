"""Pools, sums and means over groups of entries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from convexnn.checks import Ints
from verify.reading.graph.affine import Affine
from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.piecewise import largest
from verify.reading.graph.values import Shape, Value, mapped, reshaped
from verify.reading.graph.windows import Window, mean_weights, pool_places


def averaged(value: Value, places: Ints, counts: Ints, shape: Shape) -> Value:
    """Return the sums over groups of entries (n, k), -1 for none, each divided by a count (n,)."""
    return mapped(value, Affine(mean_weights(places, counts, value.size), np.zeros(len(places))), shape)


def summed(value: Value, places: Ints, shape: Shape) -> Value:
    """Return the sums over groups of entries (n, k)."""
    return averaged(value, places, np.ones(len(places), dtype=np.int64), shape)


def max_pooled(value: Value, kernel: Shape, window: Window, ceil: bool) -> Value:
    """Return the largest entry of each window of an array (1, channels, ...)."""
    places, _, shape = pool_places(value.shape[1:], kernel, window, ceil)
    if (places.max(axis=1) < 0).any():
        raise ValueError("it has windows without an entry; expected one at least")
    return reshaped(largest(value, places), (1, *shape))


def mean_pooled(
    value: Value, kernel: Shape, window: Window, ceil: bool, with_padding: bool, divisor: int | None
) -> Value:
    """Return the mean of each window of an array (1, channels, ...)."""
    places, known, shape = pool_places(value.shape[1:], kernel, window, ceil)
    counts = known if with_padding else (places >= 0).sum(axis=1)
    counts = np.full(len(places), divisor) if divisor else np.maximum(counts, 1)
    return averaged(value, places, counts, (1, *shape))


def adaptive_places(shape: Shape, sizes: Sequence[int]) -> tuple[Ints, Ints]:
    """Return the places that each cell of a coarse grid covers in an array (channels, ...), -1 for none, and how many.

    Cell i of t covers the entries floor(i s / t) to ceil((i + 1) s / t) - 1 of an axis of s.
    """
    grid = shape[1:]
    spans = [
        [np.arange(cell * size // count, -(-(cell + 1) * size // count)) for cell in range(count)]
        for size, count in zip(grid, sizes, strict=True)
    ]
    most = prod(max(len(span) for span in axis) for axis in spans)
    as_size(shape[0] * prod(sizes) * most, "its map of places", MOST_PLACES)
    rows = np.full((prod(sizes), most), -1)
    for row, cell in zip(rows, product(*spans), strict=True):
        flat = np.ravel_multi_index(np.meshgrid(*cell, indexing="ij"), grid).ravel()
        row[: len(flat)] = flat
    offsets = np.arange(shape[0])[:, None, None] * prod(grid)
    places = np.where(rows >= 0, rows + offsets, -1).reshape(-1, most)
    return places, (places >= 0).sum(axis=1)

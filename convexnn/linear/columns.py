"""The columns of A at a support, in float64, made a tile of rows at a time: an (n, s) matrix that is never held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats, Ints
from convexnn.patterns.activation_patterns import masks
from convexnn.tiles import row_tiles


@dataclass(frozen=True, eq=False)
class SupportColumns:
    """The matrix whose column i is D_j x_f for gate ``gates[i]`` = j and feature ``features[i]`` = f, or 0, (n, s).

    Attributes
    ----------
    rows : ndarray (n, d)
        The data.
    packed : ndarray (n, ceil(g / 8)) of uint8
        The masks of the g gates that occur, as bits.
    place : ndarray (s,) of int
        The position of each column's gate among those.
    features : ndarray (s,) of int
        The feature of each column.
    owned : ndarray (s,) of bool
        Whether the gate owns the feature; the column is zero where it does not.
    """

    rows: Floats
    packed: NDArray[np.uint8]
    place: Ints
    features: Ints
    owned: Bools

    @property
    def shape(self) -> tuple[int, int]:
        """(n, s)."""
        return len(self.rows), len(self.place)

    def part(self, chosen: Bools) -> SupportColumns:
        """Return the matrix of the `chosen` columns (s,) alone."""
        return replace(self, place=self.place[chosen], features=self.features[chosen], owned=self.owned[chosen])

    def tiles(self) -> Iterator[tuple[slice, Floats]]:
        """Yield slices of the rows, in order, and the matrix there, float64, which the caller may overwrite."""
        for rows in row_tiles(*self.shape):
            active = np.unpackbits(self.packed[rows], axis=1).view(bool)
            tile = self.rows[rows].take(self.features, axis=1)
            tile *= active.take(self.place, axis=1)
            yield rows, tile if self.owned.all() else tile * self.owned

    def predict(self, weights: Floats, outputs: Ints, n_outputs: int) -> Floats:
        """Return the outputs (n, k) of weights (s,), column i acting on output ``outputs[i]``."""
        spread, result = np.zeros((len(weights), n_outputs)), np.empty((len(self.rows), n_outputs))
        spread[np.arange(len(weights)), outputs] = weights
        for rows, tile in self.tiles():
            result[rows] = tile @ spread
        return result

    def whole(self) -> Floats:
        """Return the matrix itself, (n, s)."""
        matrix = np.empty(self.shape)
        for rows, tile in self.tiles():
            matrix[rows] = tile
        return matrix


def columns_of(rows: Floats, generators: Floats, owned: Bools, gates: Ints, features: Ints) -> SupportColumns:
    """Return the columns of `gates` (s,) and `features` (s,), given all `generators` and what they own, (m, d)."""
    used, place = np.unique(gates, return_inverse=True)
    packed = np.empty((len(rows), -(-len(used) // 8)), dtype=np.uint8)
    for part in row_tiles(len(rows), len(used)):
        packed[part] = np.packbits(masks(rows[part], generators[used]), axis=1)
    return SupportColumns(rows, packed, place, features, owned[gates, features])

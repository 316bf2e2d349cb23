"""The masks 1{X h_j >= 0} on a torch device, held in the largest form that a memory limit allows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.patterns import decide_active, unit_rows


class Masks(Protocol):
    """Masks of n rows and m gates, read a tile at a time."""

    def tile(self, rows: slice, gates: slice) -> Tensor:
        """Return the masks of those rows and gates, booleans or 0 and 1; ``gates.start`` is a multiple of 8."""

    def columns(self, gates: Tensor) -> Tensor:
        """Return the masks of single gates (g,) on all rows, booleans or 0 and 1, (n, g)."""


class DenseMasks:
    """Masks as they are: numbers in the precision of the products, the fastest form, or booleans, n m bytes."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks

    def tile(self, rows: slice, gates: slice) -> Tensor:
        return self.masks[rows, gates]

    def columns(self, gates: Tensor) -> Tensor:
        return self.masks[:, gates]


class PackedMasks:
    """One bit a mask entry: n m / 8 bytes, unpacked a tile at a time."""

    def __init__(self, packed: Tensor) -> None:
        self.packed = packed
        self.shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)

    def tile(self, rows: slice, gates: slice) -> Tensor:
        bytes_ = self.packed[rows, gates.start // 8 : -(-gates.stop // 8)]
        bits = (bytes_[:, :, None] >> self.shifts) & 1
        return bits.flatten(1)[:, : gates.stop - gates.start].bool()

    def columns(self, gates: Tensor) -> Tensor:
        return ((self.packed[:, gates // 8] >> self.shifts[gates % 8]) & 1).bool()


class RecomputedMasks:
    """Nothing held: each tile is computed from X and the generators when it is read."""

    def __init__(self, X: Floats, generators: Floats, device: torch.device) -> None:
        self.rows, self.gates = (torch.as_tensor(unit_rows(array), device=device) for array in (X, generators))

    def tile(self, rows: slice, gates: slice) -> Tensor:
        return decide_active(torch, self.rows[rows], self.gates[gates])

    def columns(self, gates: Tensor) -> Tensor:
        return decide_active(torch, self.rows, self.gates[gates])


def hold_masks(
    X: Floats,
    generators: Floats,
    memory_limit: int,
    device: torch.device,
    tiles: list[tuple[slice, slice]],
    dtype: torch.dtype,
) -> Masks:
    """Return the masks of `X` (n, d) and `generators` (m, d) in the fastest form within `memory_limit` bytes.

    Float64 decides the sign in every form and precision, by :func:`convexnn.patterns.decide_active`.
    """
    recomputed = RecomputedMasks(X, generators, device)
    n, m = len(X), len(generators)
    if n * m <= memory_limit:
        # Numbers spare the products a conversion: a quarter of an iteration on two cores.
        kind = dtype if n * m * dtype.itemsize <= memory_limit else torch.bool
        dense = torch.empty((n, m), dtype=kind, device=device)
        for rows, gates in tiles:
            dense[rows, gates] = recomputed.tile(rows, gates)
        return DenseMasks(dense)
    if n * -(-m // 8) <= memory_limit:
        packed = torch.empty((n, -(-m // 8)), dtype=torch.uint8, device=device)
        for rows, gates in tiles:
            packed[rows, gates.start // 8 : -(-gates.stop // 8)] = _pack(recomputed.tile(rows, gates))
        return PackedMasks(packed)
    return recomputed


def _pack(bits: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[1] % 8))
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (padded.reshape(len(bits), -1, 8) << shifts).sum(dim=2, dtype=torch.uint8)

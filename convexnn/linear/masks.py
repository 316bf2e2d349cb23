"""The masks 1{X h_j >= 0} on a torch device, held in the largest form that a memory limit allows."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.patterns.activation_patterns import decide_active, unit_rows
from convexnn.tiles import mask_bits


class Masks(Protocol):
    """Masks of n rows and m gates, read a tile at a time."""

    @property
    def is_stored(self) -> bool:
        """Whether columns are there as they are, so that to ask for one twice is no work."""

    def tile(self, rows: slice, gates: slice) -> Tensor:
        """Return the masks of those rows and gates, booleans or 0 and 1; ``gates.start`` is a multiple of 8."""

    def columns(self, gates: Tensor, rows: slice) -> Tensor:
        """Return the masks of single gates (g,) on those rows, booleans or 0 and 1, (r, g)."""


class DenseMasks:
    """Masks as they are: numbers in the precision of the products, the fastest form, or booleans, n m bytes."""

    is_stored = True

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks

    def tile(self, rows: slice, gates: slice) -> Tensor:
        return self.masks[rows, gates]

    def columns(self, gates: Tensor, rows: slice) -> Tensor:
        return self.masks[rows].index_select(1, gates)


class PackedMasks:
    """One bit a mask entry: n m / 8 bytes, unpacked a tile at a time.

    A table of the 256 bytes turns each into its 8 booleans at once, in half the time of shifts.
    """

    is_stored = False

    def __init__(self, packed: Tensor) -> None:
        self.packed = packed
        self.shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
        bits = (torch.arange(256, dtype=torch.uint8, device=packed.device)[:, None] >> self.shifts) & 1
        self.octets = bits.view(torch.int64).flatten()

    def tile(self, rows: slice, gates: slice) -> Tensor:
        bytes_ = self.packed[rows, gates.start // 8 : -(-gates.stop // 8)]
        bits = self.octets.index_select(0, bytes_.flatten().int()).view(torch.bool)
        return bits.view(len(bytes_), -1)[:, : gates.stop - gates.start]

    def columns(self, gates: Tensor, rows: slice) -> Tensor:
        return ((self.packed[rows].index_select(1, gates // 8) >> self.shifts[gates % 8]) & 1).bool()


class RecomputedMasks:
    """Nothing held: each tile is computed from X and the generators when it is read."""

    is_stored = False

    def __init__(self, X: Floats, generators: Floats, device: torch.device) -> None:
        self.rows, self.gates = (torch.as_tensor(unit_rows(array), device=device) for array in (X, generators))

    def tile(self, rows: slice, gates: slice) -> Tensor:
        return decide_active(torch, self.rows[rows], self.gates[gates])

    def columns(self, gates: Tensor, rows: slice) -> Tensor:
        return decide_active(torch, self.rows[rows], self.gates[gates])


def hold_masks(
    X: Floats,
    generators: Floats,
    memory_limit: int,
    device: torch.device,
    tiles: list[tuple[slice, slice]],
    dtype: torch.dtype,
) -> Masks:
    """Return the masks of `X` (n, d) and `generators` (m, d) in the form of :func:`convexnn.tiles.mask_bits`.

    Float64 decides the sign in every form and precision, by
    :func:`convexnn.patterns.activation_patterns.decide_active`.
    """
    n, m = len(X), len(generators)
    bits = mask_bits(n, m, memory_limit, 8 * dtype.itemsize, spacious=device.type != "cpu")
    if bits >= 8:
        dense = torch.empty((n, m), dtype=torch.bool if bits == 8 else dtype, device=device)
        for rows, gates in tiles:
            dense[rows, gates] = _decided(X[rows], generators[gates], device)
        return DenseMasks(dense)
    if bits == 1:
        packed = torch.empty((n, -(-m // 8)), dtype=torch.uint8, device=device)
        for rows, gates in tiles:
            packed[rows, gates.start // 8 : -(-gates.stop // 8)] = _pack(_decided(X[rows], generators[gates], device))
        return PackedMasks(packed)
    return RecomputedMasks(X, generators, device)


def _decided(X: Floats, generators: Floats, device: torch.device) -> Tensor:
    """Return the masks of a tile; unit rows and gates are made for it alone, for none of either is kept."""
    rows, gates = (torch.as_tensor(unit_rows(array), device=device) for array in (X, generators))
    return cast(Tensor, decide_active(torch, rows, gates))


def _pack(bits: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[1] % 8))
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (padded.reshape(len(bits), -1, 8) << shifts).sum(dim=2, dtype=torch.uint8)

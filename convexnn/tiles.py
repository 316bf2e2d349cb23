"""Tiles: how large a piece of a matrix is made at a time, and in which form masks are held."""

from __future__ import annotations

from collections.abc import Iterator

# Rows x gates of one tile: 2^19 entries (2 MiB in float32) stay in cache and keep the products large.
TILE_ROWS = 1024
TILE_ENTRIES = 1 << 19

# Entries of a gradient that are held at one time, several times 512 KiB in float32.
STREAM_ENTRIES = 1 << 17

# Tiles shrink with the memory limit, but not below this: 2^12 entries are small products already.
LEAST_ENTRIES = 1 << 12

# Bytes up to which masks on a CPU are held as numbers or bytes: products on bits take a tenth longer or less.
SPACIOUS = 3 << 23

# Numbers of products a row that take as long as a number that is gathered, with the use that is made of it after.
CHEAP = 8


def row_tiles(n_rows: int, n_columns: int, entries: int = TILE_ENTRIES) -> Iterator[slice]:
    """Yield slices of the rows such that a slice of a matrix with that many columns has at most `entries`, or a row."""
    step = max(1, entries // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def product_tiles(n_rows: int, gates: slice, entries: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the rows and of those gates with about `entries` pairs; gates start at multiples of 8."""
    height = min(n_rows, TILE_ROWS, max(64, entries // 64))
    width = max(8, entries // height // 8 * 8)
    for row in range(0, n_rows, height):
        for gate in range(gates.start, gates.stop, width):
            yield slice(row, min(row + height, n_rows)), slice(gate, min(gate + width, gates.stop))


def tile_entries(memory_limit: int) -> int:
    """Return the entries of a tile for a limit in bytes: some 32 bytes each, half of the limit, are held at a time."""
    return max(min(LEAST_ENTRIES, TILE_ENTRIES), min(TILE_ENTRIES, memory_limit // 64))


def is_multiplied_out(n_products: int, n_weights: int) -> bool:
    """Whether so many products a row, over whole gates, are less work than the columns of so many weights."""
    return n_products <= CHEAP * n_weights


def mask_bits(n_rows: int, n_gates: int, memory_limit: int, number: int, spacious: bool = False) -> int:
    """Return the bits to hold a mask entry in: those of a `number`, 8, 1, or 0 where masks are recomputed.

    Numbers spare the products a conversion, a quarter of an iteration on two cores; they and bytes are for masks of at
    most 24 MiB, so that memory does not grow with the gates, or up to the `memory_limit` where it is `spacious`.
    """
    room = memory_limit if spacious else min(memory_limit, SPACIOUS)
    if n_rows * n_gates <= room:
        return number if n_rows * n_gates * number <= 8 * room else 8
    return 1 if n_rows * -(-n_gates // 8) <= memory_limit else 0


def mask_bytes(n_rows: int, n_gates: int, bits: int) -> int:
    """Return the bytes of masks held in so many bits an entry."""
    return n_rows * -(-n_gates * bits // 8)

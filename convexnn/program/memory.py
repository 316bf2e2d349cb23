"""Memory: the bytes that hard thresholding will hold on a program, known before it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from convexnn.checks import as_count, as_known
from convexnn.program.convex_program import ConvexProgram, as_program
from convexnn.records import Record
from convexnn.tiles import STREAM_ENTRIES, TILE_ENTRIES, is_multiplied_out, mask_bits, mask_bytes

ITEMS = {"float32": 4, "float64": 8}

# (n, s) arrays at one time: those of the best iterate, of the present one, and of the next; or that of a fit alone.
ITERATES, FITTED = 3, 1

# Bytes for an entry of a tile in a product: its mask, and where that is recomputed in float64, a product more.
MASK_BYTES, RECOMPUTED_BYTES = 4, 20

# Entries of a tile, from the largest to the smallest, as powers of 2: 2^12 entries are small products already.
POWERS = range(19, 11, -1)

# Bytes for a chosen entry of a gradient, with its sizes, indices and the pairs that the selection sorts.
GRADIENT_BYTES = 64


@dataclass(frozen=True)
class Memory(Record):
    """Bytes that a run holds at most, by what they are for.

    Attributes
    ----------
    data : int
        The program's copy of X, with bias as rows with a column of ones too, X in the precision of the products, the
        targets and predictions.
    gates : int
        Generators, the features that they own, column norms: (m, d).
    masks : int
        In the largest form that fits; 0 where they are recomputed.
    columns : int
        The (n, s) columns of a support of s weights: three times, or once where products go over whole gates.
    work : int
        Tiles of a product, of a gradient, and the fit on a support, whichever is largest.
    entries : int
        Rows x gates of a tile (not bytes).

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((1000, 20))
    >>> memory = cx.memory_estimate(cx.ConvexProgram(X, X[:, 0], cx.sample_patterns(X, 50, seed=0), budget=40))
    >>> memory.total == memory.data + memory.gates + memory.masks + memory.columns + memory.work
    True
    """

    _told = ("total",)

    data: int
    gates: int
    masks: int
    columns: int
    work: int
    entries: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.data + self.gates + self.masks + self.columns + self.work

    def __str__(self) -> str:
        parts = ("data", "gates", "masks", "columns", "work")
        shares = ", ".join(f"{part} {getattr(self, part) / 1e6:.3g}" for part in parts)
        return f"{self.total / 1e6:.3g} MB: {shares}"


def memory_estimate(
    program: ConvexProgram, *, dtype: str = "float32", memory_limit: int = 1 << 30, device: str = "cpu"
) -> Memory:
    """Return the bytes that hard thresholding (``niht``) holds at most on a program with a budget, before it runs.

    Parameters
    ----------
    program : ConvexProgram
        With a budget s, n rows, d features and m gates.
    dtype : {"float32", "float64"}, default "float32"
        Precision of the products.
    memory_limit : int, default 2^30
        Bytes for the run. Tiles shrink until masks fit as bits; where they do not, they are recomputed. What is left
        over goes to larger forms of them.
    device : str, default "cpu"
        As the solver has it: other devices hold the masks as numbers wherever the limit allows.

    Returns
    -------
    Memory

    Raises
    ------
    TypeError
        The program has a penalty.
    ValueError
        What cannot be recomputed or tiled is above `memory_limit`; the message says what is needed.

    Notes
    -----
    3 n s numbers for the columns of a support (n s where there are at most 8 s columns in all: there the fit alone
    makes them), (n + m) d for data, gates and norms, 3 s^2 for the fit, a bit for each of the n m mask entries where
    they fit: no array of n m numbers. An upper bound, of numbers and bytes in arrays: the libraries' own pages, some
    20 MB, and what the sampling of the patterns held come on top.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((1000, 20))
    >>> program = cx.ConvexProgram(X, X[:, 0], cx.sample_patterns(X, 50), budget=40)
    >>> memory = cx.memory_estimate(program)
    >>> memory.masks, memory.columns
    (200000, 480000)
    """
    as_program(program)
    if program.budget is None:
        raise TypeError("program has a penalty; expected a program with a budget for an estimate of memory")
    number = 8 * ITEMS[as_known(dtype, "dtype", ITEMS)]
    limit = as_count(memory_limit, "memory_limit", at_least=0)
    plans = [_estimate(program, number // 8, 1 << power, bits) for bits in (1, 0) for power in POWERS]
    fitting = next((plan for plan in plans if plan.total <= limit), None)
    if fitting is None:
        least = min(plans, key=lambda plan: plan.total)
        raise ValueError(f"memory_limit is {limit}; expected at least {least.total} bytes for this program ({least})")
    n, m, room = len(program.X), len(program.patterns), limit - fitting.total + fitting.masks
    if not fitting.masks:
        return fitting
    bits = mask_bits(n, m, room, number, spacious=not device.startswith("cpu"))
    return replace(fitting, masks=mask_bytes(n, m, bits))


def _estimate(program: ConvexProgram, item: int, entries: int, bits: int) -> Memory:
    """Return the account of a run with numbers of `item` bytes and masks held in `bits` an entry, 0 for recomputed."""
    assert program.budget is not None
    (n, d), (m, width), k = program.X.shape, program.patterns.generators.shape, program.n_outputs
    data = 8 * n * d + (16 * n * width if program.patterns.bias else 0) + item * n * width + n * k * (16 + 4 * item)
    gates = m * width * (10 + item) + (0 if bits else 8 * (m + n) * width)
    products = ((MASK_BYTES if bits else RECOMPUTED_BYTES) + 3 * item * k) * min(n * m, entries)
    gradient = GRADIENT_BYTES * min(
        m * width * k, max(min(STREAM_ENTRIES, entries), 8 * width * k) + 2 * program.budget
    )
    set_up = 8 * n * width + 2 * item * m * width
    work = max(products, gradient, set_up, fit_bytes(program, program.budget))
    arrays = FITTED if is_multiplied_out(m * k * width, program.budget) else ITERATES
    return Memory(data, gates, mask_bytes(n, m, bits), arrays * item * n * program.budget, work, entries)


def fit_bytes(program: ConvexProgram, s: int) -> int:
    """Return the bytes of the fit on a support: three triangles with as many rows below, and tiles; else (n, s)."""
    n = len(program.X)
    masks = n * -(-min(s, len(program.patterns)) // 8)
    if program.loss.name != "squared":
        return masks + 8 * n * (s + 4 * program.n_outputs)
    tile = min(n * s, max(s, TILE_ENTRIES))
    return masks + 24 * (s + 1) * min(n, 2 * s + 1) + 16 * tile

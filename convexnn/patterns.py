"""Activation patterns: the gates h_j and the masks 1{X h_j >= 0} that they cut out of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_generator, as_known, as_matrix, as_rows

Bools = NDArray[np.bool_]

# Masks are made for this many (row, gate) pairs at a time, so that memory does not grow with the number of gates.
TILE_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class ActivationPatterns:
    """Distinct activation patterns on the data that they were sampled for.

    Gate j has the pattern D_j = diag(1{X h_j >= 0}). Of gates with equal masks only the first is kept; it owns
    the union of their features, and block j of a program has columns for the features it owns alone.

    Attributes
    ----------
    generators : ndarray (m, d)
        The gates h_j, in the order drawn or given.
    features : ndarray (m, d) of bool
        ``features[j, i]``: pattern j owns feature i.
    kind : str
        How the gates were made: ``gaussian``, ``sparse``, ``single`` or ``given``.
    n_drawn, n_merged, n_dropped, n_linear : int
        Gates drawn; merged into an earlier one with the same mask; dropped, since active on no row; active on
        every row (together one linear block).
    """

    generators: Floats
    features: Bools
    kind: str
    n_drawn: int
    n_merged: int
    n_dropped: int
    n_linear: int

    def __repr__(self) -> str:
        return f"<{self}>"

    def __len__(self) -> int:
        return len(self.generators)

    @property
    def n_features(self) -> int:
        """d, the number of features."""
        return int(self.generators.shape[1])

    def masks(self, X: ArrayLike) -> Bools:
        """Return the masks 1{X h_j >= 0} of every pattern on `X` (n, d), shape (n, m)."""
        return masks(as_rows(X, "X", self.n_features, "patterns have"), self.generators)

    def __str__(self) -> str:
        return (
            f"{len(self)} activation patterns ({self.kind}): {self.n_drawn} drawn, {self.n_merged} merged, "
            f"{self.n_dropped} never active, {self.n_linear} always active"
        )


def masks(X: Floats, generators: Floats) -> Bools:
    """Return 1{X h_j >= 0}, shape (n, m), for rows `X` (n, d) and `generators` (m, d), by :func:`decide_active`."""
    result = np.empty((len(X), len(generators)), dtype=bool)
    rows, gates = unit_rows(X), unit_rows(generators)
    for tile in gate_tiles(len(X), len(generators)):
        result[:, tile] = decide_active(np, rows, gates[tile])
    return result


def unit_rows(array: Floats) -> Floats:
    """Return the rows of `array` at unit length; rows of zeros stay."""
    peaks = np.abs(array).max(axis=1, keepdims=True)
    scaled = array / np.where(peaks > 0.0, peaks, 1.0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(norms > 0.0, norms, 1.0)


def decide_active(library: Any, rows: Any, gates: Any) -> Any:
    """Return which products of unit `rows` (n, d) and unit `gates` (m, d) are at least 0 up to rounding, (n, m).

    A matrix product rounds differently with its shape, so a product that is zero in exact arithmetic may come out on
    either side. One that is negative by no more than the rounding error of its own terms, c sum_i |x_i h_i| with
    c = (d + 8) eps, counts as zero and so as active: the boundary is then the same in every batch. `library` is numpy
    or torch, the owner of the float64 arrays.
    """
    d = rows.shape[1]
    tolerance = (d + 8) * float(np.finfo(np.float64).eps)
    products = rows @ gates.T
    active = products >= 0.0
    # The terms of unit vectors sum to at most 1, so only these can be within the tolerance: few, on most data.
    near = library.where(~active & (products >= -tolerance))
    for start in range(0, len(near[0]), max(1, TILE_ENTRIES // d)):
        i, j = (index[start : start + max(1, TILE_ENTRIES // d)] for index in near)
        active[i, j] = products[i, j] >= -tolerance * library.abs(rows[i] * gates[j]).sum(1)
    return active


def gate_tiles(n_rows: int, n_gates: int, entries: int = TILE_ENTRIES) -> Iterator[slice]:
    """Yield slices of the gates such that rows x gates in a slice stay below `entries`."""
    step = max(1, entries // max(1, n_rows))
    for start in range(0, n_gates, step):
        yield slice(start, min(start + step, n_gates))


def sample_patterns(
    X: ArrayLike,
    n_patterns: int | None = None,
    *,
    kind: str | None = None,
    order: int | None = None,
    generators: ArrayLike | None = None,
    seed: int | np.random.Generator = 0,
) -> ActivationPatterns:
    """Draw gates and keep one for each distinct activation pattern on `X`.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows.
    n_patterns : int, optional
        Gates to draw; fewer patterns may come back, since equal masks merge. Needed for ``gaussian`` and
        ``sparse``; for ``single`` at most 2d (default: all 2d); none for ``given``.
    kind : {"gaussian", "sparse", "single", "given"}, optional
        ``gaussian``: h ~ N(0, I). ``sparse``: N(0, 1) on `order` random features, zero elsewhere.
        ``single``: +e_i and -e_i. ``given``: the rows of `generators`. Default ``gaussian``, or ``given`` where
        `generators` are.
    order : int, optional
        Features of a ``sparse`` gate, 1 to d (default 2); none for other kinds.
    generators : array_like (m, d), optional
        The gates of kind ``given``; no row may be zero.
    seed : int or numpy.random.Generator, default 0
        Source of the draws.

    Returns
    -------
    ActivationPatterns

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    Masks use >=, with products that are zero up to rounding active, so a zero vector would be a linear block and is
    never a gate. Sampling instead of enumerating the patterns is licensed by Kim and Pilanci (ICML 2024); owning a
    gate's features alone keeps the mapped neurons as sparse as the gate.

    Examples
    --------
    >>> import numpy as np
    >>> print(sample_patterns(np.array([[1.0, -1.0], [-1.0, 2.0]]), kind="single"))
    2 activation patterns (single): 4 drawn, 2 merged, 0 never active, 0 always active
    """
    rows = as_matrix(X, "X", min_rows=2)
    if kind is None:
        kind = "gaussian" if generators is None else "given"
    chosen, rng = as_known(kind, "kind", [*_DRAWS, "given"]), as_generator(seed)
    _check_use("generators", generators, chosen, "given")
    _check_use("order", order, chosen, "sparse")
    if chosen == "given":
        _check_use("n_patterns", n_patterns, chosen, "gaussian, sparse or single")
        drawn = _given(generators, rows.shape[1])
    else:
        drawn = _DRAWS[chosen](rows, n_patterns, order, rng)
    return _distinct(rows, drawn, chosen)


def _check_use(name: str, value: object, chosen: str, belongs: str) -> None:
    if value is not None and chosen != belongs:
        raise ValueError(f"{name} is given and kind is {chosen!r}; expected it with kind {belongs} alone")


def _gaussian(X: Floats, n_patterns: int | None, order: int | None, rng: np.random.Generator) -> Floats:
    return rng.standard_normal((as_count(n_patterns, "n_patterns"), X.shape[1]))


def _sparse(X: Floats, n_patterns: int | None, order: int | None, rng: np.random.Generator) -> Floats:
    count, size, d = as_count(n_patterns, "n_patterns"), as_count(2 if order is None else order, "order"), X.shape[1]
    if size > d:
        raise ValueError(f"order is {size}; expected at most the number of features, {d}")
    drawn = np.zeros((count, d))
    chosen = np.stack([rng.choice(d, size, replace=False) for _ in range(count)])
    np.put_along_axis(drawn, chosen, rng.standard_normal((count, size)), axis=1)
    return drawn


def _single(X: Floats, n_patterns: int | None, order: int | None, rng: np.random.Generator) -> Floats:
    d = X.shape[1]
    every = np.concatenate([np.eye(d), -np.eye(d)])
    if n_patterns is None:
        return every
    count = as_count(n_patterns, "n_patterns")
    if count > 2 * d:
        raise ValueError(f"n_patterns is {count}; there are {2 * d} single-feature gates on {d} features")
    return every[np.sort(rng.choice(2 * d, count, replace=False))]


_DRAWS: dict[str, Callable[[Floats, int | None, int | None, np.random.Generator], Floats]] = {
    "gaussian": _gaussian,
    "sparse": _sparse,
    "single": _single,
}


def _given(generators: ArrayLike | None, d: int) -> Floats:
    if generators is None:
        raise ValueError("kind is 'given' without generators; expected generators of shape (m, d)")
    drawn = as_matrix(generators, "generators")
    if drawn.shape[1] != d:
        raise ValueError(f"generators has {drawn.shape[1]} columns; expected {d}, as X has")
    zero = np.flatnonzero(~drawn.any(axis=1))
    if zero.size:
        raise ValueError(f"generators row {zero[0]} is zero; a gate needs at least one nonzero entry")
    return drawn


def _distinct(X: Floats, drawn: Floats, kind: str) -> ActivationPatterns:
    """Keep the first gate of each mask on `X` that is active somewhere, with the union of the features."""
    first: dict[bytes, int] = {}
    owner = np.full(len(drawn), -1)
    n_linear = 0
    for gate, (key, active) in enumerate(_mask_keys(X, drawn)):
        n_linear += active == len(X)
        if active:
            owner[gate] = first.setdefault(key, gate)
    kept = np.fromiter(first.values(), dtype=int, count=len(first))
    if not kept.size:
        raise ValueError(f"none of the {len(drawn)} gates is active on any row of X; draw more, or of another kind")
    features = np.zeros(drawn.shape, dtype=bool)
    live = owner >= 0
    np.logical_or.at(features, owner[live], drawn[live] != 0.0)
    n_dropped = int((~live).sum())
    n_merged = len(drawn) - n_dropped - kept.size
    return ActivationPatterns(drawn[kept], features[kept], kind, len(drawn), n_merged, n_dropped, n_linear)


def _mask_keys(X: Floats, drawn: Floats) -> Iterator[tuple[bytes, int]]:
    """Yield a digest of each gate's packed mask and its number of active rows."""
    for gates in gate_tiles(len(X), len(drawn)):
        tile = masks(X, drawn[gates]).T
        for packed, active in zip(np.packbits(tile, axis=1), tile.sum(axis=1), strict=True):
            yield blake2b(packed.tobytes(), digest_size=16).digest(), int(active)

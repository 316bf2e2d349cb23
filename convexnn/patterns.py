"""Activation patterns: the gates h_j and the masks 1{X h_j >= 0} that they cut out of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_known, as_matrix

Bools = NDArray[np.bool_]

# Masks are made for this many (row, gate) pairs at a time, so that memory does not grow with the number of gates.
TILE_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
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

    def __len__(self) -> int:
        return len(self.generators)

    @property
    def n_features(self) -> int:
        """d, the number of features."""
        return int(self.generators.shape[1])

    def masks(self, X: ArrayLike) -> Bools:
        """Return the masks 1{X h_j >= 0} of every pattern on `X` (n, d), shape (n, m)."""
        rows = as_matrix(X, "X")
        if rows.shape[1] != self.n_features:
            raise ValueError(f"X has {rows.shape[1]} features; expected {self.n_features}, as in the patterns")
        return masks(rows, self.generators)

    def __str__(self) -> str:
        return (
            f"{len(self)} activation patterns ({self.kind}): {self.n_drawn} drawn, {self.n_merged} merged, "
            f"{self.n_dropped} never active, {self.n_linear} always active"
        )


def masks(X: Floats, generators: Floats) -> Bools:
    """Return 1{X h_j >= 0}, shape (n, m), for rows `X` (n, d) and `generators` (m, d)."""
    result = np.empty((len(X), len(generators)), dtype=bool)
    for gates in gate_tiles(len(X), len(generators)):
        np.greater_equal(X @ generators[gates].T, 0.0, out=result[:, gates])
    return result


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
    order: int = 2,
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
        ``sparse``; for ``single`` at most 2d (default: all 2d); not used for ``given``.
    kind : {"gaussian", "sparse", "single", "given"}, optional
        ``gaussian``: h ~ N(0, I). ``sparse``: N(0, 1) on `order` random features, zero elsewhere.
        ``single``: +e_i and -e_i. ``given``: the rows of `generators`. Default ``gaussian``, or ``given`` where
        `generators` are.
    order : int, default 2
        Features of a ``sparse`` gate, 1 to d.
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
    Masks use >=, so a zero vector would be a linear block and is never a gate. Sampling instead of enumerating
    the patterns is licensed by Kim and Pilanci (ICML 2024); owning a gate's features alone keeps the mapped
    neurons as sparse as the gate.

    Examples
    --------
    >>> import numpy as np
    >>> print(sample_patterns(np.array([[1.0, -1.0], [-1.0, 2.0]]), kind="single"))
    2 activation patterns (single): 4 drawn, 2 merged, 0 never active, 0 always active
    """
    rows = as_matrix(X, "X", min_rows=2)
    chosen = as_known(kind or ("gaussian" if generators is None else "given"), "kind", [*_DRAWS, "given"])
    if chosen == "given":
        drawn = _given(generators, rows.shape[1])
    elif generators is not None:
        raise ValueError(f"generators are given and kind is {chosen!r}; expected kind 'given' with generators")
    else:
        drawn = _DRAWS[chosen](rows.shape[1], n_patterns, order, np.random.default_rng(seed))
    return _distinct(rows, drawn, chosen)


def _gaussian(d: int, n_patterns: int | None, order: int, rng: np.random.Generator) -> Floats:
    return rng.standard_normal((as_count(n_patterns, "n_patterns"), d))


def _sparse(d: int, n_patterns: int | None, order: int, rng: np.random.Generator) -> Floats:
    count, size = as_count(n_patterns, "n_patterns"), as_count(order, "order")
    if size > d:
        raise ValueError(f"order is {size}; expected at most the number of features, {d}")
    drawn = np.zeros((count, d))
    chosen = np.stack([rng.choice(d, size, replace=False) for _ in range(count)])
    np.put_along_axis(drawn, chosen, rng.standard_normal((count, size)), axis=1)
    return drawn


def _single(d: int, n_patterns: int | None, order: int, rng: np.random.Generator) -> Floats:
    every = np.concatenate([np.eye(d), -np.eye(d)])
    if n_patterns is None:
        return every
    count = as_count(n_patterns, "n_patterns")
    if count > 2 * d:
        raise ValueError(f"n_patterns is {count}; there are {2 * d} single-feature gates on {d} features")
    return every[np.sort(rng.choice(2 * d, count, replace=False))]


_DRAWS: dict[str, Callable[[int, int | None, int, np.random.Generator], Floats]] = {
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

"""Gates: the vectors h_j that cut the data into activation patterns, one way of making them a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, log10, prod

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Bools, Floats, Ints, as_count, as_matrix
from convexnn.patterns.arrangements import count_patterns, distinct_lines, enumerate_cells, plane_cells, row_space

# Gates that are enumerated where the caller sets no limit.
ENUMERATION_LIMIT = 200_000
# Numbers of gates that are drawn at one time: 8 GiB.
MOST_NUMBERS = 1 << 30
# Numbers held at one time for choices and angles.
TILE_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Request:
    """What :func:`convexnn.sample_patterns` was asked for; None where the caller said nothing."""

    n_patterns: int | None
    order: int | None
    generators: ArrayLike | None
    image_shape: tuple[int, ...] | None
    patch: int | tuple[int, int] | None
    bias: bool


@dataclass(frozen=True, eq=False)
class Gates:
    """Gates (m, d), with bias (m, d + 1), the columns that each owns, and how many patterns such gates can have."""

    generators: Floats
    owned: Bools
    n_possible: int | None = None


# The kinds that each option belongs to.
OPTIONS = {
    "n_patterns": ("gaussian", "sparse", "single", "enumerate", "convolutional"),
    "order": ("sparse", "enumerate"),
    "generators": ("given",),
    "image_shape": ("convolutional",),
    "patch": ("convolutional",),
}


def draw_gates(X: Floats, kind: str, request: Request, rng: np.random.Generator) -> Gates:
    """Return the gates of a known `kind` for rows `X` (n, d); an option of another kind is a ValueError."""
    for name, kinds in OPTIONS.items():
        if getattr(request, name) is not None and kind not in kinds:
            names = " or ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))
            raise ValueError(f"{name} is given and kind is {kind!r}; expected it with kind {names} alone")
    return DRAWS[kind](X, request, rng)


def append_ones(X: Floats, bias: bool) -> Floats:
    """Return the rows that gates act on: `X` (n, d), with bias followed by a column of ones (n, d + 1)."""
    return np.column_stack([X, np.ones(len(X))]) if bias else X


def _drawn(request: Request, n_features: int) -> int:
    """Return how many gates are drawn, all of which are held before equal ones merge."""
    count = as_count(request.n_patterns, "n_patterns")
    if count * n_features > MOST_NUMBERS:
        raise ValueError(
            f"n_patterns is {count}, gates of {8 * count * n_features:,} bytes; expected at most "
            f"{8 * MOST_NUMBERS:,} bytes, {MOST_NUMBERS // n_features:,} gates of {n_features} features"
        )
    return count


def _gaussian(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    count = _drawn(request, X.shape[1])
    return _cut(X, rng.standard_normal((count, X.shape[1])), request, rng)


def _sparse(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    count, d = _drawn(request, X.shape[1]), X.shape[1]
    size = _order(2 if request.order is None else request.order, d)
    weights = np.zeros((count, d))
    step = max(1, TILE_ENTRIES // d)
    for start in range(0, count, step):
        tile = weights[start : start + step]
        chosen = np.argpartition(rng.random(tile.shape), size - 1, axis=1)[:, :size]
        np.put_along_axis(tile, chosen, rng.standard_normal(chosen.shape), axis=1)
    return _cut(X, weights, request, rng)


def _convolutional(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    count = _drawn(request, X.shape[1])
    channels, height, width = _image_shape(request.image_shape, X.shape[1])
    tall, wide = _patch(3 if request.patch is None else request.patch, height, width)
    corner = rng.integers(height - tall + 1, size=count) * width + rng.integers(width - wide + 1, size=count)
    window = np.arange(X.shape[1]).reshape(channels, height, width)[:, :tall, :wide].ravel()
    weights = np.zeros((count, X.shape[1]))
    np.put_along_axis(weights, corner[:, None] + window, rng.standard_normal((count, window.size)), axis=1)
    return _cut(X, weights, request, rng)


def _cut(X: Floats, weights: Floats, request: Request, rng: np.random.Generator) -> Gates:
    """Return gates of random `weights` (m, d), with bias through a random point between two rows of `X`.

    The offset is then at the scale of the data whatever their units and mean, and the two rows lie on either side,
    unless they agree on the gate's features.
    """
    if not request.bias:
        return _owning(weights, bias=False)
    n, m = len(X), len(weights)
    one = rng.integers(n, size=m)
    other = (one + rng.integers(1, n, size=m)) % n
    share = rng.random(m)
    offsets = np.empty(m)
    step = max(1, TILE_ENTRIES // X.shape[1])
    for start in range(0, m, step):
        part = slice(start, start + step)
        points = share[part, None] * X[one[part]] + (1.0 - share[part, None]) * X[other[part]]
        offsets[part] = -np.einsum("ij,ij->i", weights[part], points)
    return _owning(np.column_stack([weights, offsets]), bias=True)


def _owning(generators: Floats, bias: bool) -> Gates:
    owned = generators != 0.0
    if bias:
        owned[:, -1] = True
    return Gates(generators, owned)


def _single(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    d = X.shape[1]
    every = np.concatenate([np.eye(d), -np.eye(d)])
    if request.bias:
        middle = _middle_thresholds(X)
        every = np.column_stack([every, np.concatenate([-middle, middle])])
    if request.n_patterns is None:
        return _owning(every, request.bias)
    count = as_count(request.n_patterns, "n_patterns")
    if count > 2 * d:
        raise ValueError(f"n_patterns is {count}; there are {2 * d} single-feature gates on {d} features")
    return _owning(every[np.sort(rng.choice(2 * d, count, replace=False))], request.bias)


def _middle_thresholds(X: Floats) -> Floats:
    """Return for each feature the midpoint of the neighbouring values that split the rows most evenly, (d,)."""
    ascending = np.sort(X, axis=0)
    unevenness = np.abs(np.arange(1, len(X)) - len(X) / 2)[:, None]
    place = np.where(np.diff(ascending, axis=0) > 0.0, unevenness, np.inf).argmin(axis=0)
    below, above = (np.take_along_axis(ascending, place[None] + step, axis=0)[0] for step in (0, 1))
    return below + (above - below) / 2


def _given(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    d, columns = X.shape[1], X.shape[1] + request.bias
    if request.generators is None:
        raise ValueError(f"kind is 'given' without generators; expected generators of shape (m, {columns})")
    generators = as_matrix(request.generators, "generators").copy()
    if generators.shape[1] != columns:
        expected = f"{d} features and the bias, {columns}" if request.bias else f"{d}, as X has"
        raise ValueError(f"generators has {generators.shape[1]} columns; expected {expected}")
    zero = np.flatnonzero(~generators.any(axis=1))
    if zero.size:
        raise ValueError(f"generators row {zero[0]} is zero; a gate needs at least one nonzero entry")
    return _owning(generators, request.bias)


def _enumerate(X: Floats, request: Request, rng: np.random.Generator) -> Gates:
    centre = _middle_rows(X) if request.bias else np.zeros(X.shape[1])
    scale = _peaks(X - centre)
    rows = append_ones((X - centre) / scale, request.bias)
    gates = _every_gate(rows, request) if request.order is None else _gates_of_order(rows, request)
    # A gate of the scaled rows, (x - centre) / scale . w + b, in the units of X.
    d = X.shape[1]
    gates.generators[:, :d] /= scale
    if request.bias:
        gates.generators[:, d] -= gates.generators[:, :d] @ centre
    return gates


def _middle_rows(X: Floats) -> Floats:
    """Return a middle value of each feature; a value of the data, since differences of near numbers are exact."""
    return np.partition(X, len(X) // 2, axis=0)[len(X) // 2]


def _peaks(X: Floats) -> Floats:
    """Return the largest size in each column, 1 in a column of zeros; none so small that weights in it overflow."""
    peaks = np.abs(X).max(axis=0)
    return np.where(peaks > 0.0, np.maximum(peaks, 1e-100 * peaks.max()), 1.0)


def _every_gate(rows: Floats, request: Request) -> Gates:
    lines = distinct_lines(rows)
    bound = count_patterns(max(1, len(lines)), len(row_space(lines)))
    _check_size(bound, request)
    generators = enumerate_cells(rows)
    return Gates(generators, np.ones(generators.shape, dtype=bool), bound)


def _gates_of_order(rows: Floats, request: Request) -> Gates:
    n, d = len(rows), rows.shape[1] - request.bias
    size = _order(request.order, d)
    bound = comb(d, size) * count_patterns(n, size + request.bias)
    _check_size(bound, request)
    subsets = np.array(list(combinations(range(d), size)))
    if request.bias:
        subsets = np.column_stack([subsets, np.full(len(subsets), d)])
    owners, cells = zip(*_subset_cells(rows, subsets), strict=True)
    columns, generators = subsets[np.concatenate(owners)], np.zeros((sum(map(len, cells)), rows.shape[1]))
    np.put_along_axis(generators, columns, np.concatenate(cells), axis=1)
    owned = np.zeros(generators.shape, dtype=bool)
    np.put_along_axis(owned, columns, True, axis=1)
    return Gates(generators, owned, bound)


def _subset_cells(rows: Floats, subsets: Ints) -> Iterator[tuple[Ints, Floats]]:
    """Yield the index of a subset of columns and a gate for each cell of the rows on that subset."""
    if subsets.shape[1] != 2:
        for index, subset in enumerate(subsets):
            cells = enumerate_cells(rows[:, subset])
            yield np.full(len(cells), index), cells
        return
    step = max(1, TILE_ENTRIES // len(rows))
    for start in range(0, len(subsets), step):
        owner, cells = plane_cells(rows.T[subsets[start : start + step]].transpose(0, 2, 1))
        yield owner + start, cells


def _check_size(bound: int, request: Request) -> None:
    limit = ENUMERATION_LIMIT if request.n_patterns is None else as_count(request.n_patterns, "n_patterns")
    if bound > limit:
        stated = f"{bound:,}" if bound < 10**12 else f"about 1e{log10(bound):.0f}"
        raise ValueError(
            f"kind 'enumerate' has up to {stated} patterns on X, above the limit of {limit:,}; raise n_patterns, take "
            "fewer rows or a lower order, or draw gates of another kind"
        )


def _order(order: int | None, d: int) -> int:
    size = as_count(order, "order")
    if size > d:
        raise ValueError(f"order is {size}; expected at most the number of features, {d}")
    return size


def _image_shape(shape: tuple[int, ...] | None, d: int) -> tuple[int, int, int]:
    expected = "expected (height, width) or (channels, height, width)"
    if shape is None:
        raise ValueError(f"kind is 'convolutional' without image_shape; {expected}")
    if not isinstance(shape, tuple | list) or len(shape) not in (2, 3):
        raise ValueError(f"image_shape is {shape!r}; {expected}")
    sizes = tuple(as_count(size, "image_shape") for size in shape)
    if prod(sizes) != d:
        raise ValueError(f"image_shape is {sizes}, {prod(sizes)} pixels; expected {d}, the features of X")
    channels, height, width = (1, *sizes)[-3:]
    return channels, height, width


def _patch(patch: int | tuple[int, int], height: int, width: int) -> tuple[int, int]:
    pair = patch if isinstance(patch, tuple | list) else (patch, patch)
    if len(pair) != 2:
        raise ValueError(f"patch is {patch!r}; expected a whole number or (height, width)")
    tall, wide = (as_count(size, "patch") for size in pair)
    if tall > height or wide > width:
        raise ValueError(f"patch is {(tall, wide)}; expected at most the image, {(height, width)}")
    return tall, wide


DRAWS: dict[str, Callable[[Floats, Request, np.random.Generator], Gates]] = {
    "gaussian": _gaussian,
    "sparse": _sparse,
    "single": _single,
    "enumerate": _enumerate,
    "convolutional": _convolutional,
    "given": _given,
}

"""Continuous piecewise linear functions of values, all by ReLUs.

A value that a function uses twice, in a ReLU and as it is, is pinned: it is carried past the ReLU as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, Ints
from verify.reading.graph.values import (
    Value,
    combined,
    concatenated,
    constant_value,
    expanded,
    matrix_of,
    pinned,
    places_of,
    relu,
    reshaped,
    scaled,
    selected,
    shifted,
)

# What rounding may leave of the difference of two values that are multiples of a third, relative to it.
ROUNDING = 1e-12


def clipped(value: Value, lower: float, upper: float) -> Value:
    """Return min(max(value, lower), upper), ends may be infinite: lower + relu(x - lower) - relu(x - upper)."""
    if np.isnan(lower) or np.isnan(upper) or lower == np.inf or upper == -np.inf:
        raise ValueError(f"it clips between {lower:g} and {upper:g}; expected numbers")
    if upper <= lower:
        # What min(max(x, lower), upper) is then.
        return shifted(scaled(value, np.array(0.0)), np.array(upper))
    if np.isinf(lower):
        return value if np.isinf(upper) else minimum(value, constant_value(np.array(upper)))
    raised = _above(value, lower)
    if np.isinf(upper):
        return raised if lower == 0.0 else _known(shifted(raised, np.array(lower)), lower >= 0.0)
    above = relu(shifted(value, np.array(-upper)))
    result = combined([raised, above], [1.0, -1.0])
    return _known(result if lower == 0.0 else shifted(result, np.array(lower)), lower >= 0.0)


def _above(value: Value, lower: float) -> Value:
    """Return relu(value - lower)."""
    return relu(value if lower == 0.0 else shifted(value, np.array(-lower)))


def _known(value: Value, nonnegative: bool) -> Value:
    """Return a value of which more is known."""
    return Value(value.shape, value.terms, value.bias, value.nonnegative or nonnegative)


def leaky(value: Value, slope: Floats) -> Value:
    """Return max(value, 0) + slope min(value, 0) = slope x + (1 - slope) relu(x), the slope broadcast."""
    if not np.any(slope) or value.nonnegative:
        return relu(value)
    whole = pinned(value)
    return combined([scaled(whole, slope), scaled(relu(whole), 1.0 - slope)], [1.0, 1.0])


def absolute(value: Value) -> Value:
    """Return |value| = 2 relu(x) - x."""
    if value.nonnegative:
        return value
    whole = pinned(value)
    return _known(combined([scaled(relu(whole), np.array(2.0)), whole], [1.0, -1.0]), True)


def maximum(left: Value, right: Value) -> Value:
    """Return the larger of two values, broadcast: b + relu(a - b), where b is a constant if one is."""
    if not left.terms:
        left, right = right, left
    if not right.terms and not right.offsets.any() and right.size == 1:
        return relu(expanded(left, np.broadcast_shapes(left.shape, right.shape)))
    one, other = pinned(left), pinned(right)
    result = combined([other, relu(combined([one, other], [1.0, -1.0]))], [1.0, 1.0])
    return _known(result, left.nonnegative or right.nonnegative)


def minimum(left: Value, right: Value) -> Value:
    """Return the smaller of two values, broadcast: b - relu(b - a), where b is a constant if one is."""
    if not left.terms:
        left, right = right, left
    one, other = pinned(left), pinned(right)
    result = combined([other, relu(combined([other, one], [1.0, -1.0]))], [1.0, -1.0])
    return _known(result, left.nonnegative and right.nonnegative)


def chosen(test: Value, positive: Value, negative: Value) -> Value:
    """Return `positive` where the test is above zero and `negative` below: negative + slope relu(test).

    Raises
    ------
    ValueError
        The two differ by more than a multiple of the test, entry by entry, so that they may jump where it is zero.
    """
    shape = np.broadcast_shapes(test.shape, positive.shape, negative.shape)
    edge, one, other = (expanded(value, shape) for value in (test, positive, negative))
    return combined([other, scaled(relu(edge), _slopes(edge, one, other).reshape(shape))], [1.0, 1.0])


def _slopes(test: Value, one: Value, other: Value) -> Floats:
    """Return how often each entry of a test goes into the difference of two values; ValueError where it does not.

    Each coefficient may be off by what rounding makes of those of the two values, so that no jump hides beside a large
    one.
    """
    nodes = list(dict.fromkeys(node for value in (test, one, other) for node, _ in value.terms))
    given, left, right = (
        sp.csr_matrix(sp.hstack([*(matrix_of(each, node) for node in nodes), each.offsets[:, None]], format="csr"))
        for each in (test, one, other)
    )
    asked = left - right
    squares = np.asarray(given.multiply(given).sum(axis=1)).ravel()
    products = np.asarray(asked.multiply(given).sum(axis=1)).ravel()
    slopes = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0.0)
    rest = abs(asked - sp.diags(slopes) @ given) - ROUNDING * (abs(left) + abs(right))
    if (rest.data > 0.0).any():
        raise ValueError(
            "it chooses between values that are not known to be equal where its condition changes; expected such as "
            "where(x > 0, x, 0.1 * x)"
        )
    return np.asarray(slopes)


def largest(value: Value, groups: Ints) -> Value:
    """Return the largest entry of each group, by a tree of pairs.

    Parameters
    ----------
    value : Value
        Any array.
    groups : ndarray (n, k)
        Flat places of the entries of n groups, each with one at least; -1 stands for none.
    """
    now, places = pinned(reshaped(value, (value.size,))), _sorted(groups)
    while places.shape[1] > 1:
        now, places = _paired(now, places)
    return selected(now, places[:, 0])


def _sorted(groups: Ints) -> Ints:
    """Return groups with what stands for none at their ends."""
    kept = np.take_along_axis(groups, np.argsort(groups < 0, axis=1, kind="stable"), axis=1)
    return kept[:, : max(int((kept >= 0).sum(axis=1).max(initial=1)), 1)]


def _paired(value: Value, places: Ints) -> tuple[Value, Ints]:
    """Return the larger ones of all pairs of neighbours in the groups, and the places of what is left."""
    if places.shape[1] % 2:
        places = np.column_stack([places, np.full(len(places), -1)])
    left, right = places[:, ::2], places[:, 1::2]
    both = right >= 0
    pairs, where = np.unique(np.column_stack([left[both], right[both]]), axis=0, return_inverse=True)
    alone, whom = np.unique(left[~both & (left >= 0)], return_inverse=True)
    now = maximum(selected(value, pairs[:, 0]), selected(value, pairs[:, 1])) if len(pairs) else None
    after = np.full(left.shape, -1)
    after[both] = where.ravel()
    after[~both & (left >= 0)] = whom.ravel() + len(pairs)
    rest = selected(value, alone)
    if now is None:
        return pinned(rest), after
    return pinned(concatenated([now, rest], 0) if len(alone) else now), after


def rows_of(value: Value, axes: Sequence[int]) -> tuple[Ints, tuple[int, ...]]:
    """Return the places of the entries along some axes, (n, k), and the shape of the other axes, those kept as 1."""
    places = places_of(value)
    kept = [axis for axis in range(places.ndim) if axis not in axes]
    turned = places.transpose([*kept, *axes])
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    return turned.reshape(int(np.prod([value.shape[axis] for axis in kept], dtype=int)), -1), shape

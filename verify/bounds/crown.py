"""CROWN: upper bounds of linear functions of hidden values, by linear relaxation from the back to the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY, Interval, stored_whole

# Entries of the largest dense array made at a time, and the share of nonzeros from which a weight is held dense.
TILE = 1 << 22
DENSE = 0.1


@dataclass(frozen=True, eq=False)
class RelaxedLayer:
    """A hidden layer h = relu(p), or h = p at linear units, p = W h' + b, between two lines over the region.

    They are `lower_slope` p <= h <= `upper_slope` p + `upper_intercept`; at linear units both are p itself.

    Attributes
    ----------
    weight : csr_matrix or ndarray (n, k)
        W of the neurons that can be active and of linear units; the others are 0 and left out.
    bias, lower_slope, upper_slope, upper_intercept : ndarray (n,)
        b and the lines; the slopes are float64 numbers that hold as they are, the intercept is rounded up.
    live : ndarray (out,) of bool
        Which neurons of the layer can be active or are linear.
    reach : ndarray (n,)
        Sums of magnitudes |W| |h'| + |b|, at least the size of any partial sum of p.
    input_total : float
        Sum of the largest sizes of h'.
    heights : ndarray (out,)
        Largest sizes of h.
    """

    weight: sp.csr_matrix | Floats
    bias: Floats
    lower_slope: Floats
    upper_slope: Floats
    upper_intercept: Floats
    live: NDArray[np.bool_]
    reach: Floats
    input_total: float
    heights: Floats

    def through_relu(self, slope: Floats, split: Split | None = None) -> tuple[Floats, Floats]:
        """Return slopes (r, n) and offsets c (r,) with slope h <= slopes p + c, for `slope` (r, n).

        Notes
        -----
        A product with a number in [0, 1] rounds to a product with another such number, and slope + beta, rounded, is
        slope plus another beta of the same sign: what rounds here is a valid line all the same.
        """
        lines, lifted = np.where(slope > 0.0, self.upper_slope, self.lower_slope), np.maximum(slope, 0.0)
        if split is None:
            return slope * lines, lifted @ self.upper_intercept
        free, rising = split.phase == 0.0, slope[:, split.unstable] > 0.0
        own = np.where(rising, self.upper_slope[split.unstable], np.clip(split.alpha, 0.0, 1.0))
        lines[:, split.unstable] = np.where(free, own, split.phase > 0.0)
        lifted[:, split.unstable] *= free
        along = slope * lines
        along[:, split.unstable] += split.phase * np.maximum(split.beta, 0.0)
        return along, lifted @ self.upper_intercept


@dataclass(frozen=True, eq=False)
class Split:
    """What each of r bounds supposes of some neurons of a layer, and the lines that it takes there.

    Attributes
    ----------
    unstable : ndarray (u,) of int
        The neurons, counted among those that can be active.
    phase : ndarray (r, u)
        1 where the bound is for inputs at which p >= 0, -1 for p <= 0, 0 for all inputs.
    alpha : ndarray (r, u)
        Slopes in [0, 1] of the lower lines where `phase` is 0.
    beta : ndarray (r, u)
        Multipliers >= 0 of phase p >= 0, where `phase` is not 0.
    """

    unstable: NDArray[np.int64]
    phase: Floats
    alpha: Floats
    beta: Floats


def relax_layer(layer: Layer, known: Interval, sizes: Floats, live: NDArray[np.bool_] | None = None) -> RelaxedLayer:
    """Return the lines of a layer with pre-activation bounds `known`; `sizes` (k,) bounds its inputs' magnitudes.

    `live` says which neurons are kept; default those that can be active, which all have to be among them.

    Notes
    -----
    For bounds l < 0 < u the upper line has the slope s = u / (u - l) and the intercept max(-s l, u - s u), which is
    right for any s in [0, 1], so the rounding of s costs nothing. The lower line is p where u >= -l, else 0: the one
    that leaves the smaller area (CROWN's adaptive choice).
    """
    live = known.live if live is None else live
    weight, bias, own = _rows_of(layer[0], live), layer[1][live], known.take(live)
    low, high = own.lower, own.upper
    slope, intercept = chord(low, high, own.floor)
    return RelaxedLayer(
        weight=weight,
        bias=bias,
        lower_slope=np.where((low >= own.floor) | (high >= -low), 1.0, 0.0),
        upper_slope=slope,
        upper_intercept=intercept,
        live=live,
        reach=_reach(weight, bias, sizes),
        input_total=float(sizes.sum()),
        heights=known.heights,
    )


def _rows_of(weight: sp.csr_matrix, chosen: NDArray[np.bool_]) -> sp.csr_matrix | Floats:
    """Return some rows of a weight, as an array where it is dense."""
    dense = stored_whole(weight)
    if dense is not None:
        return dense if chosen.all() else dense[chosen]
    rows = weight[chosen]
    return rows.toarray() if rows.nnz > DENSE * np.prod(rows.shape) else rows


def _reach(weight: sp.csr_matrix | Floats, bias: Floats, sizes: Floats) -> Floats:
    """Return more than |W| |h'| + |b| for inputs of magnitudes up to `sizes`."""
    step = max(1, TILE // max(weight.shape[1], 1))
    with np.errstate(all="ignore"):
        if isinstance(weight, np.ndarray):
            tiles = [np.abs(weight[start : start + step]) @ sizes for start in range(0, len(weight), step)]
            return np.concatenate([np.zeros(0), *tiles]) + np.abs(bias) + TINY * (1.0 + len(sizes))
        return np.asarray(abs(weight) @ sizes + np.abs(bias) + TINY * (1.0 + len(sizes)))


def chord(low: Floats, high: Floats, floor: Floats | float = 0.0) -> tuple[Floats, Floats]:
    """Return s and t with max(p, 0) <= s p + t for low <= p <= high, `high` > 0; s holds as it is, t is rounded up.

    They are 1 and 0 where low >= `floor`, as it always is at linear units.
    """
    with np.errstate(all="ignore"):
        slope = np.clip(high / (high - low), 0.0, 1.0)
        slope = np.where((low >= floor) | ~np.isfinite(slope), 1.0, slope)
        lift = np.maximum(-slope * low, high * (1.0 - slope)) * (1.0 + 8.0 * EPS) + TINY
    return slope, np.where(low >= floor, 0.0, lift)


def relax_layers(layers: Sequence[Layer], known: Sequence[Interval], region: Box) -> list[RelaxedLayer]:
    """Return the lines of hidden layers with pre-activation bounds `known` over a region."""
    sizes, result = region.reach, []
    for layer, bounds in zip(layers, known, strict=False):
        result.append(relax_layer(layer, bounds, sizes))
        sizes = result[-1].heights
    return result


def relax_affine(layer: Layer, sizes: Floats) -> RelaxedLayer:
    """Return a layer without relu as its own lines, so that functions of the outputs go through it soundly."""
    weight, bias = layer
    count = len(bias)
    reach = _reach(weight, bias, sizes)
    ones, everyone = np.ones(count), np.ones(count, dtype=bool)
    return RelaxedLayer(weight, bias, ones, ones, np.zeros(count), everyone, reach, float(sizes.sum()), reach)


def output_interval(rows: sp.csr_matrix, layers: Sequence[Layer], known: Sequence[Interval], region: Box) -> Interval:
    """Return outward-rounded bounds of `rows` (r, k) times the outputs of `layers` over a region.

    `known` are pre-activation bounds of all layers but the last (more are not read).
    """
    hidden = relax_layers(layers[:-1], known, region)
    last = relax_affine(layers[-1], hidden[-1].heights if hidden else region.reach)
    return crown_interval(rows, np.zeros(rows.shape[0]), [*hidden, last], region)


def crown_interval(
    weight: sp.csr_matrix,
    bias: Floats,
    hidden: Sequence[RelaxedLayer],
    region: Box,
    stop: Callable[[], bool] = lambda: False,
) -> Interval:
    """Return outward-rounded bounds of W h + b, h the values of the last of the `hidden` layers, over a region.

    Parameters
    ----------
    weight, bias : csr_matrix (r, k), ndarray (r,)
        The functions; their entries may be sums of two float64 numbers, rounded once.
    hidden : sequence of RelaxedLayer
        All layers before, from the first to the last; empty where h is the input.
    region : Box
        Any region.
    stop : callable, optional
        Asked before each tile of rows and each layer that it goes through; from then on rows are left infinite.

    Notes
    -----
    From the last layer to the first, a function A h + c <= A+ (s p + t) + A- r p + c is one of the layer
    before, p = W h' + b; at the inputs the region maximises it (Zhang et al. 2018). Every product of floats is off by
    at most gamma times the product of magnitudes, which times the largest sizes of h' is added to c: the result is
    an upper bound in real arithmetic. A row that overflows is infinite. Rows go in tiles that bound the memory.
    """
    width = max([weight.shape[1], region.size, *(len(layer.live) for layer in hidden)])
    step = max(1, TILE // (2 * width))
    lower, upper = np.full(weight.shape[0], -np.inf), np.full(weight.shape[0], np.inf)
    for start in range(0, weight.shape[0], step):
        if stop():
            break
        rows, shift = weight[start : start + step].toarray(), bias[start : start + step]
        both = np.concatenate([rows, -rows]), np.concatenate([shift, -shift])
        found = crown_upper(*both, hidden, region, None, None, stop)
        lower[start : start + step], upper[start : start + step] = -found[len(rows) :], found[: len(rows)]
    return Interval(lower, upper)


def crown_upper(
    slope: Floats,
    offset: Floats,
    hidden: Sequence[RelaxedLayer],
    region: Box,
    splits: Sequence[Split | None] | None = None,
    multipliers: Floats | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Floats:
    """Return upper bounds (r,) of `slope` (r, k) h + `offset` (r,) over a region; see :func:`crown_interval`.

    With `splits`, one for each of the `hidden` layers, bound i holds for the inputs that row i of every split supposes.
    With `multipliers` (r, m) of the region's linear constraints, none are searched for.
    """
    with np.errstate(all="ignore"):
        sizes = hidden[-1].heights if hidden else region.reach
        # Slopes and offsets that are themselves rounded sums: four units in the last place of each.
        offset = _raised(offset, 4.0 * EPS * (np.abs(slope) @ sizes + np.abs(offset)) + TINY * (1.0 + sizes.sum()))
        finite = np.isfinite(slope).all(axis=1)
        for layer, split in zip(reversed(hidden), reversed(splits or [None] * len(hidden)), strict=True):
            if stop():
                return np.full(len(offset), np.inf)
            slope, offset = _through_layer(layer, slope[:, layer.live], offset, split)
            finite &= np.isfinite(slope).all(axis=1)
        top = region.support(slope, multipliers)
        total = _raised(top + offset, 4.0 * EPS * (np.abs(top) + np.abs(offset)))
    return np.where(finite & np.isfinite(total), total, np.inf)


def crown_peaks(rows: Floats, layers: Sequence[Layer], known: Sequence[Interval], region: Box) -> Floats:
    """Return the inputs (r, d) where the linear upper bounds of `rows` (r, k) times the outputs are largest.

    They lie in the region, and near the functions' own maxima often enough to begin an ascent there; nothing is proven.
    """
    with np.errstate(all="ignore"):
        slope = rows @ layers[-1][0]
        for layer in reversed(relax_layers(layers[:-1], known, region)):
            slope = slope[:, layer.live]
            slope = _product(slope * np.where(slope > 0.0, layer.upper_slope, layer.lower_slope), layer.weight)
        return region.peaks(np.nan_to_num(slope))


def _through_layer(layer: RelaxedLayer, slope: Floats, offset: Floats, split: Split | None) -> tuple[Floats, Floats]:
    """Return the function of h' that is at least slope h + offset, its offset raised by all rounding."""
    slope, lifted = layer.through_relu(slope, split)
    count = len(layer.bias)
    sizes = np.abs(slope) @ layer.reach + lifted + np.abs(offset)
    # Products that underflow lose less than the smallest normal number times what stands beside them.
    lost = TINY * (count * (layer.input_total + 2.0) + float(layer.reach.sum()) + 8.0)
    offset = _raised(offset + lifted + slope @ layer.bias, (count + 16) * EPS * sizes + lost)
    return _product(slope, layer.weight), offset


def _product(slope: Floats, weight: sp.csr_matrix | Floats) -> Floats:
    return np.asarray(slope @ weight if isinstance(weight, np.ndarray) else (weight.T @ slope.T).T)


def _raised(total: Floats, error: Floats) -> Floats:
    return np.nextafter(total + error, np.inf)

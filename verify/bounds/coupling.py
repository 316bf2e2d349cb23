"""Coupling: two networks of one shape side by side, the ReLUs of each pair of neurons relaxed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork
from verify.bounds.crown import RelaxedLayer, Split, chord, crown_interval, relax_affine, relax_layer
from verify.bounds.layer_bounds import crown_bounds
from verify.regions.box import Box
from verify.regions.intervals import EPS, Interval


@dataclass(frozen=True, eq=False)
class CoupledLayer(RelaxedLayer):
    """A layer of n pairs of neurons, h = (relu(a), relu(b)), whose difference e = relu(a) - relu(b) has lines too.

    With d = a - b over the region: e <= `rise` d + `above` and e >= `fall` d - `below`. Of linear units e is d itself.

    Attributes
    ----------
    rise, above, fall, below : ndarray (n,)
        The lines; slopes in [0, 1], offsets at least 0 and rounded up.
    middle : ndarray (2 n,)
        Values of (a, b) at which two relaxations are compared.
    """

    rise: Floats
    above: Floats
    fall: Floats
    below: Floats
    middle: Floats

    @property
    def apart(self) -> RelaxedLayer:
        """The same layer, without the lines of differences."""
        return RelaxedLayer(**{field.name: getattr(self, field.name) for field in fields(RelaxedLayer)})

    def through_relu(self, slope: Floats, split: Split | None = None) -> tuple[Floats, Floats]:
        """Return slopes (r, 2n) on (a, b) and offsets c (r,) with slope h <= slopes (a, b) + c.

        Notes
        -----
        A relu(a) + B relu(b) is bounded apart, by the lines of each ReLU, or as A e + (A + B) relu(b), by those of the
        difference and of relu(b): of the two, for each pair of neurons, by what is lower at its middle. Where both
        ReLUs are stable, the lines apart are the function itself and nothing is lower.
        """
        first, second = np.split(slope, 2, axis=1)
        apart = slope * np.where(slope > 0.0, self.upper_slope, self.lower_slope)
        apart_lift = np.maximum(slope, 0.0) * self.upper_intercept
        both = first + second
        high, low, lift = (np.split(line, 2)[1] for line in (self.upper_slope, self.lower_slope, self.upper_intercept))
        moved = first * np.where(first > 0.0, self.rise, self.fall)
        joint = np.concatenate([moved, both * np.where(both > 0.0, high, low) - moved], axis=1)
        raised = np.where(first > 0.0, first * self.above, -first * self.below) + np.maximum(both, 0.0) * lift
        pairs = [_paired(lines * self.middle) for lines in (apart, joint)]
        taken = pairs[1] + raised < pairs[0] + _paired(apart_lift)
        lifted = np.where(taken, raised, _paired(apart_lift)).sum(axis=1)
        # The sums of slopes round: by a unit or two of their terms, times the size of what they multiply.
        lost = 8.0 * EPS * (_paired(np.abs(slope)) @ _paired(self.reach[None])[0])
        return np.where(np.tile(taken, 2), joint, apart), lifted + lost


def _paired(entries: Floats) -> Floats:
    """Return the sums (r, n) over the pairs of `entries` (r, 2n)."""
    first, second = np.split(entries, 2, axis=1)
    return np.asarray(first + second)


def side_by_side(first: SparseReLUNetwork, second: SparseReLUNetwork) -> list[Layer]:
    """Return the layers of two networks side by side: units and outputs of `first`, then those of `second`."""
    layers: list[Layer] = []
    for (weight, bias), (other, shift) in zip(first.layers, second.layers, strict=True):
        joined = sp.block_diag([weight, other]) if layers else sp.vstack([weight, other])
        layers.append((sp.csr_matrix(joined), np.concatenate([bias, shift])))
    return layers


@dataclass(frozen=True, eq=False)
class CoupledNetworks:
    """Two networks of one shape over a region.

    Attributes
    ----------
    hidden : tuple of CoupledLayer
        The hidden layers.
    last : RelaxedLayer
        The outputs of the first, then of the second.
    region : Box
        The region.
    """

    hidden: tuple[CoupledLayer, ...]
    last: RelaxedLayer
    region: Box

    def bounds(self, rows: sp.csr_matrix) -> Interval:
        """Return outward-rounded bounds of `rows` (r, 2k) times the outputs of both."""
        return _bounds((rows, np.zeros(rows.shape[0])), self.hidden, [self.last], self.region)


def couple(
    first: SparseReLUNetwork,
    second: SparseReLUNetwork,
    region: Box,
    known: Sequence[Sequence[Interval]] | None = None,
) -> CoupledNetworks:
    """Return two networks of the same sizes and kinds of units, coupled over a region.

    Notes
    -----
    The bounds of a and b are those `known` of each network, or else of CROWN; of d = a - b those through the layers
    coupled so far, met with what the bounds of a and b say.
    """
    together, hidden = side_by_side(first, second), list[CoupledLayer]()
    known = known or [crown_bounds(network, region) for network in (first, second)]
    sizes = region.reach
    for index, layer in enumerate(together[:-1]):
        own, other = known[0][index], known[1][index]
        with np.errstate(all="ignore"):
            apart = Interval(_below(own.lower - other.upper), _above(own.upper - other.lower))
        moves = _bounds(_difference(first.layers[index], second.layers[index], index), hidden, [], region)
        hidden.append(_coupled(layer, own, other, moves.meet(apart), sizes))
        sizes = hidden[-1].heights
    return CoupledNetworks(tuple(hidden), relax_affine(together[-1], sizes), region)


def _bounds(layer: Layer, hidden: Sequence[CoupledLayer], after: Sequence[RelaxedLayer], region: Box) -> Interval:
    """Return bounds of a layer, through pairs relaxed together where this is better, met with those all apart."""
    coupled = crown_interval(*layer, [*hidden, *after], region)
    return coupled.meet(crown_interval(*layer, [*(pairs.apart for pairs in hidden), *after], region))


def _difference(layer: Layer, other: Layer, index: int) -> Layer:
    """Return a - b as a function of the values of both networks, of the inputs at `index` 0."""
    shift = layer[1] - other[1]
    return sp.csr_matrix(sp.hstack([layer[0], -other[0]]) if index else layer[0] - other[0]), shift


def _coupled(layer: Layer, own: Interval, other: Interval, moves: Interval, sizes: Floats) -> CoupledLayer:
    """Return a layer of pairs with bounds `own` of a, `other` of b and `moves` of d = a - b."""
    pairs = own.live | other.live
    plain = relax_layer(layer, own.beside(other), sizes, np.tile(pairs, 2))
    floor = own.take(pairs).floor
    rise, above = _hinge(moves.lower[pairs], moves.upper[pairs], floor)
    # min(0, d) = -max(0, -d).
    fall, below = _hinge(-moves.upper[pairs], -moves.lower[pairs], floor)
    base, move = _middle(other.lower[pairs], other.upper[pairs]), _middle(moves.lower[pairs], moves.upper[pairs])
    middle = np.append(base + move, base)
    return CoupledLayer(**vars(plain), rise=rise, above=above, fall=fall, below=below, middle=middle)


def _hinge(low: Floats, high: Floats, floor: Floats | float) -> tuple[Floats, Floats]:
    """Return slope and offset of a line that is at least max(`floor`, d) for d between `low` and `high`."""
    slope, lift = chord(low, high, floor)
    return np.where(high <= floor, 0.0, slope), np.where(high <= floor, 0.0, lift)


def _middle(low: Floats, high: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.nan_to_num(low / 2.0 + high / 2.0, posinf=0.0, neginf=0.0)


def _below(values: Floats) -> Floats:
    return np.nextafter(values, -np.inf)


def _above(values: Floats) -> Floats:
    return np.nextafter(values, np.inf)

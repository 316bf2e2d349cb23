"""Functions: linear functions of a network's outputs, at points and bounded over regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork
from verify.bounds.crown import output_interval
from verify.bounds.exact_values import ExactFunctions
from verify.bounds.layer_bounds import crown_bounds, interval_bounds, of_units
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY, Interval, affine_interval


@dataclass(frozen=True, eq=False)
class Functions:
    """The functions rows @ outputs + offsets of a network.

    Attributes
    ----------
    rows : csr_matrix (t, k)
        One row a function.
    offsets : ndarray (t,)
        Their constants.
    network : SparseReLUNetwork
        The network asked about, k outputs.
    """

    rows: sp.csr_matrix
    offsets: Floats
    network: SparseReLUNetwork

    def __len__(self) -> int:
        return len(self.offsets)

    def row(self, index: int) -> Floats:
        """Return the weights (k,) of one function."""
        return np.asarray(self.rows[[index]].toarray()[0])

    def of(self, outputs: Floats) -> Floats:
        """Return the functions of `outputs` (n, k), shape (n, t)."""
        with np.errstate(all="ignore"):
            return np.asarray((self.rows @ outputs.T).T) + self.offsets

    def at(self, X: Floats) -> Floats:
        """Return the functions at inputs `X` (n, d), shape (n, t)."""
        with np.errstate(all="ignore"):
            return self.of(self.network.activations(X)[-1])

    def over(self, hidden: Interval) -> Interval:
        """Return outward-rounded bounds for last hidden values in `hidden`."""
        if not len(self):
            return Interval(np.zeros(0), np.zeros(0))
        known = affine_interval(*self._combined, hidden)
        if self._plain.all():
            return known
        with np.errstate(all="ignore"):
            slack = self._slack(np.maximum(np.abs(hidden.lower), np.abs(hidden.upper)))
            lower, upper = known.lower - slack, known.upper + slack
        return Interval(np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper))

    def crown(self, region: Box, layers: Sequence[Interval]) -> Interval:
        """Return outward-rounded CROWN bounds over a region; `layers` are bounds as :func:`verify.bound` gives them."""
        if not len(self):
            return Interval(np.zeros(0), np.zeros(0))
        known = output_interval(self.rows, self.network.layers, of_units(self.network, layers), region)
        with np.errstate(all="ignore"):
            lost = 2.0 * EPS * (np.maximum(np.abs(known.lower), np.abs(known.upper)) + np.abs(self.offsets))
            lost = np.where(self.offsets == 0.0, 0.0, lost)
            return Interval(known.lower + self.offsets - lost, known.upper + self.offsets + lost)

    def proven_at(self, x: Floats) -> Interval:
        """Return bounds of the functions at `x` (d,) in real arithmetic: its box of width 0, rounded outward."""
        box = Box(x, x)
        return self.over(last_hidden(box, interval_bounds(self.network, box)))

    def sharply_at(self, x: Floats, stop: Callable[[], bool] = lambda: False) -> Interval:
        """Return the same, met with CROWN bounds of the point: the errors of neurons cancel, where intervals add them.

        It costs a pass for every layer, and is sharper by orders of magnitude in deep networks. Once `stop` says so the
        rest of it is left out.
        """
        box, known = Box(x, x), self.proven_at(x)
        layers = crown_bounds(self.network, box, stop=stop)
        return known if stop() else known.meet(self.crown(box, layers))

    def exactly_at(self, x: Floats) -> list[Fraction] | None:
        """Return the functions at `x` (d,) in rational arithmetic; None where that is too much work."""
        return self._exact.at(x)

    def reach(self, hidden: Interval) -> Floats:
        """Return the sums of magnitudes (t,) that the functions are made of, for last hidden values in `hidden`."""
        weight, bias = self.network.layers[-1]
        with np.errstate(all="ignore"):
            sizes = abs(weight) @ np.maximum(np.abs(hidden.lower), np.abs(hidden.upper)) + np.abs(bias)
            return np.asarray(abs(self.rows) @ sizes + np.abs(self.offsets))

    @cached_property
    def _exact(self) -> ExactFunctions:
        linear = [self.network.linear_units(index) for index in range(len(self.network.layers) - 1)]
        return ExactFunctions((*self.network.layers, (self.rows, self.offsets)), linear)

    @cached_property
    def _combined(self) -> Layer:
        """The functions as a layer: rows @ weight and rows @ bias + offsets, both rounded."""
        weight, bias = self.network.layers[-1]
        with np.errstate(all="ignore"):
            return sp.csr_matrix(self.rows @ weight), self.rows @ bias + self.offsets

    @cached_property
    def _plain(self) -> NDArray[np.bool_]:
        """The functions (t,) whose combination rounds each entry once at most.

        A weight row, negated or minus another, and a bias with one constant: `affine_interval` allows for that, and
        exact ties stay exact. Other sums can cancel, and are widened.
        """
        terms = np.diff(self.rows.indptr)
        places = np.repeat(np.arange(len(terms)), terms)
        units = np.bincount(places, np.abs(self.rows.data) == 1.0, len(terms)) == terms
        return units & ((terms <= 1) | ((terms == 2) & (self.offsets == 0.0)))

    def _slack(self, sizes: Floats) -> Floats:
        """Return what the rounding of rows @ weight and of the constants amounts to, where `sizes` bounds |hidden|."""
        weight, bias = self.network.layers[-1]
        terms = np.diff(self.rows.indptr)
        reach = abs(self.rows) @ (abs(weight) @ sizes + np.abs(bias)) + np.abs(self.offsets)
        lost = TINY * (terms + 2.0) * (weight.shape[1] + 2.0) * (1.0 + float(sizes.sum()))
        return np.where(self._plain, 0.0, 2.0 * (terms + 8.0) * EPS * reach + lost)


def last_hidden(region: Box, layers: tuple[Interval, ...]) -> Interval:
    """Return bounds of the values that the last layer reads."""
    return layers[-2].activated() if len(layers) > 1 else Interval(region.lower, region.upper)

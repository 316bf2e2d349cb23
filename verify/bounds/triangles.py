"""Triangles: the linear relaxation of the first layers of a network over a region, without any rounding in its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer
from verify.bounds.crown import chord
from verify.bounds.duals import box_peak, dual_bounds
from verify.milp.input_variables import input_variables
from verify.milp.model import Milp
from verify.regions.balls import L1Ball
from verify.regions.box import Box
from verify.regions.intervals import EPS, Interval


@dataclass(frozen=True, eq=False)
class Triangles:
    """Rows that the inputs and the values of hidden neurons satisfy wherever the inputs lie in a region.

    Attributes
    ----------
    region : Box
        Any region.
    rows : csr_matrix (r, v)
        Of the inputs (d,), then for each layer its pre-activations p, and a = relu(p) of its unstable neurons. What a
        linear unit passes on is p itself.
    lower, upper : ndarray (r,)
        The sides of the rows.
    low, high : ndarray (v - d,)
        Finite bounds of the variables after the inputs.
    places : ndarray (k,) of int
        The variable of each value of the last layer; -1 where it is 0.

    Notes
    -----
    p - W h = b, a - p >= 0 and a - s p <= t, with the chord s p + t over the bounds of p: the tightest linear
    relaxation of each relu alone (Ehlers 2017). Weights and biases stand there as they are, s holds as it is and t is
    rounded up, so all rows hold in real arithmetic.
    """

    region: Box
    rows: sp.csr_matrix
    lower: Floats
    upper: Floats
    low: Floats
    high: Floats
    places: NDArray[np.int64]

    def deeper(self, layer: Layer, known: Interval) -> Triangles:
        """Return the relaxation with one more layer, `known` finite bounds of its pre-activations."""
        live = np.flatnonzero(known.live)
        own = known.take(live)
        low, high, unstable = own.lower, own.upper, own.switching
        first, count, more = self.rows.shape[1], len(live), len(unstable)
        before, value = first + unstable, first + count + np.arange(more)
        slope, lift = chord(low[unstable], high[unstable])
        affine = sp.hstack([-self.costs(layer[0][live]), sp.eye(count), sp.csr_matrix((count, more))], format="csr")
        old = sp.csr_matrix((self.rows.data, self.rows.indices, self.rows.indptr), (len(self.lower), affine.shape[1]))
        above, below = (_pairs(before, value, -part, affine.shape[1]) for part in (np.ones(more), slope))
        free, bias, places = np.full(more, np.inf), layer[1][live], np.full(len(known.upper), -1)
        places[live], places[live[unstable]] = first + np.arange(count), value
        return Triangles(
            region=self.region,
            rows=sp.vstack([old, affine, above, below], format="csr"),
            lower=np.concatenate([self.lower, bias, np.zeros(more), -free]),
            upper=np.concatenate([self.upper, bias, free, lift]),
            low=np.concatenate([self.low, low, np.zeros(more)]),
            high=np.concatenate([self.high, high, high[unstable]]),
            places=places,
        )

    def costs(self, weight: sp.csr_matrix) -> sp.csr_matrix:
        """Return `weight` (q, k) of the values of the last layer as functions (q, v) of the variables."""
        entries = weight.tocoo()
        kept = self.places[entries.col] >= 0
        where = entries.row[kept], self.places[entries.col[kept]]
        return sp.csr_matrix((entries.data[kept], where), shape=(weight.shape[0], self.rows.shape[1]))

    def bounds(self, costs: sp.csr_matrix, duals: Floats) -> Floats:
        """Return upper bounds (q,) of `costs` (q, v) over the relaxation by any multipliers `duals` (q, r) of its rows.

        The inputs are maximised over the region itself, whatever the rows that an engine was given for it.
        """
        size, region = self.region.size, self.region

        def peak(slopes: Floats) -> Floats:
            top, rest = region.support(slopes[:, :size]), box_peak(slopes[:, size:], self.low, self.high)
            total = top + rest
            return np.nextafter(total + 4.0 * EPS * (np.abs(top) + np.abs(rest)), np.inf)

        reach = np.concatenate([region.reach, np.maximum(np.abs(self.low), np.abs(self.high))])
        return dual_bounds(costs.toarray(), self.rows, (self.lower, self.upper), duals, reach, peak)

    def left(self, costs: sp.csr_matrix, duals: Floats) -> Floats:
        """Return the functions (q, d) of the inputs that multipliers `duals` (q, r) leave of `costs` (q, v)."""
        return np.asarray(costs.toarray() - (self.rows.T @ duals.T).T)[:, : self.region.size]

    def model(self) -> tuple[Milp, sp.csr_matrix]:
        """Return the linear program for an engine, and the matrix M (v, w) that makes our variables of its own.

        Its first r rows are ours, up to rounding. An L1 ball has moves and a row for their sum; an L2 ball is its box.
        """
        size = self.region.size
        ball = self.region.base if isinstance(self.region.base, L1Ball) else Box(self.region.lower, self.region.upper)
        inputs = input_variables(ball, np.arange(size))
        mapping = sp.block_diag([inputs.matrix(inputs.count), sp.eye(len(self.low))], format="csr")
        shift = self.rows[:, :size] @ inputs.base
        own = sp.hstack([inputs.rows, sp.csr_matrix((len(inputs.row_upper), len(self.low)))], format="csr")
        milp = Milp(
            cost=np.zeros(mapping.shape[1]),
            constant=0.0,
            error=0.0,
            rows=sp.vstack([self.rows @ mapping, own], format="csr"),
            row_lower=np.concatenate([self.lower - shift, np.full(len(inputs.row_upper), -np.inf)]),
            row_upper=np.concatenate([self.upper - shift, inputs.row_upper]),
            lower=np.concatenate([inputs.lower, self.low]),
            upper=np.concatenate([inputs.upper, self.high]),
            integer=np.zeros(mapping.shape[1], dtype=bool),
        )
        return milp, mapping


def over_inputs(region: Box) -> Triangles:
    """Return the relaxation of no layer: the inputs alone."""
    none, size = np.zeros(0), region.size
    return Triangles(region, sp.csr_matrix((0, size)), none, none, none, none, np.arange(size))


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64], entries: Floats, count: int) -> sp.csr_matrix:
    """Return rows (q, count) with `entries` at `first` and 1 at `second`."""
    where = np.tile(np.arange(len(first)), 2), np.concatenate([first, second])
    return sp.csr_matrix((np.concatenate([entries, np.ones(len(second))]), where), shape=(len(first), count))

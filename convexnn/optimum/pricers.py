"""Pricers: what says, of a dual point, which gates would help, and how much the best gate of all can help at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from convexnn.checks import Floats
from convexnn.patterns.activation_patterns import gate_tiles, masks, sample_patterns
from convexnn.patterns.arrangements import count_patterns, distinct_lines, row_space
from convexnn.pricing.ascent import ascend, random_starts
from convexnn.pricing.functions import UNIT, PricedFunction, plain_gated_bound
from convexnn.pricing.polishing import polish
from convexnn.pricing.price import MOST_INPUTS, Pricing, price_exactly
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution

# Most and fewest random starts of an ascent, fewer where starts times the entries of X are more than the work; copies
# of each live neuron with noise of these sizes beside it.
STARTS, FEWEST, WORK, NOISE = 200, 32, 1 << 25, (0.0, 0.02, 0.1)

# Patterns up to which those of a gated program are enumerated, each time all are priced.
ENUMERABLE = 200_000

# The best ends of the paths are polished, where there are few inputs.
POLISHED, POLISHED_INPUTS = 32, 30

# Steps of the climb over gates, and the width of the band of rows that a step sees: wide, then narrow.
GATED_STEPS, WIDEST, NARROWEST = 30, 0.5, 0.02


class Pricer(Protocol):
    """Prices gates for dual points theta (n, k); `exact` where it can prove that none is missing."""

    @property
    def exact(self) -> bool:
        """Whether a proof is within reach."""

    def prices(self, theta: Floats, gates: Floats) -> Floats:
        """Return the prices (p,) of gates (p, d) of any length."""

    def search(self, theta: Floats, neurons: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return values (p,), best first, and gates (p, d) that reach them; `neurons` are good places to begin."""

    def prove(self, theta: Floats, target: float, beat: float, seconds: float | None) -> Pricing:
        """Bound the largest value, to the target or until a gate is found that beats what is to be beaten."""


class NeuronPricer:
    """Cone programs: |sum_i theta_i relu(x_i . u)| over the ball of the penalty."""

    def __init__(self, rows: Floats, ball: str, strength: float, stop: Callable[[], bool] = lambda: False) -> None:
        self.rows, self.ball, self.strength, self.stop = rows, ball, strength, stop

    @property
    def exact(self) -> bool:
        """Whether there are few enough inputs to cut space into cones."""
        return min(self.rows.shape) <= MOST_INPUTS

    def prices(self, theta: Floats, gates: Floats) -> Floats:
        """Return max over c of |sum_i theta_ic relu(x_i . u)| / ||u||."""
        heights = np.abs(np.maximum(gates @ self.rows.T, 0.0) @ theta).max(axis=1)
        lengths: Floats = np.linalg.norm(gates, 1 if self.ball == "l1" else 2, axis=1)
        return heights / lengths

    def search(self, theta: Floats, neurons: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return the ends of the paths from random starts and from near the live neurons."""
        starts = _starts(self.rows, neurons, rng)
        if self.ball == "l1":
            starts = np.concatenate([starts, np.eye(starts.shape[1]), -np.eye(starts.shape[1])])
        values, points = ascend(self.rows, theta, starts, self.ball, self.stop)
        if self.stop() or self.ball == "l1" or self.rows.shape[1] > POLISHED_INPUTS:
            return values, points
        best = points[:POLISHED]
        peaks = np.array([self._polished(theta, point) for point in best[best.any(axis=1)]]).reshape(
            -1, points.shape[1]
        )
        values, points = np.concatenate([self.prices(theta, peaks), values]), np.concatenate([peaks, points])
        order = np.argsort(-values, kind="stable")
        return values[order], points[order]

    def _polished(self, theta: Floats, point: Floats) -> Floats:
        """Return the local maximum near a point, of the column and sign that are largest there."""
        heights = np.maximum(self.rows @ point, 0.0) @ theta
        column = int(np.abs(heights).argmax())
        return polish(self.rows, np.sign(heights[column]) * theta[:, column], point)

    def prove(self, theta: Floats, target: float, beat: float, seconds: float | None) -> Pricing:
        """Return the bound of branch and bound."""
        return price_exactly(self.rows, theta, self.strength, target, ball=self.ball, beat=beat, time_limit=seconds)


class CellPricer:
    """Gated programs whose patterns can be listed: the dual norm of X^T D theta for every pattern."""

    exact = True

    def __init__(self, rows: Floats, cells: Floats, norm: str) -> None:
        self.rows, self.cells, self.norm = rows, cells, norm

    def prices(self, theta: Floats, gates: Floats) -> Floats:
        """Return the dual norms."""
        return gated_values(self.rows, theta, gates, self.norm)

    def search(self, theta: Floats, neurons: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return all values, best first, and their gates."""
        values = np.concatenate([gated_values(self.rows, theta, self.cells[tile], self.norm) for tile in self._tiles()])
        order = np.argsort(-values, kind="stable")
        return values[order], self.cells[order]

    def prove(self, theta: Floats, target: float, beat: float, seconds: float | None) -> Pricing:
        """Return the largest value, with what rounding can hide."""
        values, gates = self.search(theta, np.zeros((0, self.rows.shape[1])), np.random.default_rng(0))
        size = max(PricedFunction(self.rows, column).size for column in theta.T)
        bound = float(values[0]) + 4.0 * sum(self.rows.shape) * UNIT * size
        reason = "beaten" if values[0] > min(beat, target) else "proven"
        return Pricing(bound, float(values[0]), gates[values > beat], values[values > beat], len(values), reason)

    def _tiles(self) -> list[slice]:
        return list(gate_tiles(len(self.rows), len(self.cells)))


class GatePricer:
    """Gated programs with too many patterns to list: gates by ascent, and a bound that is weak."""

    exact = False

    def __init__(self, rows: Floats, norm: str, stop: Callable[[], bool] = lambda: False) -> None:
        self.rows, self.norm, self.stop = rows, norm, stop

    def prices(self, theta: Floats, gates: Floats) -> Floats:
        """Return the dual norms."""
        return gated_values(self.rows, theta, gates, self.norm)

    def search(self, theta: Floats, neurons: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return the best gates on paths that turn towards rows whose share of the slope is positive.

        With w = X^T D theta / ||.|| a row adds c_i = theta_i x_i . w to ||X^T D theta|| where its gate is on: the gate
        turns by the rows near its boundary, those with c_i > 0 to the active side.
        """
        starts = _starts(self.rows, neurons, rng)
        found = [self._paths(column, starts) for column in theta.T]
        values = np.concatenate([value for value, _ in found])
        gates = np.concatenate([gate for _, gate in found])
        order = np.argsort(-values, kind="stable")
        return values[order], gates[order]

    def _paths(self, theta: Floats, gates: Floats) -> tuple[Floats, Floats]:
        lengths = np.sqrt(np.square(self.rows).sum(axis=1))
        units = self.rows / np.where(lengths > 0.0, lengths, 1.0)[:, None]
        weighted = theta[:, None] * self.rows
        gates = _units(gates)
        best, where = np.full(len(gates), -np.inf), gates.copy()
        for width in np.geomspace(WIDEST, NARROWEST, GATED_STEPS):
            products = gates @ units.T
            slopes = (products >= 0.0).astype(np.float64) @ weighted
            values = _norms(slopes, self.norm)
            better = values > best
            best, where[better] = np.where(better, values, best), gates[better]
            pull = (_dual_directions(slopes, self.norm) @ weighted.T) * np.exp(-0.5 * (products / width) ** 2)
            gates = _units(gates + width * _units(pull @ units))
            if self.stop():
                break
        return best, where

    def prove(self, theta: Floats, target: float, beat: float, seconds: float | None) -> Pricing:
        """Return the bound of one look."""
        bound = max(plain_gated_bound(self.rows, column) for column in theta.T)
        reason = "proven" if bound <= target else "too many patterns to list"
        return Pricing(bound, 0.0, np.zeros((0, self.rows.shape[1])), np.zeros(0), 0, reason)


def pricer_for(program: ConvexProgram, stop: Callable[[], bool] = lambda: False) -> Pricer:
    """Return the pricer of a program with penalty group_l1 or l1; where `stop` says so its searches end early."""
    assert program.penalty is not None
    assert program.strength is not None
    ball = "l1" if program.penalty.name == "l1" else "l2"
    if program.cone:
        return NeuronPricer(program.rows, ball, program.strength, stop)
    lines = distinct_lines(program.rows)
    if len(lines) and count_patterns(len(lines), len(row_space(lines))) <= ENUMERABLE:
        cells = sample_patterns(program.X, kind="enumerate", bias=program.patterns.bias)
        return CellPricer(program.rows, cells.generators, ball)
    return GatePricer(program.rows, ball, stop)


def dual_point(solution: Solution) -> Floats:
    """Return the dual point of a solution: the solver's own where it told one."""
    if solution.dual is not None:
        return solution.dual
    program = solution.program
    prediction = solution.predict(program.X).reshape(program.targets.shape)
    theta: Floats = -program.loss.gradient(prediction, program.targets)
    return theta


def gated_values(rows: Floats, theta: Floats, gates: Floats, norm: str) -> Floats:
    """Return for each gate (m, d) the largest dual norm of X^T D theta_c over the columns c of theta (n, k), (m,)."""
    active = masks(rows, gates).T.astype(np.float64)
    return np.max([_norms(active @ (column[:, None] * rows), norm) for column in theta.T], axis=0)


def _norms(slopes: Floats, norm: str) -> Floats:
    """Return the dual norms of slopes (m, d): Euclidean for group_l1 (ball l2), the largest entry for l1."""
    result: Floats = np.sqrt(np.square(slopes).sum(axis=1)) if norm == "l2" else np.abs(slopes).max(axis=1)
    return result


def _dual_directions(slopes: Floats, norm: str) -> Floats:
    """Return w with w . slope = the dual norm, of length 1 in the penalty's norm."""
    if norm == "l2":
        return _units(slopes)
    result = np.zeros_like(slopes)
    lane, first = np.arange(len(slopes)), np.abs(slopes).argmax(axis=1)
    result[lane, first] = np.sign(slopes[lane, first])
    return result


def _units(vectors: Floats) -> Floats:
    lengths = np.sqrt(np.square(vectors).sum(axis=1))
    result: Floats = vectors / np.where(lengths > 0.0, lengths, 1.0)[:, None]
    return result


def _starts(rows: Floats, neurons: Floats, rng: np.random.Generator) -> Floats:
    """Return random starts, and some near the live neurons."""
    count = min(STARTS, max(FEWEST, WORK // rows.size))
    return np.concatenate([random_starts(rows, count, rng), _near(neurons, rng)])


def _near(neurons: Floats, rng: np.random.Generator) -> Floats:
    """Return the neurons (p, d) at unit length, each with noise of several sizes."""
    units = _units(neurons)
    scale = 1.0 / np.sqrt(max(1, units.shape[1]))
    return np.concatenate([units + noise * scale * rng.standard_normal(units.shape) for noise in NOISE])

"""Maxima, minima and ranges of the outputs: bounds, gradient ascent, then one MILP a function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_vector
from convexnn.network import SparseReLUNetwork
from verify.answers.answer import Proof
from verify.answers.checked_result import CheckedResult
from verify.answers.optimum import Optimum, OutputRange, Status
from verify.answers.replay import replay_of
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import check_sizes
from verify.points.surrogates import read_surrogates
from verify.questions.engines import ask_milp, choose_engine
from verify.questions.inquiry import Inquiry
from verify.questions.portfolio import Portfolio
from verify.questions.resources import resources_of
from verify.questions.splitting import split
from verify.reading.read_network import read_simple
from verify.regions.box import Box

# The share of its size within which a value found counts as the optimum, and of the width of its interval bounds:
# values near 0 are rounded in proportion to their terms.
GAP = 1e-6
ROUNDING = 1e-12

# What products that underflow may leave between a value of 0 and its bound.
UNDERFLOW = 1e-290

# How often a point that branch and bound finds above the best one is climbed from.
CLIMBS = 20

# Shares of the time left: of the first branch and bound, and of the search after it, without and with surrogates.
FIRST_SHARE, SEARCH_SHARE, SURROGATES_SHARE = 0.05, 0.1, 0.8

# An engine's point may lie outside by its tolerances: at most this share of the value may come of it.
OUTSIDE = 1e-3


def maximize(
    network: Any,
    region: Box,
    objective: int | ArrayLike | None = None,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    model: Any = None,
    surrogates: Sequence[Any] = (),
) -> Optimum:
    """Find the largest value of an output, or of a linear function c . outputs, over a region.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes, k outputs.
    region : Box, LinfBall, L1Ball or L2Ball, or a part of one by :meth:`verify.Box.where`
        The inputs allowed.
    objective : int or array_like (k,), optional
        The output's index, 0 to k - 1, or c; needed for several outputs.
    time_limit, backend, seed, model, surrogates
        As in :func:`verify.find_adversarial`.

    Returns
    -------
    Optimum
        OPTIMAL, LIMIT or UNKNOWN, with the value found, a proven bound, and the witness.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    max c . f(x) over x in the region: as a MILP (Tjeng, Xiao and Tedrake 2019) where CROWN bounds do not meet what
    gradient ascent reaches. The value is recomputed in the network. OPTIMAL: the bound exceeds it by at most 1e-6 of
    its size (or 1e-12 of the width of interval bounds), and what the engine's tolerances can amount to.
    """
    return _extreme(1.0, network, region, objective, (time_limit, backend, seed, model, surrogates))


def minimize(
    network: Any,
    region: Box,
    objective: int | ArrayLike | None = None,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    model: Any = None,
    surrogates: Sequence[Any] = (),
) -> Optimum:
    """Find the smallest value of an output, or of a linear function of the outputs; see :func:`maximize`."""
    return _extreme(-1.0, network, region, objective, (time_limit, backend, seed, model, surrogates))


def output_range(
    network: Any,
    region: Box,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
) -> OutputRange:
    """Find the range of every output over a region; arguments as in :func:`maximize`, one time limit for all."""
    net = read_simple(network)
    check_sizes(net, region)
    count = net.n_outputs
    inquiry = Inquiry(_functions(net, np.eye(count)), region, resources_of(time_limit, backend, seed))
    maxima = tuple(_Maximization(inquiry, index, 1.0).optimum() for index in range(count))
    mirrored = Inquiry(_functions(net, -np.eye(count)), region, inquiry.resources)
    minima = tuple(_Maximization(mirrored, index, -1.0).optimum() for index in range(count))
    return OutputRange(
        lower=np.array([found.bound for found in minima]),
        upper=np.array([found.bound for found in maxima]),
        reached_lower=np.array([found.value for found in minima]),
        reached_upper=np.array([found.value for found in maxima]),
        minima=minima,
        maxima=maxima,
        seconds=inquiry.clock.seconds,
    )


def _extreme(
    sign: float, network: Any, region: Box, objective: int | ArrayLike | None, options: tuple[Any, ...]
) -> Optimum:
    net = read_simple(network)
    check_sizes(net, region)
    weights = objective_of(net, objective)
    time_limit, backend, seed, model, surrogates = options
    copies = read_surrogates(net, surrogates)
    resources = resources_of(time_limit, backend, seed, replay_of(network, model, region.center), copies)
    return _Maximization(Inquiry(_functions(net, sign * weights[None]), region, resources), 0, sign).optimum()


def objective_of(network: SparseReLUNetwork, objective: int | ArrayLike | None) -> Floats:
    """Return the weights (k,) of an objective: an output's index, weights, or None for a single output."""
    count = network.n_outputs
    if objective is None:
        if count > 1:
            raise ValueError(f"objective is None for {count} outputs; expected an output's index or {count} weights")
        return np.ones(1)
    if isinstance(objective, int | np.integer) and not isinstance(objective, bool):
        if not 0 <= objective < count:
            raise ValueError(f"objective is {objective}; expected the index of an output, 0 to {count - 1}")
        return np.eye(count)[int(objective)]
    return as_vector(objective, "objective", count, "weight per output")


def _functions(network: SparseReLUNetwork, rows: Floats) -> Functions:
    return Functions(sp.csr_matrix(rows), np.zeros(len(rows)), network)


class _Maximization:
    """The largest value of one function of an inquiry, on its way; a `sign` of -1 says that it stands for a minimum."""

    def __init__(self, inquiry: Inquiry, index: int, sign: float) -> None:
        self.inquiry, self.index, self.sign = inquiry, index, sign
        self.began, self.first = inquiry.clock.seconds, len(inquiry.trace)
        self.tolerance, self.leak = 0.0, 0.0
        width = float(inquiry.widths[index])
        self.rounding = ROUNDING * width if np.isfinite(width) else 0.0

    def optimum(self) -> Optimum:
        """Decide by the cheapest means that can."""
        self.inquiry.note("interval bounds", f"at most {self._bound:.6g}")
        if self.inquiry.proof is Proof.INTERVAL:
            self.inquiry.tighten()
        self.inquiry.note("CROWN bounds", f"at most {self._bound:.6g}")
        if not self.inquiry.clock.over():
            self.inquiry.climb([self.index])
            self.inquiry.climb([self.index], self.inquiry.crown_peak([self.index]))
            self.inquiry.note("gradient ascent", f"at least {self._value:.6g}")
        if self._closed():
            return self._end(Status.OPTIMAL, "Outward-rounded bounds meet the value found.", self.inquiry.proof)
        for share in (FIRST_SHARE, 1.0):
            self._split(share)
            if self._closed():
                return self._end(Status.OPTIMAL, "Branch and bound meets the value found.", self.inquiry.proof)
            if share < 1.0:
                self._explore()
        return self._ask_engine()

    def _explore(self) -> None:
        """Search for a larger value: with surrogates for most of the time, without after branch and bound alone."""
        clock, resources = self.inquiry.clock, self.inquiry.resources
        copies = resources.surrogates
        switching = any(len(layer.switching) for layer in self.inquiry.layers[:-1])
        if clock.over() or not (copies or (resources.branching_share and switching)):
            return
        portfolio = Portfolio(self.inquiry, copies, lambda point: False)
        share = SURROGATES_SHARE if copies else SEARCH_SHARE
        portfolio.search([self.index], clock.seconds + share * clock.left, bool(copies))
        self.inquiry.note("portfolio", f"at least {self._value:.6g}, by {portfolio.source or 'what was known'}")

    def _split(self, share: float) -> None:
        """Prove that nothing is above the best value but for the tolerance, or climb on from what is."""
        for _ in range(CLIMBS):
            if not np.isfinite([self._bound, self._value]).all():
                return
            level = self._value + 0.5 * GAP * max(abs(self._bound), abs(self._value)) + self.rounding
            above: list[Floats] = []
            if not split(self.inquiry, [self.index], partial(self._rises, above, level), level, share):
                return
            self.inquiry.climb([self.index], above[-1])

    def _rises(self, above: list[Floats], level: float, point: Floats) -> bool:
        above.append(point)
        return bool(self.inquiry.record(point)[self.index] > level)

    def _ask_engine(self) -> Optimum:
        trouble = choose_engine(self.inquiry)
        if trouble is not None:
            return self._end(Status.UNKNOWN, trouble, self.inquiry.proof)
        if self.inquiry.clock.over():
            return self._end(Status.LIMIT, "The time limit was reached before an engine was asked.", self.inquiry.proof)
        checked = ask_milp(self.inquiry, [self.index])
        self.leak = checked.leak
        if checked.rejection is not None:
            return self._end(Status.UNKNOWN, _sentence(checked.rejection), self.inquiry.proof)
        return self._judge(checked)

    def _judge(self, checked: CheckedResult) -> Optimum:
        proof, engine = self.inquiry.proof, self.inquiry.engine_asked
        if self._closed():
            return self._end(Status.OPTIMAL, "Outward-rounded dual bounds meet the value found.", proof)
        if checked.bound < self._bound:
            self.inquiry.upper[self.index], self.tolerance, proof = checked.bound, checked.allowance, Proof.SOLVER
        if self.inquiry.region.is_loose:
            # The engine's point lies outside by its tolerances, which is worth what it loses on the way in.
            self.tolerance += min(max(checked.leak, 0.0), OUTSIDE * abs(self._bound))
        if self._closed():
            return self._end(Status.OPTIMAL, f"The MILP bound of {engine} meets the value found.", proof)
        if checked.limited:
            return self._end(Status.LIMIT, f"The time limit was reached by {engine}.", proof)
        if not np.isfinite(self._value):
            return self._end(Status.UNKNOWN, f"No input of the region was found. {self.inquiry.caveat}".strip(), proof)
        words = f"{engine} calls its point optimal, but the value there is off its bound by {self._gap:.3g}."
        return self._end(Status.UNKNOWN, f"{words} {self.inquiry.caveat}".strip(), proof)

    @property
    def _bound(self) -> float:
        return float(self.inquiry.upper[self.index])

    @property
    def _value(self) -> float:
        return float(self.inquiry.reached[self.index])

    @property
    def _gap(self) -> float:
        return self._bound - self._value

    def _closed(self) -> bool:
        """Whether bound and value differ by no more than tolerance and rounding explain."""
        if not np.isfinite([self._bound, self._value]).all():
            return False
        return self._gap <= self.tolerance + self.rounding + UNDERFLOW + GAP * max(abs(self._bound), abs(self._value))

    def _end(self, status: Status, reason: str, proof: Proof | None) -> Optimum:
        witness = self.inquiry.points[self.index].copy()
        return Optimum(
            status=status,
            sense="maximum" if self.sign > 0.0 else "minimum",
            value=self.sign * self._value + 0.0,
            bound=self.sign * self._bound + 0.0,
            witness=witness,
            tolerance=self.tolerance,
            leak=self.sign * self.leak + 0.0,
            proof=proof if np.isfinite(self._bound) else None,
            reason=reason,
            seconds=self.inquiry.clock.seconds - self.began,
            backend=self.inquiry.engine_asked,
            replayed=self._replayed(witness),
            trace=tuple(self.inquiry.trace[self.first :]),
        )

    def _replayed(self, witness: Floats) -> float | None:
        if self.inquiry.resources.replay is None:
            return None
        outputs = self.inquiry.resources.replay.outputs(witness)
        return self.sign * float(self.inquiry.functions.of(outputs[None])[0, self.index]) + 0.0


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

"""Maxima and minima of the outputs: bounds, gradient ascent, then one MILP a function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.answers.answer import Proof
from verify.answers.checked_result import CheckedResult
from verify.answers.optimum import Optimum, Status
from verify.answers.replay import replay_of
from verify.bounds.evaluation_error import EvaluationError
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.objectives import weights_of, with_values
from verify.points.polishing import polish
from verify.points.surrogates import read_surrogates
from verify.questions.engines import ask_milp, choose_engine, out_of_time
from verify.questions.inquiry import ROUNDED, UNDERFLOW, Inquiry
from verify.questions.portfolio import Portfolio
from verify.questions.resources import INTERRUPTION, answer_of, resources_of
from verify.reading.read_network import read_simple
from verify.regions.box import Box
from verify.splitting.cones import cut_into_cones
from verify.splitting.rising import Rising
from verify.splitting.schedule import SCHEDULE, asks_early, takes_programs

# The share of its size within which a value found counts as the optimum.
GAP = 1e-6

# The share of the value at the center within which a value is 0: it has no size of its own, and its bound is proven by
# sums of terms that are as large as the function elsewhere.
ZERO = 1e-9

# Shares of the time left: of the first branch and bound, and of the search after it, without and with surrogates.
FIRST_SHARE, SEARCH_SHARE, SURROGATES_SHARE = 0.05, 0.1, 0.8

# An engine's bound proves an optimum where its tolerances amount to at most this share of it, and the share of the time
# left that branch and bound has where they amount to more.
COARSE, AFTER_ENGINES = 1e-3, 1.0

# Weights up to which points are polished as soon as they are found, and the seconds of each linear program.
POLISHED, PROGRAM = 1 << 13, 0.5

BRANCHED, DUAL = "Branch and bound meets the value found.", "Outward-rounded dual bounds meet the value found."


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
    n_jobs: int | None = 1,
) -> Optimum:
    """Find the largest value of an output, or of a linear function of the outputs, over a region.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes, k outputs.
    region : Box, LinfBall, L1Ball or L2Ball, or a part of one by :meth:`verify.Box.where`
        The inputs allowed.
    objective : int or array_like (k,), optional
        The output's index, 0 to k - 1, or the weights of the linear function; needed for several outputs.
    time_limit, backend, seed, model, surrogates, n_jobs
        As in :func:`verify.find_adversarial`.

    Returns
    -------
    Optimum
        OPTIMAL, LIMIT, UNKNOWN or INTERRUPTED (by Ctrl-C), with the value found, a proven bound, and the witness.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    max c . f(x) over x in the region: as a MILP (Tjeng, Xiao and Tedrake 2019) where CROWN bounds do not meet what
    gradient ascent reaches. The value is recomputed in the network. OPTIMAL: the bound exceeds it by at most 1e-6 of
    the larger of both, the error of evaluating it, and what underflows (`tolerance`); or both are 0 within 1e-9 of the
    value at the center. What the tolerances of an engine can amount to (`allowance`) closes nothing: above 1e-3 of the
    value branch and bound has the time that is left; below, a proof by the engine (SOLVER) is as good as they are. One
    hidden layer without biases over an L2 ball around zero, with up to 5 inputs, is cut into cones first.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], None)])
    >>> verify.maximize(network, verify.Box([-1.0, -1.0], [2.0, 1.0]))
    <OPTIMAL: maximum found 4, proven bound 4>
    """
    return _extreme(1.0, network, region, objective, (time_limit, backend, seed, model, surrogates, n_jobs))


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
    n_jobs: int | None = 1,
) -> Optimum:
    """Find the smallest value of an output, or of a linear function of the outputs; see :func:`maximize`.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> verify.minimize(network, verify.Box([0.5], [2.0])).status.name
    'OPTIMAL'
    """
    return _extreme(-1.0, network, region, objective, (time_limit, backend, seed, model, surrogates, n_jobs))


def _extreme(
    sign: float, network: Any, region: Box, objective: int | ArrayLike | None, options: tuple[Any, ...]
) -> Optimum:
    def begin() -> Maximization:
        net = with_values(read_simple(network), "maximize" if sign > 0.0 else "minimize")
        check_sizes(net, region)
        weights = weights_of(objective, net.n_outputs)
        time_limit, backend, seed, model, surrogates, n_jobs = options
        resources = resources_of(time_limit, backend, seed, replay_of(network, model, region.center), n_jobs)
        resources = resources.beside(read_surrogates(net, surrogates))
        return Maximization(Inquiry(functions_of(net, sign * weights[None]), region, resources), 0, sign)

    return answer_of(begin, partial(nothing_known, sign, region))


def nothing_known(sign: float, region: Box, seconds: float) -> Optimum:
    """Return the answer to a question that was interrupted before anything was known."""
    return Optimum(
        status=Status.INTERRUPTED,
        sense="maximum" if sign > 0.0 else "minimum",
        value=-sign * np.inf,
        bound=sign * np.inf,
        witness=region.center.copy(),
        tolerance=0.0,
        leak=0.0,
        proof=None,
        reason=INTERRUPTION,
        seconds=seconds,
        backend=None,
        replayed=None,
        trace=(),
    )


def functions_of(network: SparseReLUNetwork, rows: Floats) -> Functions:
    """Return linear functions of the outputs, `rows` (t, k)."""
    return Functions(sp.csr_matrix(rows), np.zeros(len(rows)), network)


class Maximization:
    """The largest value of one function of an inquiry, on its way; a `sign` of -1 says that it stands for a minimum."""

    def __init__(self, inquiry: Inquiry, index: int, sign: float) -> None:
        self.inquiry, self.index, self.sign = inquiry, index, sign
        self.began, self.first = inquiry.clock.seconds, len(inquiry.trace)
        self.allowance, self.leak = 0.0, 0.0
        at_center = float(inquiry.at_center[index])
        self.zero = ZERO * abs(at_center) if np.isfinite(at_center) else 0.0
        self.error = EvaluationError(inquiry.functions, index, inquiry.region)
        self.rising = Rising(inquiry, index, self._polish)

    def by_now(self) -> Optimum:
        """Return what is known by now."""
        return self._end(Status.INTERRUPTED, INTERRUPTION, self.inquiry.proof)

    def decide(self) -> Optimum:
        """Decide by the cheapest means that can."""
        self.inquiry.note("interval bounds", f"at most {self._bound:.6g}")
        if self.inquiry.proof is Proof.INTERVAL:
            self.inquiry.tighten()
        if self.inquiry.proof is not Proof.INTERVAL:
            self.inquiry.note("CROWN bounds", f"at most {self._bound:.6g}")
        if not self.inquiry.clock.over():
            self.inquiry.climb([self.index])
            self.inquiry.climb([self.index], self.inquiry.crown_peak([self.index]))
            self.inquiry.note("gradient ascent", f"at least {self._value:.6g}")
            self._polish()
        self._settle()
        if not self._closed():
            cut_into_cones(self.inquiry, self.index, self._level)
        if self._closed():
            return self._end(Status.OPTIMAL, "Outward-rounded bounds meet the value found.", self.inquiry.proof)
        for share in (FIRST_SHARE, 1.0):
            self._split(share, self._branching_share())
            self._settle()
            if self._closed():
                return self._end(Status.OPTIMAL, BRANCHED, self.inquiry.proof)
            if share < 1.0:
                found = self._ask_early()
                if found is not None:
                    return found
                self._explore()
        return self._ask_engine()

    def _polish(self) -> None:
        """Move the best point of a small network to the best one with its activation pattern, by linear programs.

        Where splitting uses linear programs, it begins with that one.
        """
        inquiry, before = self.inquiry, self._value
        if inquiry.resources.branching_share and takes_programs(inquiry):
            return
        small = sum(weight.nnz for weight, _ in inquiry.functions.network.layers) <= POLISHED
        if not small or inquiry.clock.over() or choose_engine(inquiry) is not None or inquiry.engine is None:
            return
        network, row, start = inquiry.functions.network, inquiry.functions.row(self.index), inquiry.points[self.index]
        inquiry.record(polish(network, inquiry.region, row, start, inquiry.engine, min(PROGRAM, inquiry.clock.left)))
        if self._value > before:
            inquiry.note("polishing", f"at least {self._value:.6g}")

    def _settle(self) -> None:
        """Take inputs of few bits near the best one, and be exact where its value meets the bound but for rounding."""
        inquiry, gap = self.inquiry, self._bound - self._value
        if GAP * abs(self._value) < gap <= ROUNDED * float(inquiry.reach[self.index]):
            inquiry.bound_exactly([self.index])
            inquiry.settle_best(self.index)

    def _explore(self) -> None:
        """Search for a larger value: with surrogates for most of the time, without after branch and bound alone."""
        clock, resources, copies = self.inquiry.clock, self.inquiry.resources, self.inquiry.resources.surrogates
        switching = any(len(layer.switching) for layer in self.inquiry.layers[:-1])
        # Where boxes close the region, a better value is found on the way.
        worth = copies or (resources.branching_share and switching and not self.rising.closing)
        if clock.over() or not worth:
            return
        portfolio = Portfolio(self.inquiry, copies, lambda point: False)
        share = SURROGATES_SHARE if copies else SEARCH_SHARE
        portfolio.search([self.index], clock.seconds + share * clock.left, bool(copies))
        self.inquiry.note("portfolio", f"at least {self._value:.6g}, by {portfolio.source or 'what was known'}")

    def _split(self, share: float, branching: float | None = None) -> None:
        """Prove that nothing is above the best value but for half the tolerance, or climb on from what is."""
        self.rising.run(self._level, self._closed, share, branching)

    def _branching_share(self) -> float | None:
        """Return the share of the time for splitting, where it is not that of the resources."""
        mixed = 0.0 < self.inquiry.resources.branching_share < 1.0 and not self.inquiry.resources.surrogates
        return SCHEDULE.program_share if mixed and takes_programs(self.inquiry) else None

    def _level(self) -> float:
        return self._value + 0.5 * (GAP * abs(self._value) + self._least + self._evaluation_error())

    def _ask_early(self) -> Optimum | None:
        """Ask the engine for a part of the time, where that may be enough for an optimum."""
        worth = asks_early(self.inquiry, single=True) and not self.rising.closing and not out_of_time(self.inquiry)
        asked = worth and choose_engine(self.inquiry) is None
        checked = ask_milp(self.inquiry, [self.index], share=SCHEDULE.engine_share) if asked else None
        return None if checked is None or checked.rejection is not None else self._optimum_by(checked)

    def _ask_engine(self) -> Optimum:
        trouble = choose_engine(self.inquiry)
        if trouble is not None:
            return self._end(Status.UNKNOWN, trouble, self.inquiry.proof)
        if out_of_time(self.inquiry):
            return self._end(Status.LIMIT, "The time limit was reached before an engine was asked.", self.inquiry.proof)
        checked = ask_milp(self.inquiry, [self.index])
        if checked.rejection is not None:
            self.leak = checked.leak
            return self._end(Status.UNKNOWN, checked.rejection[:1].upper() + checked.rejection[1:], self.inquiry.proof)
        return self._judge(checked)

    def _judge(self, checked: CheckedResult) -> Optimum:
        found = self._optimum_by(checked)
        if found is None and not self.inquiry.clock.over():
            self._split(1.0, AFTER_ENGINES)
            found = self._end(Status.OPTIMAL, BRANCHED, self.inquiry.proof) if self._closed() else None
        return found or self._open_after(checked)

    def _optimum_by(self, checked: CheckedResult) -> Optimum | None:
        """Return the optimum where what an engine proves meets the value found."""
        self.leak = checked.leak
        if self._closed():
            return self._end(Status.OPTIMAL, DUAL, self.inquiry.proof)
        if checked.point is not None:
            self.inquiry.climb([self.index], checked.point)
            self._settle()
        if not self._meets(checked):
            return None
        self._take(checked)
        words = f"The MILP bound of {self.inquiry.engine_asked} meets the value found."
        return self._end(Status.OPTIMAL, words, Proof.SOLVER)

    def _meets(self, checked: CheckedResult) -> bool:
        """Whether an engine's bound meets the value, and what its tolerances amount to is little beside both."""
        little = checked.allowance <= COARSE * max(abs(checked.bound), abs(self._value))
        return little and self._closed_by(checked.bound)

    def _take(self, checked: CheckedResult) -> None:
        """Take an engine's bound; one below a value that is reached is off by its tolerances."""
        self.inquiry.upper[self.index] = min(self._bound, max(checked.bound, self._value))
        self.inquiry.proof, self.allowance = Proof.SOLVER, checked.allowance

    def _open_after(self, checked: CheckedResult) -> Optimum:
        """Return what is known where neither an engine nor branch and bound after it closes the question."""
        engine, met = self.inquiry.engine_asked, self._closed_by(checked.bound)
        # Its bound counts where it is the best known even if its tolerances are all used up.
        if checked.bound + checked.allowance < self._bound:
            self._take(checked)
        proof = self.inquiry.proof
        if not np.isfinite(self._value):
            return self._end(Status.UNKNOWN, f"No input of the region was found. {self.inquiry.caveat}".strip(), proof)
        if checked.limited:
            return self._end(Status.LIMIT, f"The time limit was reached by {engine}.", proof)
        gap = checked.bound - self._value
        allowed = f"its tolerances can amount to {checked.allowance:.3g}"
        if met or gap <= checked.allowance:
            words = f"The bound of {engine} is {gap:.3g} above the value found, and {allowed}: too coarse for a proof."
        else:
            words = f"{engine} calls its point optimal, but the value there is off its bound by {gap:.3g}; {allowed}."
        return self._end(Status.UNKNOWN, f"{words} {self.inquiry.caveat}".strip(), proof)

    @property
    def _bound(self) -> float:
        return float(self.inquiry.upper[self.index])

    @property
    def _value(self) -> float:
        return float(self.inquiry.reached[self.index])

    def _closed(self) -> bool:
        """Whether the proven bound and the value found differ by no more than the tolerance."""
        return self._closed_by(self._bound)

    def _closed_by(self, bound: float) -> bool:
        if not np.isfinite([bound, self._value]).all():
            return False
        gap, allowed = bound - self._value, GAP * max(abs(bound), abs(self._value)) + self._least
        return gap <= allowed or gap <= allowed + self._evaluation_error(gap - allowed)

    def _evaluation_error(self, wanted: float = 0.0) -> float:
        """Return the error of evaluating the function near its value; 0 where it cannot matter or no time is left.

        It cannot where it is below the share GAP of the value, or below what is `wanted`.
        """
        point, stop = self.inquiry.points[self.index], self.inquiry.clock.over
        if not np.isfinite(self._value) or stop():
            return self.error.known_at(point)
        return self.error.at(point, max(GAP * abs(self._value), wanted), stop)

    @property
    def _least(self) -> float:
        """What value and bound may differ by, however small they are."""
        return UNDERFLOW + (self.zero if abs(self._value) <= self.zero else 0.0)

    @property
    def _tolerance(self) -> float:
        if not np.isfinite([self._bound, self._value]).all():
            return 0.0
        known = self.error.known_at(self.inquiry.points[self.index])
        return GAP * max(abs(self._bound), abs(self._value)) + known + self._least

    def _end(self, status: Status, reason: str, proof: Proof | None) -> Optimum:
        # The value first: an engine that was left may still find points, and no value is said that none reaches.
        value, witness = self._value, self.inquiry.points[self.index].copy()
        return Optimum(
            status=status,
            sense="maximum" if self.sign > 0.0 else "minimum",
            value=self.sign * value + 0.0,
            bound=self.sign * self._bound + 0.0,
            witness=witness,
            tolerance=self._tolerance,
            leak=self.sign * self.leak + 0.0,
            proof=proof if np.isfinite(self._bound) else None,
            reason=reason,
            seconds=self.inquiry.clock.seconds - self.began,
            backend=self.inquiry.engine_asked,
            replayed=self._replayed(witness),
            trace=tuple(self.inquiry.trace[self.first :]),
            allowance=self.allowance,
        )

    def _replayed(self, witness: Floats) -> float | None:
        if self.inquiry.resources.replay is None:
            return None
        outputs = self.inquiry.resources.replay.outputs(witness)
        return self.sign * float(self.inquiry.functions.of(outputs[None])[0, self.index]) + 0.0

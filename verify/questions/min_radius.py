"""The smallest adversarial radius: bisection between what is proven robust and the nearest witness."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from convexnn.checks import Floats, as_nonnegative
from convexnn.workers import as_jobs
from verify.answers.answer import Answer, Verdict
from verify.answers.radius import Nearness, Radius
from verify.answers.replay import original_of, replay_of
from verify.answers.witness import any_positive, check_point
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.margins import class_at, margins_of
from verify.bounds.objectives import threshold_of, with_order
from verify.clock import Clock
from verify.questions.find_adversarial import find_adversarial
from verify.questions.resources import INTERRUPTION, answer_of
from verify.reading.read_network import read_simple
from verify.regions.box import Box
from verify.regions.intervals import EPS

# Halvings of the way from the center to a witness, and questions of one bisection.
HALVINGS = 30
QUESTIONS = 60

# How far below the nearest witness the ball is that ends the search, in tolerances, and its share of the time left.
LAST, LAST_SHARE = 0.99, 0.5


def min_radius(
    network: Any,
    region: Box,
    label: int | None = None,
    *,
    target: int | None = None,
    tolerance: float = 1e-3,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int = 0,
    model: Any = None,
    n_jobs: int | None = 1,
) -> Radius:
    """Find the smallest radius at which an input around a center is misclassified.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes.
    region : LinfBall, L1Ball or L2Ball
        The largest ball to look in; its center, norm, clip and linear constraints are those of the answer.
    label, target, backend, seed, model, n_jobs
        As in :func:`verify.find_adversarial`.
    tolerance : float, default 1e-3
        How far `upper` may exceed `lower`, as a share of `upper`. Where the center is a tie, in rational arithmetic, it
        may do so by 2^-52 of the sizes of the center and of the region, within which inputs are hardly told apart.
    time_limit : float, default 60
        Seconds, for all questions together.

    Returns
    -------
    Radius
        FOUND, ROBUST, MISCLASSIFIED, LIMIT, UNKNOWN or INTERRUPTED (by Ctrl-C), with bounds on the radius and the
        nearest witness.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    Bisection over balls inside the region. A witness is drawn towards the center as long as it stays one, which costs
    evaluations alone, and its distance is the new upper end; a ball that is proven robust is the new lower end. Where
    one is, the nearest witness is likely to be the nearest of all: the next ball asked about is the one that ends the
    search if it is robust, for a part of the time.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])  # |x| - 1, above 0 at 2
    >>> radius = verify.min_radius(network, verify.LinfBall([2.0], 1.5))
    >>> radius.lower <= 1.0 <= radius.upper, round(radius.upper, 2)
    (True, 1.0)
    """
    ask = {"label": label, "target": target, "backend": backend, "seed": seed, "n_jobs": as_jobs(n_jobs)}

    def nothing_known(seconds: float) -> Radius:
        return Radius(Nearness.INTERRUPTED, 0.0, np.inf, None, label, INTERRUPTION, seconds, ())

    return answer_of(partial(_begin, network, region, tolerance, time_limit, model, ask), nothing_known)


def _begin(
    network: Any, region: Box, tolerance: float, time_limit: float, model: Any, ask: dict[str, Any]
) -> _Bisection:
    """Return the search, its arguments checked."""
    net = read_simple(network)
    check_sizes(net, region)
    if not hasattr(region.base, "radius"):
        raise TypeError(f"region is a {type(region.base).__name__}; expected a ball, such as LinfBall")
    share = as_nonnegative(tolerance, "tolerance")
    asked = {**ask, "model": original_of(network, model, region.center)}
    return _Bisection(net, region, Clock(as_nonnegative(time_limit, "time_limit")), asked, share)


TIE = "The center is a tie, which is not misclassified; inputs as near to it as rounding are."


class _Bisection:
    """The search for one radius; what is proven robust is `lower`, the distance of the nearest witness `upper`."""

    def __init__(self, network: Any, region: Any, clock: Clock, ask: dict[str, Any], share: float) -> None:
        self.network, self.region, self.clock, self.ask, self.share = network, region, clock, ask, share
        self.lower, self.upper = 0.0, np.inf
        self.witness: Floats | None = None
        # Whether the last ball was robust, and whether the one that ends the search is worth a question.
        self._robust, self._hopeful = False, True
        self.answers: list[Answer] = []
        self.replay = replay_of(network, ask["model"], threshold=threshold_of(network))
        self.order = with_order(network)[1]

    def by_now(self) -> Radius:
        """Return the bounds known by now."""
        return self._end(Nearness.INTERRUPTED, INTERRUPTION)

    def decide(self) -> Radius:
        """Ask about the whole region first, then halve."""
        first = self._question(self.region)
        if first.status is not Verdict.COUNTEREXAMPLE:
            return self._without_witness(first)
        self._draw_near(first)
        for _ in range(QUESTIONS):
            if self.upper - self.lower <= self.share * self.upper:
                return self._end(Nearness.FOUND, "Bounds and witness meet.")
            if self._begins_at_a_tie():
                return self._end(Nearness.FOUND, TIE)
            if self.clock.over():
                return self._end(Nearness.LIMIT, "The time limit was reached.")
            last = self._robust and self._last_radius() > self.lower
            middle = self._last_radius() if last else 0.5 * (self.lower + self.upper)
            answer = self._question(self._ball(middle), LAST_SHARE if last else 1.0)
            self._robust = answer.status is Verdict.ROBUST
            if last and answer.status is Verdict.UNKNOWN and not self.clock.over():
                self._hopeful = False
                continue
            if answer.status is Verdict.INTERRUPTED:
                return self._end(Nearness.INTERRUPTED, INTERRUPTION)
            if answer.status is Verdict.COUNTEREXAMPLE:
                self._draw_near(answer)
            elif answer.status is Verdict.ROBUST:
                self.lower = middle
            else:
                kind = Nearness.LIMIT if self.clock.over() else Nearness.UNKNOWN
                return self._end(kind, f"At radius {middle:.6g}: {answer.reason}")
        return self._end(Nearness.UNKNOWN, f"{QUESTIONS} questions were asked.")

    def _begins_at_a_tie(self) -> bool:
        """Whether the center is a tie, and the nearest witness as good as there: to halve on would find no end."""
        size = max(float(np.abs(self.region.center).max()), float(self.region.base.radius))
        if self.lower > 0.0 or self.upper > EPS * size or self.answers[0].label is None:
            return False
        values = margins_of(self.network, self.answers[0].label, self.ask["target"]).exactly_at(self.region.center)
        return values is not None and max(values) == 0

    def _without_witness(self, first: Answer) -> Radius:
        if first.status is Verdict.ROBUST:
            self.lower = float(self.region.base.radius)
            return self._end(Nearness.ROBUST, first.reason)
        if first.status is Verdict.MISCLASSIFIED:
            self.upper = 0.0
            return self._end(Nearness.MISCLASSIFIED, first.reason)
        if first.status is Verdict.INTERRUPTED:
            return self._end(Nearness.INTERRUPTED, INTERRUPTION)
        return self._end(Nearness.LIMIT if self.clock.over() else Nearness.UNKNOWN, first.reason)

    def _last_radius(self) -> float:
        """Return the radius that ends the search if its ball is robust; 0 where it is not to be tried."""
        return self.upper - LAST * self.share * self.upper if self.share > 0.0 and self._hopeful else 0.0

    def _question(self, region: Box, share: float = 1.0) -> Answer:
        """Ask about a ball, for a share of the time left."""
        answer = find_adversarial(self.network, region, time_limit=max(share * self.clock.left, 0.0), **self.ask)
        self.answers.append(answer)
        return answer

    def _ball(self, radius: float) -> Box:
        cut = self.region.constraints
        ball: Box = type(self.region.base)(self.region.center, radius, clip=(self.region.lower, self.region.upper))
        return ball.where(cut.rows, cut.upper)

    def _draw_near(self, answer: Answer) -> None:
        """Take a witness as near to the center as it stays one; each step is tried in full."""
        if answer.witness is None or answer.label is None:
            return
        margins = margins_of(self.network, answer.label, self.ask["target"])
        center, way = self.region.center, answer.witness - self.region.center
        low, high = 0.0, 1.0
        self._take(answer.witness)
        for _ in range(HALVINGS):
            if self.clock.overdue():
                break
            middle = 0.5 * (low + high)
            tried = check_point(margins, self.region, center + middle * way, any_positive, self.replay)
            if tried.holds:
                high = middle
                self._take(tried.point)
            else:
                low = middle

    def _take(self, point: Floats) -> None:
        """Keep a witness where it is the nearest."""
        distance = self._distance(point)
        if distance < self.upper:
            # The witness first: where Ctrl-C is heard in between, the bound is the larger one.
            self.witness = point
            self.upper = distance

    def _distance(self, x: Floats) -> float:
        """Return the distance from the center in the norm of the ball, rounded up."""
        order = {"L1": 1, "L2": 2}.get(getattr(self.region.base, "NORM", ""), np.inf)
        length = float(np.linalg.norm(x - self.region.center, order))
        return length * (1.0 + 4.0 * (len(x) + 8) * float(np.finfo(np.float64).eps))

    def _end(self, status: Nearness, reason: str) -> Radius:
        label = self.answers[-1].label if self.answers else self.ask["label"]
        if label is None:
            label = class_at(self.network, self.region.center)
        seconds, answers = self.clock.seconds, tuple(self.answers)
        words = reason if self.order in reason else f"{reason} {self.order}"
        return Radius(status, self.lower, self.upper, self.witness, label, words, seconds, answers)

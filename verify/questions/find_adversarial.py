"""The search for adversarial inputs: bounds, gradient ascent, branch and bound, then one MILP a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Answer, Proof, Verdict
from verify.answers.checked_result import CheckedResult
from verify.answers.replay import replay_of
from verify.answers.witness import CheckedPoint, any_positive, known_at, misclassified_at_center
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.margins import Margins, class_at, margins_of
from verify.bounds.objectives import threshold_of, with_order
from verify.points.surrogates import Surrogate, read_surrogates
from verify.questions.engines import choose_engine, out_of_time
from verify.questions.inquiry import Inquiry
from verify.questions.portfolio import Portfolio
from verify.questions.resources import INTERRUPTION, Question, Resources, Settled, answer_of, resources_of
from verify.questions.witness_search import OUT_OF_TIME, Alternative, WitnessSearch
from verify.reading.read_network import read_simple
from verify.regions.box import Box
from verify.splitting.goals import goals_of
from verify.splitting.schedule import SCHEDULE, asks_early
from verify.splitting.turns import Splitting

# With surrogates: shares of the time left of the search before branch and bound, of the first MILPs after it, one a
# target, and of the search after those.
FIRST_SHARE, ENGINE_SHARE, LAST_SHARE = 0.1, 0.2, 0.7

TIE = "A tie: at some input the margin is exactly 0, which is no counterexample; whether it is above anywhere is open."


def find_adversarial(
    network: Any,
    region: Box,
    label: int | None = None,
    *,
    target: int | None = None,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    model: Any = None,
    surrogates: Sequence[Any] = (),
    n_jobs: int | None = 1,
) -> Answer:
    """Search a region for an input that the network misclassifies, or prove that there is none.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes. One output: class +1 where f > 0, -1 where f < 0. Several:
        the class of the largest output, 0 to k - 1. A `final` function keeps the classes (of one output, those above
        and below 1/2): margins are of the values before it.
    region : Box, LinfBall, L1Ball or L2Ball, or a part of one by :meth:`verify.Box.where`
        The inputs allowed; its center is the input attacked.
    label : int, optional
        The class to be kept; default the network's own class at the center.
    target : int, optional
        The only class that may beat the label; default any other. The answer is then about this class alone.
    time_limit : float, default 60
        Seconds, at least 0.
    backend : {"auto", "branching", "gurobi", "highspy", "highs", "gscip", "scip", "scipy"}, default "auto"
        What decides where bounds and ascent do not. A MILP engine, as in the table of :mod:`verify.backends.registry`;
        our own branch and bound, of inputs and neurons; or ``auto``: that for four fifths of the time, then the engines
        in that order, the next one where one fails; earlier, and again at the end, where there are few binaries.
    seed : int or numpy.random.Generator, default 0
        Of the starts of the gradient ascent.
    model : torch module, path of an .onnx file, network of ours, or callable, optional
        The original that replays every witness in its own precision; default the network, where it is a torch module
        or an .onnx file. A callable takes an input (d,) in float32.
    surrogates : sequence of float or network, optional
        Sparse copies to take points from: sparsities of magnitude pruning, in [0, 1), or networks of the same shape.
    n_jobs : int, optional
        Processes that search open boxes and linear programs of this one question, where it takes longer than some five
        seconds; -1 for one a core, None for what ``joblib.parallel_config`` says around this call. Each imports the
        package first and holds the weights, so that a question may gain nothing.

    Returns
    -------
    Answer
        COUNTEREXAMPLE with a witness, ROBUST with a proof, MISCLASSIFIED, UNKNOWN with the reason, or
        INTERRUPTED (by Ctrl-C) with what was known by then.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    Adversarial means strictly misclassified: some margin (y_t - y_label, or -label y for one output) is positive, a
    tie is not. A witness counts only if the lower end of its margin, with every rounding error of its evaluation, is
    positive, or the margin itself in rational arithmetic, and it lies in the region to the last bit; where a model
    replays it, after rounding to the precision of that model, which must misclassify it strictly too. ROBUST needs the
    upper bound of every margin at or below zero by outward-rounded intervals or CROWN bounds, of the region or of all
    parts that branch and bound splits it into, by outward-rounded dual bounds of the linear relaxation
    (:mod:`verify.bounds.duals`), which is asked before the MILP, or below zero by more than the engine's tolerances
    can amount to.

    With `surrogates` a portfolio (:class:`verify.questions.portfolio.Portfolio`) has half of the time that branch and
    bound would take and more: the MILPs of the copies are easier, and every incumbent of theirs is a point to climb
    from in the network (Pham et al. 2026). They are never part of a proof.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.2)).status.name
    'ROBUST'
    >>> verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.6)).status.name
    'COUNTEREXAMPLE'
    """
    options = (time_limit, backend, seed, model, surrogates, n_jobs)
    begin = partial(_begin, network, region, label, target, options)
    return answer_of(begin, partial(nothing_known, label))


def nothing_known(label: int | None, seconds: float) -> Answer:
    """Return the answer to a question that was interrupted before anything was known."""
    return Answer(Verdict.INTERRUPTED, label, None, -np.inf, np.inf, None, INTERRUPTION, seconds, None, ())


def _begin(
    network: Any, region: Box, label: int | None, target: int | None, options: tuple[Any, ...]
) -> Question[Answer]:
    """Return the attack with its first bounds."""
    given = read_simple(network)
    net, order = with_order(given)
    check_sizes(net, region)
    time_limit, backend, seed, model, surrogates, n_jobs = options
    replay = replay_of(network, model, region.center, threshold_of(given))
    resources = resources_of(time_limit, backend, seed, replay, n_jobs)
    resources = resources.beside(read_surrogates(net, surrogates))
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        reason = "The network has no class at the center of the region (a tie, or an overflow); give a label."
        seconds = resources.clock.seconds
        return Settled(Answer(Verdict.UNKNOWN, None, None, 0.0, np.inf, None, reason, seconds, None, ()))
    return _Attack(margins_of(net, kept, target), region, resources, order)


class _Attack(WitnessSearch[Alternative, Answer]):
    """One attack on its way to an answer: an alternative is a class that may beat the label."""

    def __init__(self, margins: Margins, region: Box, resources: Resources, order: str) -> None:
        super().__init__()
        self.margins, self.region, self.order = margins, region, order
        self.inquiry = Inquiry(margins, region, resources)
        self.targets = [
            Alternative(f"Class {target}", self.inquiry, [index], any_positive)
            for index, target in enumerate(margins.targets)
        ]
        self.accepted: CheckedPoint | None = None
        self.portfolio: Portfolio | None = None
        self.splitting: Splitting | None = None

    def by_now(self) -> Answer:
        """Return what is known by now: a witness that was accepted is one."""
        if self.accepted is not None and self.accepted.holds:
            return self._answer_of_accepted("a search that was interrupted")
        return self._end(Verdict.INTERRUPTED, INTERRUPTION)

    def decide(self) -> Answer:
        """Decide by the cheapest means that can."""
        # The center lies in the region: no look at it is needed where every other class is ruled out at once.
        looks = (_Attack._look_at_intervals, _Attack._look_at_center)
        for attempt in (*(looks if self.margins.of_all else looks[::-1]), *ATTEMPTS):
            answer = attempt(self)
            if answer is not None:
                return answer
        return self._ask_engine()

    def _look_at_center(self) -> Answer | None:
        # All other classes: a center that is wrong already is no attack, whichever class is the target.
        if not misclassified_at_center(self.margins, self.region):
            return None
        if not self.inquiry.reached.max() > 0.0:
            # By rounding, or for another class than the target.
            self.inquiry.settle(range(len(self.margins)))
        return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")

    def _look_at_intervals(self) -> Answer | None:
        return self._look_at_bounds("interval")

    def _tighten(self) -> Answer | None:
        self.inquiry.tighten()
        self.inquiry.bound_ties()
        # No time was left for them: the intervals have been looked at already.
        return None if self.inquiry.proof is Proof.INTERVAL else self._look_at_bounds("CROWN")

    def _look_at_bounds(self, kind: str) -> Answer | None:
        self.inquiry.note(f"{kind} bounds", f"margin at most {self.inquiry.upper.max():.6g}")
        return self._robust_if_decided(f"Outward-rounded {kind} bounds prove it.")

    def _robust_if_decided(self, reason: str) -> Answer | None:
        if self.inquiry.undecided():
            return None
        return self._proven(reason, self.inquiry.proof)

    def _ascend(self) -> Answer | None:
        return self._climb("gradient ascent", lambda target: None)

    def _ascend_from_peaks(self) -> Answer | None:
        return self._climb("CROWN peaks", lambda target: self.inquiry.crown_peak(target.chosen))

    def _climb(self, source: str, start: Callable[[Alternative], Floats | None]) -> Answer | None:
        """Climb on the margin of every open target, from where `start` says."""
        for target in self._open():
            if self.inquiry.clock.over():
                break
            tried = target.climb(start(target))
            if tried is not None:
                return self._found(tried, source)
        self.inquiry.note(source, f"no witness, margin at least {self.inquiry.reached.max():.6g}")
        return None

    def _explore(self, share: float = FIRST_SHARE, patient: bool = False) -> Answer | None:
        """Search with surrogates for a share of the time that is left."""
        clock, surrogates = self.inquiry.clock, self.inquiry.resources.surrogates
        if not surrogates or clock.over():
            return None
        if self.portfolio is None:
            _note_classes(surrogates, self.margins.label, self.inquiry)
            self.portfolio = Portfolio(self.inquiry, surrogates, self._accept)
        found = self.portfolio.search(self.inquiry.undecided(), clock.seconds + share * clock.left, patient)
        return self._answer_of_accepted(self.portfolio.source) if found else None

    def _explore_more(self) -> Answer | None:
        return self._explore(LAST_SHARE, True)

    def _split_first(self) -> Answer | None:
        """Split for a part of the time, where engines come early."""
        return self._split(SCHEDULE.early_share) if asks_early(self.inquiry) else None

    def _split(self, share: float = 1.0) -> Answer | None:
        if self.splitting is None:
            self.splitting = Splitting(self.inquiry, goals_of(self.inquiry.undecided()), self._accept)
        if self.splitting.run(share):
            return self._answer_of_accepted("branch and bound")
        self.inquiry.bound_ties()
        if self.inquiry.undecided():
            return None
        if self.tolerant:
            return self._proven(f"Branch and bound and the MILP bounds of {self.engine_asked} prove it.", Proof.SOLVER)
        return self._proven("Branch and bound on outward-rounded CROWN bounds proves it.", self.inquiry.proof)

    def _accept(self, point: Floats) -> bool:
        self.accepted = self.inquiry.try_witness(point, any_positive)
        return self.accepted.holds

    def _ask_early(self) -> Answer | None:
        """Ask the engine for a part of the time, where that is likely to be enough."""
        closing = self.splitting is not None and self.splitting.closing
        if closing or not asks_early(self.inquiry) or choose_engine(self.inquiry) is not None:
            return None
        answer = self._ask_engines(SCHEDULE.engine_share / len(self._open()))
        return None if answer.status is Verdict.UNKNOWN else answer

    def _ask_shortly(self) -> Answer | None:
        """Ask the engine for a part of the time before a long search with surrogates."""
        if not self.inquiry.resources.surrogates or self.inquiry.clock.over():
            return None
        answer = self._ask_engine(ENGINE_SHARE)
        return None if answer.status is Verdict.UNKNOWN else answer

    def _ask_engine(self, share: float = 1.0) -> Answer:
        """Ask the engines, where one can be asked; each MILP has `share` of the time that is left."""
        trouble = choose_engine(self.inquiry)
        return self._ask_engines(share) if trouble is None else self._end(Verdict.UNKNOWN, trouble)

    def _open(self) -> list[Alternative]:
        return [self.targets[index] for index in self.inquiry.undecided()]

    def _nearest_first(self) -> list[Alternative]:
        return sorted(self._open(), key=lambda target: -self.inquiry.reached[target.chosen[0]])

    def _blocked(self, alternative: Alternative) -> str | None:
        return OUT_OF_TIME if out_of_time(self.inquiry) else None

    def _take_notes(self, alternative: Alternative, checked: CheckedResult) -> None:
        """All targets have one inquiry, whose notes are those of the answer."""

    def _rules_out(self, alternative: Alternative, checked: CheckedResult) -> bool:
        """Whether a target is proven: by what the engine's multipliers show, or up to its tolerances."""
        if alternative not in self._open():
            return True
        if checked.why_unproven() is not None:
            return False
        [index] = alternative.chosen
        self.inquiry.upper[index], self.tolerant = min(self.inquiry.upper[index], checked.bound), True
        return True

    def _proven(self, reason: str, proof: Proof) -> Answer:
        return self._end(Verdict.ROBUST, reason, proof=proof)

    def _unknown(self, doubts: list[str]) -> Answer:
        tie = TIE if self.inquiry.tied else ""
        return self._end(Verdict.UNKNOWN, " ".join(filter(None, [tie, *doubts, self.inquiry.caveat])))

    def _answer_of_accepted(self, source: str) -> Answer:
        if self.accepted is None:
            raise RuntimeError("no point was accepted; expected one where a search says that it found one")
        return self._found(self.accepted, source)

    def _found(self, tried: CheckedPoint, source: str) -> Answer:
        margins = self.inquiry.record(tried.point)
        place = int(margins.argmax())
        if not margins[place] > 0.0:
            # It is above 0 in rational arithmetic alone.
            margins = known_at(self.margins, tried.point, any_positive)
            place = int(margins.argmax())
            self.inquiry.points[place], self.inquiry.reached[place] = tried.point, margins[place]
        self.inquiry.note(source, f"witness with margin {margins[place]:.6g}")
        winner = self.margins.targets[place]
        reason = f"Found by {source}: class {winner} beats class {self.margins.label} by {margins[place]:.6g}."
        return self._end(Verdict.COUNTEREXAMPLE, reason, tried=tried)

    def _end(
        self, status: Verdict, reason: str, *, tried: CheckedPoint | None = None, proof: Proof | None = None
    ) -> Answer:
        replayed = None if tried is None else tried.replayed
        return Answer(
            status=status,
            label=self.margins.label,
            witness=None if tried is None else tried.point,
            value=float(self.inquiry.reached.max()),
            bound=float(self.inquiry.upper.max()),
            proof=proof,
            reason=f"{reason} {self.order}".strip(),
            seconds=self.inquiry.clock.seconds,
            backend=self.inquiry.engine_asked,
            trace=tuple(self.inquiry.trace),
            leak=self.inquiry.leak,
            replayed=None if replayed is None else float(replayed.max()),
        )


def _note_classes(surrogates: Sequence[Surrogate], label: int, inquiry: Inquiry) -> None:
    """Note the copies that have another class at the center: their own margins say nothing of the network."""
    for surrogate in surrogates:
        known = class_at(surrogate.network, inquiry.region.center)
        if known != label:
            inquiry.note(surrogate.name, f"has the class {known} at the center; its points count all the same")


# What is tried after the first looks at intervals and center, the cheapest first; the engines come last.
ATTEMPTS = (
    _Attack._tighten,
    _Attack._ascend,
    _Attack._ascend_from_peaks,
    _Attack._explore,
    _Attack._split_first,
    _Attack._ask_early,
    _Attack._split,
    _Attack._ask_shortly,
    _Attack._explore_more,
)

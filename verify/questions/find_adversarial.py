"""The search for adversarial inputs: bounds, gradient ascent, branch and bound, then one MILP a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Answer, Proof, Verdict
from verify.answers.checked_result import CheckedResult
from verify.answers.replay import replay_of
from verify.answers.witness import Exhibit, some_positive
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.margins import Margins, class_at, margins_of
from verify.points.surrogates import read_surrogates
from verify.questions.inquiry import Inquiry, Means, means_of
from verify.questions.portfolio import Portfolio
from verify.reading.read_network import read_simple
from verify.regions.box import Box

# With surrogates: shares of the time left of the search before branch and bound, of the first MILPs after it, one a
# target, and of the search after those.
FIRST_SHARE, ENGINE_SHARE, LAST_SHARE = 0.1, 0.2, 0.7


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
) -> Answer:
    """Search a region for an input that the network misclassifies, or prove that there is none.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes. One output: class +1 where f > 0, -1 where f < 0. Several:
        the class of the largest output, 0 to k - 1.
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
        our own branch and bound; or ``auto``: branch and bound for four fifths of the time, then the engines in that
        order, the next one where one fails.
    seed : int or numpy.random.Generator, default 0
        Of the starts of the gradient ascent.
    model : torch module, path of an .onnx file, or callable, optional
        The original that replays every witness in its own precision; default the network, where it is a torch module
        or an .onnx file. A callable takes an input (d,) in float32.
    surrogates : sequence of float or network, optional
        Sparse copies to take points from: sparsities of magnitude pruning, in [0, 1), or networks of the same shape.

    Returns
    -------
    Answer
        COUNTEREXAMPLE with a witness, ROBUST with a proof, MISCLASSIFIED, or UNKNOWN with the reason.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    Adversarial means strictly misclassified: some margin (y_t - y_label, or -label y for one output) is positive, a
    tie is not. A witness counts only if the lower end of its margin, with every rounding error of its evaluation, is
    positive and it lies in the region to the last bit; where a model replays it, after rounding to the precision of
    that model, which must misclassify it strictly too. ROBUST needs the upper bound of every margin at or below zero
    by outward-rounded intervals or CROWN bounds, of the region or of all parts that branch and bound splits it into, by
    outward-rounded dual bounds of the linear relaxation (:mod:`verify.bounds.duals`), which is asked before the MILP,
    or below zero by more than the engine's tolerances can amount to.

    With `surrogates` a portfolio (:class:`verify.questions.portfolio.Portfolio`) has half of the time that branch and
    bound would take and more: the MILPs of the copies are easier, and every incumbent of theirs is a point to climb
    from in the network (Pham et al. 2026). They are never part of a proof.
    """
    net = read_simple(network)
    check_sizes(net, region)
    copies = read_surrogates(net, surrogates)
    means = means_of(time_limit, backend, seed, replay_of(network, model, region.center), copies)
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        reason = "The network has no class at the center of the region (a tie, or an overflow); give a label."
        return Answer(Verdict.UNKNOWN, None, None, 0.0, np.inf, None, reason, means.clock.seconds, None, ())
    return _Attack(margins_of(net, kept, target), region, means).answer()


class _Attack:
    """One attack on its way to an answer."""

    def __init__(self, margins: Margins, region: Box, means: Means) -> None:
        self.margins, self.region = margins, region
        self.known = Inquiry(margins, region, means)
        self.witnesses: list[Exhibit] = []
        self.portfolio: Portfolio | None = None
        self.tolerant = False

    def answer(self) -> Answer:
        """Decide by the cheapest means that can."""
        # The center lies in the region: no look at it is needed where every other class is ruled out at once.
        looks = (self._look_at_intervals, self._look_at_center)
        first = looks if self.margins.of_all else looks[::-1]
        then = (self._relax, self._ascend, self._explore, self._split, self._ask_shortly, self._explore_more)
        for attempt in (*first, *then):
            answer = attempt()
            if answer is not None:
                return answer
        return self._ask_engine()

    def _look_at_center(self) -> Answer | None:
        # All other classes: a center that is wrong already is no attack, whichever class is the target.
        every = self.margins if self.margins.of_all else margins_of(self.margins.network, self.margins.label)
        center = self.region.center
        if self.region.is_hollow or not some_positive(every.proven_at(center).lower):
            return None
        return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")

    def _look_at_intervals(self) -> Answer | None:
        return self._look_at_bounds("interval")

    def _relax(self) -> Answer | None:
        self.known.tighten()
        return self._look_at_bounds("CROWN")

    def _look_at_bounds(self, kind: str) -> Answer | None:
        self.known.note(f"{kind} bounds", f"margin at most {self.known.upper.max():.6g}")
        if self._open():
            return None
        return self._end(Verdict.ROBUST, f"Outward-rounded {kind} bounds prove it.", proof=self.known.proof)

    def _ascend(self) -> Answer | None:
        return self._climb("gradient ascent", lambda target: None) or self._climb("CROWN peaks", self._peak)

    def _climb(self, source: str, start: Callable[[int], Floats | None]) -> Answer | None:
        """Climb on the margin of every open target, from where `start` says."""
        for target in self._open():
            if self.known.clock.over():
                break
            tried = self.known.try_witness(self.known.climb([target], start(target)), some_positive)
            if tried.holds:
                return self._found(tried, source)
        self.known.note(source, f"no witness, margin at least {self.known.reached.max():.6g}")
        return None

    def _peak(self, target: int) -> Floats:
        return self.known.peak([target])

    def _explore(self, share: float = FIRST_SHARE, patient: bool = False) -> Answer | None:
        """Search with surrogates for a share of the time that is left."""
        if not self.known.means.surrogates or self.known.clock.over():
            return None
        if self.portfolio is None:
            self._look_at_copies()
            self.portfolio = Portfolio(self.known, self.known.means.surrogates, self._accept)
        if self.portfolio.search(self._open(), self.known.clock.seconds + share * self.known.clock.left, patient):
            return self._found(self.witnesses[-1], self.portfolio.source)
        return None

    def _explore_more(self) -> Answer | None:
        return self._explore(LAST_SHARE, True)

    def _look_at_copies(self) -> None:
        """Note the copies that have another class at the center: their own margins say nothing of the network."""
        for surrogate in self.known.means.surrogates:
            known = class_at(surrogate.network, self.region.center)
            if known != self.margins.label:
                self.known.note(surrogate.name, f"has the class {known} at the center; its points count all the same")

    def _accept(self, point: Floats) -> bool:
        self.witnesses.append(self.known.try_witness(point, some_positive))
        return self.witnesses[-1].holds

    def _split(self) -> Answer | None:
        if self.known.split(self._open(), self._accept):
            return self._found(self.witnesses[-1], "branch and bound")
        if self._open():
            return None
        reason = "Branch and bound on outward-rounded CROWN bounds proves it."
        return self._end(Verdict.ROBUST, reason, proof=self.known.proof)

    def _ask_shortly(self) -> Answer | None:
        """Ask the engine for a part of the time before a long search with surrogates."""
        if not self.known.means.surrogates or self.known.clock.over():
            return None
        answer = self._ask_engine(ENGINE_SHARE)
        return None if answer.status is Verdict.UNKNOWN else answer

    def _ask_engine(self, share: float = 1.0) -> Answer:
        """Ask the linear relaxation of every target, then one MILP a target, easiest to attack first.

        Each MILP has `share` of the time that is left.
        """
        trouble = self.known.trouble()
        if trouble is not None:
            return self._end(Verdict.UNKNOWN, trouble)
        found = self._relaxations()
        if found is not None:
            return found
        doubts: list[str] = []
        for target in sorted(self._open(), key=lambda target: -self.known.reached[target]):
            if self.known.clock.over():
                doubts.append("The time limit was reached.")
                break
            found = self._decide(target, doubts, share)
            if found is not None:
                return found
        if doubts:
            return self._end(Verdict.UNKNOWN, " ".join([*doubts, self.known.doubt]).strip())
        if self.tolerant:
            return self._end(Verdict.ROBUST, f"The MILP bounds of {self.known.asked} prove it.", proof=Proof.SOLVER)
        reason = "Outward-rounded dual bounds of linear relaxations prove it."
        return self._end(Verdict.ROBUST, reason, proof=self.known.proof)

    def _relaxations(self) -> Answer | None:
        for target in self._open():
            if self.known.clock.over():
                return None
            finding = self.known.relax([target])
            if self._decided(target, finding):
                continue
            if finding.point is not None:
                tried = self.known.try_witness(self.known.climb([target], finding.point), some_positive)
                if tried.holds:
                    return self._found(tried, "gradient ascent from the linear relaxation")
        return None

    def _decide(self, target: int, doubts: list[str], share: float) -> Answer | None:
        finding = self.known.ask([target], some_positive, share)
        if finding.point is not None:
            tried = self.known.try_witness(finding.point, some_positive)
            if tried.holds:
                return self._found(tried, str(self.known.asked))
        if not self._decided(target, finding):
            doubts.append(f"Class {self.margins.targets[target]}: {finding.doubt()}")
        return None

    def _decided(self, target: int, finding: CheckedResult) -> bool:
        """Whether a target is proven: by what the engine's multipliers show, or up to its tolerances."""
        if target not in self._open():
            return True
        if finding.doubt() is not None:
            return False
        self.known.upper[target], self.tolerant = min(self.known.upper[target], finding.bound), True
        return True

    def _open(self) -> list[int]:
        """Return the targets that are not proven yet."""
        return [int(target) for target in np.flatnonzero(self.known.upper > 0.0)]

    def _found(self, tried: Exhibit, source: str) -> Answer:
        margins = self.margins.at(tried.point[None])[0]
        winner = self.margins.targets[int(margins.argmax())]
        self.known.note(source, f"witness with margin {margins.max():.6g}")
        reason = f"Found by {source}: class {winner} beats class {self.margins.label} by {margins.max():.6g}."
        self.known.visit(tried.point)
        return self._end(Verdict.COUNTEREXAMPLE, reason, tried=tried)

    def _end(self, status: Verdict, reason: str, *, tried: Exhibit | None = None, proof: Proof | None = None) -> Answer:
        replayed = None if tried is None else tried.replayed
        return Answer(
            status=status,
            label=self.margins.label,
            witness=None if tried is None else tried.point,
            value=float(self.known.reached.max()),
            bound=float(self.known.upper.max()),
            proof=proof,
            reason=reason,
            seconds=self.known.clock.seconds,
            backend=self.known.asked,
            trace=tuple(self.known.trace),
            leak=self.known.leak,
            replayed=None if replayed is None else float(replayed.max()),
        )

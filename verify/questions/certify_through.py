"""Transfer: what is proven about a pruned copy, made a proof about the network by a bound on their difference."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Answer, Proof, Verdict
from verify.answers.witness import any_positive, misclassified_at_center
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.margins import Margins, class_at, margins_of
from verify.bounds.objectives import with_order
from verify.questions.difference import as_pair, difference_of
from verify.questions.engines import ask_milp, choose_engine, out_of_time
from verify.questions.find_adversarial import nothing_known
from verify.questions.inquiry import Inquiry
from verify.questions.resources import INTERRUPTION, Question, Resources, Settled, answer_of, resources_of
from verify.questions.witness_search import OUT_OF_TIME
from verify.reading.simplify import simplify
from verify.regions.box import Box
from verify.splitting.turns import split


def certify_through(
    dense: Any,
    sparse: Any,
    region: Box,
    label: int | None = None,
    *,
    target: int | None = None,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
) -> Answer:
    """Prove a network robust over a region by questions to a pruned copy alone.

    Parameters
    ----------
    dense, sparse : SparseReLUNetwork, torch module, scikit-learn MLP, or path
        The network that is asked about, and a copy of the same sizes, such as :func:`verify.prune` returns.
    region, label, target, time_limit, backend, seed
        As in :func:`verify.find_adversarial`; `label` is by default the class of `dense` at the center, and `backend`
        decides about the copy.

    Returns
    -------
    Answer
        About `dense`: ROBUST, MISCLASSIFIED (its center is), UNKNOWN or INTERRUPTED, with the reason. Its proof is
        DIFFERENCE where all of it is rounded outward, SOLVER where a MILP engine decided about the copy.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or the sizes of the networks differ; the message names it.

    Notes
    -----
    Margin t of the network is that of the copy plus their difference, which is at most u_t over the region
    (:func:`verify.difference`). If the copy's margin plus u_t is proven to be at most zero for all t, by bounds, branch
    and bound or an engine, the network is robust. The price is u_t: the copy has to be robust by that much more. On
    MNIST networks (`benchmarks/difference.py`) no question was decided so that branch and bound on the network itself
    left open, which is why no other question asks for it.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> dense = cx.SparseReLUNetwork([([[1.0, 0.01], [-0.01, 1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> sparse = verify.prune(dense, kept=2)
    >>> answer = verify.certify_through(dense, sparse, verify.LinfBall([2.0, 2.0], 0.5))
    >>> answer.status.name, answer.proof.name
    ('ROBUST', 'DIFFERENCE')
    """
    options = (time_limit, backend, seed)
    begin = partial(_begin, dense, sparse, region, label, target, options)
    return answer_of(begin, partial(nothing_known, label))


def _begin(
    dense: Any, sparse: Any, region: Box, label: int | None, target: int | None, options: tuple[Any, ...]
) -> Question[Answer]:
    """Return the question with the bound on the difference."""
    (net, order), (copy, _) = map(with_order, as_pair(dense, sparse))
    check_sizes(net, region)
    resources = resources_of(*options)
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        return _open_at_once(
            None, resources, "The network has no class at the center (a tie, or an overflow); give a label."
        )
    margins = margins_of(net, kept, target)
    moves = difference_of(net, copy, region, margins.rows).upper
    if not np.isfinite(moves).all():
        return _open_at_once(margins.label, resources, "The difference of the networks has no finite bound.")
    return _Transfer(margins, Functions(margins.rows, moves, simplify(copy)), region, resources, order)


def _open_at_once(label: int | None, resources: Resources, reason: str) -> Settled[Answer]:
    """Return that nothing is known."""
    seconds = resources.clock.seconds
    return Settled(Answer(Verdict.UNKNOWN, label, None, -np.inf, np.inf, None, reason, seconds, None, ()))


class _Transfer:
    """The margins of a copy, raised by a bound on what the network's own exceed them by."""

    def __init__(self, margins: Margins, raised: Functions, region: Box, resources: Resources, order: str) -> None:
        self.margins, self.region, self.order = margins, region, order
        self.inquiry = Inquiry(raised, region, resources)
        self.inquiry.note("difference", f"margins at most {raised.offsets.max():.6g} above those of the copy")

    def by_now(self) -> Answer:
        """Return what is known by now."""
        return self._end(Verdict.INTERRUPTED, INTERRUPTION)

    def decide(self) -> Answer:
        """Decide by the cheapest means that can."""
        if misclassified_at_center(self.margins, self.region):
            return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")
        # Interval bounds are known from the start.
        steps = {"interval": None, "CROWN": self.inquiry.tighten, "branch": self._split}
        for kind, step in steps.items():
            if step is not None:
                step()
            self.inquiry.note(f"{kind} bounds of the copy", f"margin at most {self.inquiry.upper.max():.6g}")
            if not self.inquiry.undecided():
                words = "branch and bound" if kind == "branch" else f"{kind} bounds"
                return self._robust_by(f"the copy's {words}", Proof.DIFFERENCE)
            if self._has_failed():
                return self._end(Verdict.UNKNOWN, "The copy's margin and the bound on the difference are too large.")
        return self._ask_engine()

    def _split(self) -> None:
        for target in self.inquiry.undecided():
            self.inquiry.climb([target])
        if not self._has_failed():
            split(self.inquiry, self.inquiry.undecided(), self._fails_at)

    def _ask_engine(self) -> Answer:
        trouble = choose_engine(self.inquiry)
        if trouble is not None:
            return self._end(Verdict.UNKNOWN, trouble)
        for target in self.inquiry.undecided():
            if out_of_time(self.inquiry):
                return self._end(Verdict.UNKNOWN, OUT_OF_TIME)
            checked = ask_milp(self.inquiry, [target], any_positive)
            doubt = checked.why_unproven()
            if doubt is not None:
                return self._end(Verdict.UNKNOWN, f"Class {self.margins.targets[target]}: {doubt}")
            self.inquiry.upper[target] = min(self.inquiry.upper[target], checked.bound)
        return self._robust_by(f"MILP bounds of the copy by {self.inquiry.engine_asked}", Proof.SOLVER)

    def _fails_at(self, point: Floats) -> bool:
        self.inquiry.record(point)
        return self._has_failed()

    def _has_failed(self) -> bool:
        """Whether some input shows that this proof cannot be had."""
        return bool((self.inquiry.reached > 0.0).any())

    def _robust_by(self, evidence: str, proof: Proof) -> Answer:
        return self._end(Verdict.ROBUST, f"A bound on the difference and {evidence} prove it.", proof)

    def _end(self, status: Verdict, reason: str, proof: Proof | None = None) -> Answer:
        inquiry = self.inquiry
        margin = -np.inf if self.region.is_hollow else self.margins.at(inquiry.points).max()
        return Answer(
            status=status,
            label=self.margins.label,
            witness=None,
            value=float(margin),
            bound=float(inquiry.upper.max()),
            proof=proof,
            reason=f"{reason} {self.order}".strip(),
            seconds=inquiry.clock.seconds,
            backend=inquiry.engine_asked,
            trace=tuple(inquiry.trace),
            leak=inquiry.leak,
        )

"""Transfer: what is proven about a pruned copy, made a proof about the network by a bound on their difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Answer, Proof, Verdict
from verify.answers.witness import some_positive
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.margins import Margins, class_at, margins_of
from verify.questions.difference import as_pair, difference_of
from verify.questions.inquiry import Inquiry, Means, means_of
from verify.reading.simplify import simplify
from verify.regions.box import Box


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
        About `dense`: ROBUST, MISCLASSIFIED (its center is), or UNKNOWN, with the reason. Its proof is DIFFERENCE
        where all of it is rounded outward, SOLVER where a MILP engine decided about the copy.

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
    """
    net, copy = as_pair(dense, sparse)
    check_sizes(net, region)
    means = means_of(time_limit, backend, seed)
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        return _open_at_once(
            None, means, "The network has no class at the center (a tie, or an overflow); give a label."
        )
    margins = margins_of(net, kept, target)
    moves = difference_of(net, copy, region, margins.rows).upper
    if not np.isfinite(moves).all():
        return _open_at_once(margins.label, means, "The difference of the networks has no finite bound.")
    return _Transfer(margins, Functions(margins.rows, moves, simplify(copy)), region, means).answer()


def _open_at_once(label: int | None, means: Means, reason: str) -> Answer:
    """Return that nothing is known."""
    return Answer(Verdict.UNKNOWN, label, None, -np.inf, np.inf, None, reason, means.clock.seconds, None, ())


class _Transfer:
    """The margins of a copy, raised by a bound on what the network's own exceed them by."""

    def __init__(self, margins: Margins, raised: Functions, region: Box, means: Means) -> None:
        self.margins, self.region = margins, region
        self.known = Inquiry(raised, region, means)
        self.known.note("difference", f"margins at most {raised.offsets.max():.6g} above those of the copy")

    def answer(self) -> Answer:
        """Decide by the cheapest means that can."""
        every = margins_of(self.margins.network, self.margins.label)
        # The center of a hollow region is outside by rounding, and says nothing.
        if not self.region.is_hollow and some_positive(every.proven_at(self.region.center).lower):
            return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")
        for means, step in (("interval", self._nothing), ("CROWN", self.known.tighten), ("branch", self._split)):
            step()
            self.known.note(f"{means} bounds of the copy", f"margin at most {self.known.upper.max():.6g}")
            if not self._open():
                words = "branch and bound" if means == "branch" else f"{means} bounds"
                return self._proven(f"the copy's {words}", Proof.DIFFERENCE)
            if self._fails():
                return self._end(Verdict.UNKNOWN, "The copy's margin and the bound on the difference are too large.")
        return self._ask_engine()

    def _nothing(self) -> None:
        """Interval bounds are known already."""

    def _split(self) -> None:
        for target in self._open():
            self.known.climb([target])
        if not self._fails():
            self.known.split(self._open(), self._visit)

    def _ask_engine(self) -> Answer:
        trouble = self.known.trouble()
        if trouble is not None:
            return self._end(Verdict.UNKNOWN, trouble)
        for target in self._open():
            if self.known.clock.over():
                return self._end(Verdict.UNKNOWN, "The time limit was reached.")
            finding = self.known.ask([target], some_positive)
            doubt = finding.doubt()
            if doubt is not None:
                return self._end(Verdict.UNKNOWN, f"Class {self.margins.targets[target]}: {doubt}")
            self.known.upper[target] = min(self.known.upper[target], finding.bound)
        return self._proven(f"MILP bounds of the copy by {self.known.asked}", Proof.SOLVER)

    def _visit(self, point: Floats) -> bool:
        self.known.visit(point)
        return self._fails()

    def _fails(self) -> bool:
        """Whether some input shows that this proof cannot be had."""
        return bool((self.known.reached > 0.0).any())

    def _open(self) -> list[int]:
        return [int(target) for target in np.flatnonzero(self.known.upper > 0.0)]

    def _proven(self, means: str, proof: Proof) -> Answer:
        return self._end(Verdict.ROBUST, f"A bound on the difference and {means} prove it.", proof)

    def _end(self, status: Verdict, reason: str, proof: Proof | None = None) -> Answer:
        margins = -np.inf if self.region.is_hollow else self.margins.at(self.known.points).max()
        clock, bound = self.known.clock, float(self.known.upper.max())
        trace, asked, leak = tuple(self.known.trace), self.known.asked, self.known.leak
        label = self.margins.label
        return Answer(status, label, None, float(margins), bound, proof, reason, clock.seconds, asked, trace, leak)

"""Branch and bound on an inquiry: searches of subproblems and sharper bounds of neurons in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.questions.inquiry import Inquiry
from verify.regions.intervals import EPS

# Seconds of the first search before the bounds of neurons are sharpened by rounds of splits, and how many at first.
FIRST_STAGE, FIRST_ROUNDS = 1.0, 16


def split(
    inquiry: Inquiry,
    chosen: Sequence[int],
    accept: Callable[[Floats], bool],
    level: float = 0.0,
    share: float = 1.0,
    branching: float | None = None,
) -> bool:
    """Prove chosen functions to be at most `level` by branch and bound, for a share of the time that is left.

    It takes `share` of what the resources of the question allow, or of the share `branching` in their place. `accept`
    is shown points where one of the functions seems to be above; True ends the search, and is returned.
    """
    share *= inquiry.resources.branching_share if branching is None else branching
    if not share or inquiry.clock.over():
        return False
    from verify.branching.torch_modes import TorchModes  # torch takes its time to import

    callers = TorchModes.now()

    def visit(point: Floats) -> bool:
        with callers.applied():
            return accept(point)

    with TorchModes().applied():
        return _search_in_stages(inquiry, chosen, visit, level, share)


def _search_in_stages(
    inquiry: Inquiry, chosen: Sequence[int], accept: Callable[[Floats], bool], level: float, share: float
) -> bool:
    """Search and sharpen in turns, in torch's modes as they should be."""
    from verify.branching.relaxation import can_branch
    from verify.branching.sharpening import sharpen

    net, clock = inquiry.functions.network, inquiry.clock
    until = clock.seconds + share * clock.left
    began, rounds = clock.seconds, 0
    while can_branch(net, inquiry.layers) and clock.seconds < until:
        inquiry.take_layers(sharpen(net, inquiry.region, inquiry.layers, partial(clock.past, until), rounds))
        inquiry.proof = Proof.BRANCHED
        left = _above(inquiry, chosen, level)
        if not left or not can_branch(net, inquiry.layers):
            break
        # Each stage has as long as all before it. Where no layer is deep, there is nothing to sharpen between them.
        pause = began + 2.0 * (clock.seconds - began) + FIRST_STAGE if len(net.layers) > 2 else until
        if _search_subproblems(inquiry, left, accept, level, min(pause, until)):
            return True
        if clock.seconds < pause or not _above(inquiry, left, level):
            break
        rounds = max(FIRST_ROUNDS, 2 * rounds)
    return False


def _above(inquiry: Inquiry, chosen: Sequence[int], level: float) -> list[int]:
    """Return the chosen functions that are not proven to be at most `level`."""
    return [index for index in chosen if inquiry.upper[index] > level]


def _search_subproblems(
    inquiry: Inquiry, chosen: list[int], accept: Callable[[Floats], bool], level: float, until: float
) -> bool:
    """Search the subproblems of chosen functions until some time; return whether a point was accepted."""
    from verify.branching.relaxation import Relaxation
    from verify.branching.tree import branch

    functions = inquiry.functions
    rows, offsets = functions.rows[chosen].toarray(), functions.offsets[chosen]
    relaxation = Relaxation(functions.network, inquiry.region, rows, offsets - level, inquiry.layers)

    def keep(upper: Floats) -> None:
        # Where there is a level, it was taken off and comes back with rounding.
        lost = 4.0 * EPS * (np.abs(upper) + np.abs(offsets) + abs(level)) if level else 0.0
        inquiry.upper[chosen] = np.minimum(inquiry.upper[chosen], upper + level + lost)

    found = branch(relaxation, accept, partial(inquiry.clock.past, until), keep)
    keep(found.upper)
    margin = f"margin at most {inquiry.upper[chosen].max():.6g}"
    inquiry.note("branch and bound", f"{found.count} subproblems, {found.reason}; {margin}")
    return found.point is not None

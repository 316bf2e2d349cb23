"""Splitting on an inquiry: single functions proven to be at most some level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convexnn.checks import Floats
from verify.questions.inquiry import Inquiry
from verify.splitting.goals import goals_of
from verify.splitting.turns import Splitting


def split(
    inquiry: Inquiry,
    chosen: Sequence[int],
    accept: Callable[[Floats], bool],
    level: float = 0.0,
    share: float = 1.0,
    branching: float | None = None,
) -> bool:
    """Prove chosen functions to be at most `level` by splitting, for a share of the time that is left.

    It takes `share` of what the resources of the question allow, or of the share `branching` in their place. `accept`
    is shown points where one of the functions seems to be above; True ends the search, and is returned.
    """
    return Splitting(inquiry, goals_of(chosen), accept, level).run(share, branching)

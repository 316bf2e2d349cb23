"""MILPs over L2 balls: cuts by the gradient of the norm, which conic relaxations find, until the bound is met.

Each cut holds for every point of the ball, so the model encloses the ball at all times: its bound is sound after any
number of them, whoever found them, and only its point can lie outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np

from convexnn.checks import Floats
from verify.backends.engine_chain import EngineChain
from verify.backends.registry import Backend
from verify.encoding.conic_relaxation import ConicModel
from verify.encoding.encode import Encoding, Milp
from verify.encoding.norm_cuts import GAP, CutSearch
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.request import Request
from verify.milp.scaling import scale
from verify.regions.balls import L2Ball

# The size of a cube in place of the ball, where 1 is the largest inside it; a typical linear function reaches as far.
CUBE = 1.5

# The share of the time that is kept for the engine, and how many times what its tolerances amount to the search goes
# below zero where the sign is asked for.
SEARCHED, LEVEL = 0.5, 3.0


def maximise(
    engine: Backend | EngineChain,
    encoding: Encoding,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    about_sign: bool = True,
) -> EngineResult:
    """Maximise a model with an engine; over an L2 ball add cuts until the bound meets a point inside.

    Parameters
    ----------
    engine : Backend or EngineChain
        The engine.
    encoding : Encoding
        The model.
    left : callable
        Seconds left.
    found : callable
        Whether an input x (d,), which lies in the region, settles the question.
    about_sign : bool, default True
        Whether a bound below 0 settles it too; False where the maximum itself is asked for.

    Notes
    -----
    With moves v >= 0 from the center, u . v <= r holds in the ball for every u of length 1. The search of
    :mod:`verify.encoding.norm_cuts` solves conic relaxations, splits neurons where they are furthest from whole, and
    keeps the multiplier u of each: a MILP with these rows has the bounds of all its nodes (outer approximation, as of
    Duran and Grossmann 1986). It is solved once, or again with the cut of its own pattern where its bound is off the
    best point. The point returned is the best input of the search, drawn into the ball; over 784 inputs and up to 26
    neurons that can switch the bound came to within 5e-10 of it.
    """
    if not isinstance(encoding.region.base, L2Ball) or not encoding.inputs.count:
        return engine.maximise(encoding.milp, left())
    level = -LEVEL * scale(encoding.milp).allowance if about_sign else -inf
    search, until = CutSearch(ConicModel(encoding, encoding.milp), found, level), SEARCHED * left()
    search.run(lambda: left() - until)
    if search.settled:
        return EngineResult(
            EngineStatus.STOPPED, search.values(), inf, "a conic relaxation has a point that settles it"
        )
    outcome = _proven_cuts(engine, search, left, about_sign)
    return outcome if search.point is None else replace(outcome, values=search.values())


def _proven_cuts(
    engine: Backend | EngineChain, search: CutSearch, left: Callable[[], float], about_sign: bool
) -> EngineResult:
    """Let the engine maximise the model of a search: its linear relaxation, then itself, until the bound is met."""
    # The first cut is that of the relaxation itself, and the fewer rows, the less an engine's tolerances amount to.
    known = engine.maximise(search.with_cuts(1).relaxed(), Request(left(), tight=True))
    while not (about_sign and _proven(known)):
        asked = Request(left(), enough=0.0 if about_sign else None, tight=True)
        outcome = engine.maximise(search.with_cuts(), asked)
        if outcome.status in (EngineStatus.INFEASIBLE, EngineStatus.FAILED):
            return outcome
        # What was proven before holds on, where it is worth more with what the tolerances amount to.
        worse = outcome.bound + outcome.allowance > known.bound + known.allowance and not _proven(outcome)
        known = replace(outcome, bound=known.bound, allowance=known.allowance) if worse else outcome
        if outcome.status is not EngineStatus.OPTIMAL or outcome.values is None:
            break
        if outcome.bound <= search.best + GAP * abs(search.best) or not search.add_cut_of(outcome.values, left()):
            break
    return known


def with_cube(encoding: Encoding, milp: Milp) -> Milp:
    """Return the model with moves in a cube of about the reach of its L2 ball, which does not enclose the ball.

    Its multipliers of the other rows are good ones for the ball, which :func:`verify.bounds.duals.milp_bound` puts
    back.
    """
    count, region = len(encoding.inputs.moved), encoding.region.base
    if not isinstance(region, L2Ball) or not count:
        return milp
    upper = milp.upper.copy()
    upper[:count] = np.minimum(upper[:count], CUBE * region.radius / np.sqrt(len(encoding.inputs.used)))
    return replace(milp, upper=upper)


def _proven(outcome: EngineResult) -> bool:
    """Whether the bound is a proof already."""
    return outcome.status in (EngineStatus.OPTIMAL, EngineStatus.STOPPED) and outcome.bound < -outcome.allowance

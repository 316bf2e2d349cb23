"""L2 balls in a MILP: cuts by the gradient of the norm where conic relaxations find them, tangents of parabolas else.

Each cut holds for every point of the ball, so the model encloses the ball at all times: its bound is sound after any
number of them, whoever found them, and only its point can lie outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.backends import Backend, Line
from verify.balls import L2Ball
from verify.conic import Ball, available
from verify.encoding import Encoding, Milp
from verify.intervals import EPS, TINY
from verify.norm_cuts import GAP, Search
from verify.outcome import Ending, Outcome
from verify.request import Request
from verify.scaling import scale

# A point may be outside by this share of the radius.
TOLERANCE = 1e-7

# Where every move gets tangents at first, in radii.
GRID = 0.5 ** np.arange(1, 7)

# The size of a cube in place of the ball, where 1 is the largest inside it; a typical linear function reaches as far.
CUBE = 1.5

# Models solved for tangents, linear relaxations first. A tangent that is violated by less is within what engines let
# pass, and would not move their point.
RELAXED, WHOLE = 20, 40
WEAK = 2e-6

# The share of the time that is kept for the engine, and how many times what its tolerances amount to the search goes
# below zero where the sign is asked for.
SEARCHED, LEVEL = 0.5, 3.0


def maximise(
    engine: Backend | Line,
    encoding: Encoding,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    about_sign: bool = True,
) -> Outcome:
    """Maximise a model with an engine; over an L2 ball add cuts until the bound meets a point inside.

    Parameters
    ----------
    engine : Backend or Line
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
    :mod:`verify.norm_cuts` solves conic relaxations, splits neurons where they are furthest from whole, and keeps the
    multiplier u of each: a MILP with these rows has the bounds of all its parts (outer approximation, as of Duran and
    Grossmann 1986). It is solved once, or again with the cut of its own pattern where its bound is off the best point.
    The point returned is the best input of the search, drawn into the ball; over 784 inputs and up to 26 neurons
    that can switch the bound came to within 5e-10 of it.

    Without Clarabel there are shares e of the squared radius r^2, e >= v^2 / r^2 and
    sum e <= 1, and tangents e >= a v - (a r)^2 / 4 (Vielma, Dunning, Huchette and Lubin 2017), at the points of linear
    relaxations, then of MILPs. Such a point is inside up to what the engine's tolerance lets pass in each tangent: with
    950 moves 3e-4 of the radius.
    """
    milp, region = encoding.milp, encoding.region.base
    if not isinstance(region, L2Ball) or not encoding.inputs.count:
        return engine.maximise(milp, left())
    if available():
        return _by_norm(engine, encoding, left, found, about_sign)
    return _by_shares(engine, encoding, left, found, about_sign)


def _by_norm(
    engine: Backend | Line,
    encoding: Encoding,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    about_sign: bool,
) -> Outcome:
    """Search by conic relaxations, then let the engine prove it on a model with all their cuts."""
    level = -LEVEL * scale(encoding.milp).allowance if about_sign else -inf
    search, until = Search(Ball(encoding, encoding.milp), found, level), SEARCHED * left()
    search.run(lambda: left() - until)
    if search.settled:
        return Outcome(Ending.STOPPED, search.values(), inf, "a conic relaxation has a point that settles it")
    outcome = _proven_cuts(engine, search, left, about_sign)
    return outcome if search.point is None else replace(outcome, values=search.values())


def _proven_cuts(engine: Backend | Line, search: Search, left: Callable[[], float], about_sign: bool) -> Outcome:
    """Let the engine maximise the model of a search: its linear relaxation, then itself, until the bound is met."""
    # The first cut is that of the relaxation itself, and the fewer rows, the less an engine's tolerances amount to.
    known = engine.maximise(search.model(1).relaxed(), Request(left(), tight=True))
    while not (about_sign and _proven(known)):
        asked = Request(left(), enough=0.0 if about_sign else None, tight=True)
        outcome = engine.maximise(search.model(), asked)
        if outcome.ending in (Ending.INFEASIBLE, Ending.FAILED):
            return outcome
        # What was proven before holds on, where it is worth more with what the tolerances amount to.
        worse = outcome.bound + outcome.allowance > known.bound + known.allowance and not _proven(outcome)
        known = replace(outcome, bound=known.bound, allowance=known.allowance) if worse else outcome
        if outcome.ending is not Ending.OPTIMAL or outcome.values is None:
            break
        if outcome.bound <= search.best + GAP * abs(search.best) or not search.look(outcome.values, left()):
            break
    return known


def _by_shares(
    engine: Backend | Line,
    encoding: Encoding,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    about_sign: bool,
) -> Outcome:
    """Add tangents of the moves' parabolas, first at points of linear relaxations, then at points of the MILP."""
    milp, radius = encoding.milp, float(encoding.region.base.radius)  # type: ignore[attr-defined]
    count = len(encoding.inputs.moved)
    grid = np.repeat(np.arange(count), len(GRID)), np.tile(GRID, count)
    relaxed = milp.relaxed()
    relaxed = with_rows(relaxed, *_touching(*grid, count, radius, len(milp.cost)))
    relaxed, outcome, done = _enclose(engine, encoding, relaxed, left, found, RELAXED, about_sign)
    if done:
        return outcome
    start = replace(
        _binding(relaxed, milp.rows.shape[0], outcome.values), integer=milp.integer, conditions=milp.conditions
    )
    return _enclose(engine, encoding, start, left, found, WHOLE, about_sign)[1]


def with_cube(encoding: Encoding, milp: Milp) -> Milp:
    """Return the model with moves in a cube of about the reach of its L2 ball, which does not enclose the ball.

    Its multipliers of the other rows are good ones for the ball, which :func:`verify.duals.milp_bound` puts back.
    """
    count, region = len(encoding.inputs.moved), encoding.region.base
    if not isinstance(region, L2Ball) or not count:
        return milp
    upper = milp.upper.copy()
    upper[:count] = np.minimum(upper[:count], CUBE * region.radius / np.sqrt(len(encoding.inputs.used)))
    return replace(milp, upper=upper)


def _enclose(
    engine: Backend | Line,
    encoding: Encoding,
    milp: Milp,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    rounds: int,
    about_sign: bool,
) -> tuple[Milp, Outcome, bool]:
    """Add tangents to a model until its point is inside; return the last model, its outcome, and whether it settles.

    A model that ends without an optimum, as at the time limit, ends the rounds.
    """
    count, radius, turn = len(encoding.inputs.moved), float(encoding.region.base.radius), 0  # type: ignore[attr-defined]
    while True:
        outcome = engine.maximise(milp, left())
        if (about_sign and _proven(outcome)) or _settled(outcome, encoding, found):
            return milp, outcome, True
        cuts = None if outcome.values is None else tangents(outcome.values, count, radius, len(milp.cost))
        turn += 1
        if cuts is None or outcome.ending is not Ending.OPTIMAL:
            return milp, outcome, False
        if turn >= rounds or left() <= 0.0:
            return milp, replace(outcome, ending=Ending.LIMIT), False
        milp = with_rows(milp, *cuts)


def tangents(values: Floats, count: int, radius: float, n_variables: int) -> tuple[sp.csr_matrix, Floats] | None:
    """Return rows and upper sides that cut off `values`; None where their moves are inside the ball,
    or no tangent is violated by more than an engine lets pass.

    The tangents touch where the line from the center to the point leaves the ball. One with the slope a is
    a v - e <= (a r)^2 / 4, the maximum of a v - v^2 / r^2, so that the rounding of a costs nothing.
    """
    moves, shares = values[:count] / radius, values[count : 2 * count]
    length = float(np.linalg.norm(moves))
    if not length > 1.0 + TOLERANCE:
        return None
    touch = moves / length
    worth = np.flatnonzero(touch * (2.0 * moves - touch) - shares > WEAK)
    if not len(worth):
        return None
    return _touching(worth, touch[worth], count, radius, n_variables)


def _touching(
    moved: NDArray[np.int64], touch: Floats, count: int, radius: float, n_variables: int
) -> tuple[sp.csr_matrix, Floats]:
    """Return the tangents of the parabolas of the moves `moved` (t,) at the moves `touch` (t,), in radii."""
    slopes = 2.0 * touch / radius
    entries = np.concatenate([slopes, np.full(len(moved), -1.0)])
    places = np.tile(np.arange(len(moved)), 2), np.concatenate([moved, moved + count])
    sides = 0.25 * np.square(slopes * radius) * (1.0 + 16.0 * EPS) + TINY
    return sp.csr_matrix((entries, places), shape=(len(moved), n_variables)), sides


def _proven(outcome: Outcome) -> bool:
    """Whether the bound is a proof already."""
    return outcome.ending in (Ending.OPTIMAL, Ending.STOPPED) and outcome.bound < -outcome.allowance


def _settled(outcome: Outcome, encoding: Encoding, found: Callable[[Floats], bool]) -> bool:
    """Whether the point, drawn into the ball, is a witness."""
    return outcome.values is not None and found(encoding.point(outcome.values))


def with_rows(milp: Milp, rows: sp.csr_matrix, upper: Floats) -> Milp:
    """Return the model with `rows` (r, v) v <= `upper` (r,) after its own."""
    return replace(
        milp,
        rows=sp.vstack([milp.rows, rows], format="csr"),
        row_lower=np.concatenate([milp.row_lower, np.full(len(upper), -np.inf)]),
        row_upper=np.concatenate([milp.row_upper, upper]),
    )


def _binding(milp: Milp, plain: int, values: Floats | None) -> Milp:
    """Return the model with its first `plain` rows and those tangents that hold `values` in; all without values."""
    if values is None:
        return milp
    kept = milp.rows @ values >= milp.row_upper - 1e-6
    kept[:plain] = True
    return replace(milp, rows=milp.rows[kept], row_lower=milp.row_lower[kept], row_upper=milp.row_upper[kept])

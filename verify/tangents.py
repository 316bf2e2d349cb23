"""L2 balls in a MILP: shares of the squared radius, each above tangents of a parabola, added where a point is outside.

A tangent holds for every point of the ball, so the model encloses the ball at all times: its bound is sound after any
number of tangents, and only its point can lie outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.backends import Backend, Line
from verify.balls import L2Ball
from verify.encoding import Encoding, Milp
from verify.intervals import EPS, TINY
from verify.outcome import Ending, Outcome

# A point may be outside by this share of the radius.
TOLERANCE = 1e-7

# Where every move gets tangents at first, in radii.
GRID = 0.5 ** np.arange(1, 7)

# Models solved for tangents, linear relaxations first. A tangent that is violated by less is within what engines let
# pass, and would not move their point.
RELAXED, WHOLE = 20, 40
WEAK = 2e-6


def maximise(
    engine: Backend | Line,
    encoding: Encoding,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    about_sign: bool = True,
) -> Outcome:
    """Maximise a model with an engine; over an L2 ball add tangents until its point is inside.

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
    With moves v >= 0 from the center and shares e of the squared radius r^2, e >= v^2 / r^2 and sum e <= 1 is the ball.
    The parabola is replaced by tangents e >= a v - (a r)^2 / 4 (Vielma, Dunning, Huchette and Lubin 2017), first those
    at the points of linear relaxations, then those at the points of MILPs. A point is inside up to 1e-7 of the radius,
    or up to what the engine's own tolerance lets pass in each tangent. With 950 moves that was 3e-4 of the radius.
    """
    milp, region = encoding.milp, encoding.region.base
    if not isinstance(region, L2Ball) or not encoding.inputs.count:
        return engine.maximise(milp, left())
    count = len(encoding.inputs.moved)
    grid = np.repeat(np.arange(count), len(GRID)), np.tile(GRID, count)
    relaxed = replace(milp, integer=np.zeros_like(milp.integer))
    relaxed = _with_rows(relaxed, *_touching(*grid, count, region.radius, len(milp.cost)))
    relaxed, outcome, done = _enclose(engine, encoding, relaxed, left, found, RELAXED, about_sign)
    if done:
        return outcome
    start = replace(_binding(relaxed, milp.rows.shape[0], outcome.values), integer=milp.integer)
    return _enclose(engine, encoding, start, left, found, WHOLE, about_sign)[1]


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
        milp = _with_rows(milp, *cuts)


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
    return outcome.ending is Ending.OPTIMAL and outcome.bound < -outcome.allowance


def _settled(outcome: Outcome, encoding: Encoding, found: Callable[[Floats], bool]) -> bool:
    """Whether the point, drawn into the ball, is a witness."""
    return outcome.values is not None and found(encoding.point(outcome.values))


def _with_rows(milp: Milp, rows: sp.csr_matrix, upper: Floats) -> Milp:
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

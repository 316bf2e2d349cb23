"""Conjunctions: the MILP of the least of several functions, from the MILPs of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.milp.model import Milp
from verify.regions.intervals import EPS


def least_of(milps: Sequence[Milp], lower: Floats, upper: Floats) -> Milp:
    """Return the MILP of max min_j (cost_j . v + constant_j) for models that differ in their objectives alone.

    Parameters
    ----------
    milps : sequence of Milp
        The same variables and rows in each.
    lower, upper : ndarray (j,)
        Finite proven bounds of the objectives.

    Notes
    -----
    One more variable s, the last, with s <= cost_j . v + constant_j for every j; each row is widened by the rounding of
    its objective, so s reaches at least what the network does.
    """
    first = milps[0]
    costs = sp.csr_matrix(np.stack([-milp.cost for milp in milps]))
    room = np.array([milp.constant + milp.error for milp in milps])
    room += 4.0 * EPS * np.abs(room)
    above = sp.hstack([costs, np.ones((len(milps), 1))], format="csr")
    beside = sp.hstack([first.rows, sp.csr_matrix((first.rows.shape[0], 1))], format="csr")
    return Milp(
        cost=np.append(np.zeros(len(first.cost)), 1.0),
        constant=0.0,
        error=0.0,
        rows=sp.csr_matrix(sp.vstack([beside, above])),
        row_lower=np.concatenate([first.row_lower, np.full(len(milps), -np.inf)]),
        row_upper=np.concatenate([first.row_upper, room]),
        lower=np.append(first.lower, lower.min()),
        upper=np.append(first.upper, upper.min()),
        integer=np.append(first.integer, False),
        conditions=first.conditions.beside(1),
    )

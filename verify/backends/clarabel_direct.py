"""The conic solver Clarabel by its own package: linear programs with cones, whose answers nothing rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import scipy.sparse as sp

from convexnn.checks import Floats

# The names of Clarabel's cones.
CONES = {"zero": "ZeroConeT", "nonnegative": "NonnegativeConeT", "second-order": "SecondOrderConeT"}


def minimise_over_cones(
    cost: Floats, matrix: Any, sides: Floats, cones: Sequence[tuple[str, int]], accuracy: float, seconds: float
) -> Any:
    """Return Clarabel's solution of min cost . v where `sides` - `matrix` v lies in a product of cones.

    Parameters
    ----------
    cost, matrix, sides : ndarray (v,), csc_matrix (r, v), ndarray (r,)
        The program.
    cones : sequence of (str, int)
        The kind of each cone, of `CONES`, and how many rows it has; r in all.
    accuracy : float
        Asked of the residuals and of the gap.
    seconds : float
        What it has by then is returned.
    """
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = accuracy
    settings.time_limit = seconds
    quadratic = sp.csc_matrix((len(cost), len(cost)))
    own = [getattr(clarabel, CONES[kind])(size) for kind, size in cones]
    return clarabel.DefaultSolver(quadratic, cost, matrix, sides, own, settings).solve()

"""Whether labels are separated by the columns: then no weights minimise the loss, and longer ones always lower it."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from convexnn.theory.supports.design import Design

# Entries of the linear program up to which it takes a moment.
MOST_ENTRIES = 2_000_000


def separates(design: Design) -> bool | None:
    """Return whether some weights lower the loss of labels for ever; None where the check would be too large.

    There is a direction W with every margin, t_i z_i . w or z_i . (w_y - w_c) for each other class c, at least 0 and
    not all 0 (Albert and Anderson 1984). The linear program max sum_i u_i over margins >= u_i, 0 <= u_i <= 1, has
    optimum 0 where there is none, and at least 1 where there is one, since W may be of any length.
    """
    margins = _margins(design)
    if margins is None:
        return None
    from scipy.optimize import linprog

    count, size = margins.shape
    scaled = margins / np.maximum(np.abs(margins).max(axis=0, initial=0.0), 1e-300)
    found = linprog(
        np.concatenate([np.zeros(size), -np.ones(count)]),
        A_ub=np.hstack([-scaled, np.eye(count)]),
        b_ub=np.zeros(count),
        bounds=[(None, None)] * size + [(0.0, 1.0)] * count,
        method="highs",
    )
    return bool(-found.fun > 0.5) if found.status == 0 else None


def _margins(design: Design) -> Floats | None:
    """Return the margins of the rows, and of each wrong class, as a matrix over the weights; None if too large."""
    program, k = design.program, design.program.n_outputs
    count = design.n_rows * max(1, k - 1)
    if design.matrix is None or count * (design.size + count) > MOST_ENTRIES:
        return None
    if program.loss.name == "logistic":
        return program.targets * design.matrix
    own, signs = program.targets.argmax(axis=1), []
    for offset in range(1, k):
        other = np.eye(k)[(own + offset) % k]
        signs.append(program.targets - other)
    return np.concatenate([(design.matrix[:, :, None] * sign[:, None, :]).reshape(len(sign), -1) for sign in signs])

"""A mixed-integer linear program as plain sparse arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats


@dataclass(frozen=True, eq=False, repr=False)
class Milp:
    """maximise cost . v + constant subject to row_lower <= rows v <= row_upper, lower <= v <= upper, v_i integer.

    `cost`, `lower`, `upper` and the booleans `integer` have shape (v,); `rows` is csr (r, v); `row_lower` and
    `row_upper` have shape (r,), infinite where a side is free. `error` is what rounding can have taken from the
    objective on the way from the network: a bound on the objective holds for the network with `error` added.
    """

    cost: Floats
    constant: float
    error: float
    rows: sp.csr_matrix
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        return (
            f"MILP: {len(self.cost)} variables ({int(self.integer.sum())} binary), "
            f"{self.rows.shape[0]} rows, {self.rows.nnz} nonzeros"
        )

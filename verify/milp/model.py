"""A mixed-integer linear program as plain sparse arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats


@dataclass(frozen=True, eq=False)
class Conditions:
    """Rows that hold where a binary has a value: rows v <= upper wherever v[binaries] == at.

    `rows` is csr (c, v), `upper` (c,), `binaries` (c,) the indices of binary variables and `at` (c,) the value, 0 or 1,
    at which the row of each holds.
    """

    rows: sp.csr_matrix
    upper: Floats
    binaries: NDArray[np.int64]
    at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.upper)

    def beside(self, more: int) -> Conditions:
        """Return the same conditions in a model with so many more variables at its end."""
        rows = self.rows
        shape = (rows.shape[0], rows.shape[1] + more)
        return replace(self, rows=sp.csr_matrix((rows.data, rows.indices, rows.indptr), shape=shape))


def _none() -> Conditions:
    whole = np.empty(0, dtype=np.int64)
    return Conditions(sp.csr_matrix((0, 0)), np.empty(0), whole, whole)


@dataclass(frozen=True, eq=False, repr=False)
class Milp:
    """maximise cost . v + constant subject to row_lower <= rows v <= row_upper, lower <= v <= upper, v_i integer.

    `cost`, `lower`, `upper` and the booleans `integer` have shape (v,); `rows` is csr (r, v); `row_lower` and
    `row_upper` have shape (r,), infinite where a side is free. `error` is what rounding can have taken from the
    objective on the way from the network: a bound on the objective holds for the network with `error` added.
    `conditions` hold beside the rows; a model has none unless it was encoded with indicators.

    Examples
    --------
    >>> import convexnn as cx
    >>> import scipy.optimize as so
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> milp = verify.encode(network, verify.Box([-1.0], [2.0])).milp
    >>> rows = so.LinearConstraint(milp.rows, milp.row_lower, milp.row_upper)
    >>> bounds = so.Bounds(milp.lower, milp.upper)
    >>> result = so.milp(-milp.cost, constraints=rows, bounds=bounds, integrality=milp.integer)
    >>> round(milp.constant - result.fun, 6)
    2.0
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
    conditions: Conditions = field(default_factory=_none)

    def relaxed(self) -> Milp:
        """Return the linear relaxation: binaries may be fractions, so that conditions say nothing and are left out."""
        return replace(self, integer=np.zeros_like(self.integer), conditions=_none())

    def with_rows(self, rows: sp.csr_matrix, upper: Floats) -> Milp:
        """Return the model with `rows` (c, v) v <= `upper` (c,) after its own."""
        return replace(
            self,
            rows=sp.vstack([self.rows, rows], format="csr"),
            row_lower=np.concatenate([self.row_lower, np.full(len(upper), -np.inf)]),
            row_upper=np.concatenate([self.row_upper, upper]),
        )

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        nonzeros = self.rows.nnz + self.conditions.rows.nnz
        conditions = f", {len(self.conditions)} conditions" if len(self.conditions) else ""
        return (
            f"MILP: {len(self.cost)} variables ({int(self.integer.sum())} binary), "
            f"{self.rows.shape[0]} rows{conditions}, {nonzeros} nonzeros"
        )

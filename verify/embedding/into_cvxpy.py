"""Embedding into cvxpy: expressions, and constraints to be handed to the problem."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.encoding.encode import Encoding
from verify.regions.box import Box


def vector_of(inputs: Any, size: int) -> cp.Expression:
    """Return the inputs as an affine expression (size,)."""
    expression = inputs if isinstance(inputs, cp.Expression) else cp.hstack(list(inputs))
    if expression.size != size or (expression.ndim > 1 and size not in expression.shape):
        raise ValueError(f"inputs has shape {expression.shape}; the network has {size} inputs")
    if not expression.is_affine():
        raise ValueError("inputs is not affine in its variables; expected variables or affine expressions")
    return expression if expression.ndim == 1 else cp.reshape(expression, (size,), order="C")


def check_model(model: Any) -> None:
    """Raise TypeError for a model: cvxpy has none."""
    if model is not None:
        raise TypeError("model is given with cvxpy inputs; expected none: hand `constraints` to the problem")


def bounds_of(inputs: cp.Expression) -> tuple[Floats, Floats]:
    """Return the bounds that cvxpy knows of an expression."""
    lower, upper = (np.broadcast_to(side, inputs.shape).astype(np.float64) for side in inputs.get_bounds())
    return lower, upper


def add(encoding: Encoding, inputs: cp.Expression, _model: None, region: Box | None) -> tuple[Any, list[Any]]:
    """Return the outputs and the constraints."""
    milp, used = encoding.milp, encoding.inputs.used
    read = len(used)
    added, lower, upper = milp.integer[read:], milp.lower[read:], milp.upper[read:]
    parts: list[tuple[Any, Any]] = [(inputs[used], np.arange(read))] if read else []
    if not added.all():
        values = np.flatnonzero(~added)
        parts.append((cp.Variable(len(values), bounds=[lower[values], upper[values]]), read + values))
    if added.any():
        binaries = np.flatnonzero(added)
        parts.append((cp.Variable(len(binaries), boolean=True), read + binaries))
    constraints = []
    for above, sides in ((True, milp.row_lower), (False, milp.row_upper)):
        held = np.flatnonzero(np.isfinite(sides))
        if len(held):
            left = _product(milp.rows[held], parts)
            constraints.append(left >= sides[held] if above else left <= sides[held])
    if region is not None:
        constraints += [inputs >= region.lower, inputs <= region.upper]
    return _product(encoding.outputs, parts) + encoding.levels, constraints


def _product(matrix: sp.csr_matrix, parts: list[tuple[Any, Any]]) -> Any:
    return sum((sp.csr_matrix(matrix[:, columns]) @ vector for vector, columns in parts), np.zeros(matrix.shape[0]))

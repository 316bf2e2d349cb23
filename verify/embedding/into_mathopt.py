"""Embedding into a MathOpt model of ortools: variables and rows added in place."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from ortools.math_opt.python import mathopt

from convexnn.checks import Floats
from verify.encoding.encode import Encoding
from verify.regions.box import Box


def vector_of(inputs: Any, size: int) -> list[Any]:
    """Return the inputs as a list of variables, expressions or numbers."""
    members = list(np.ravel(np.asarray(inputs, dtype=object)))
    if len(members) != size:
        raise ValueError(f"inputs has {len(members)} entries; the network has {size} inputs")
    return [float(member) if isinstance(member, Real) else member for member in members]


def check_model(model: Any) -> None:
    """Raise TypeError for anything but a MathOpt model."""
    if not isinstance(model, mathopt.Model):
        raise TypeError(f"model is a {type(model).__name__}; expected the mathopt.Model that the inputs belong to")


def bounds_of(inputs: list[Any]) -> tuple[Floats, Floats]:
    """Return the variables' own bounds; expressions have none."""
    ends = [_ends(member) for member in inputs]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def _ends(member: Any) -> tuple[float, float]:
    if isinstance(member, float):
        return member, member
    if isinstance(member, mathopt.Variable):
        return member.lower_bound, member.upper_bound
    return -np.inf, np.inf


def add(encoding: Encoding, inputs: list[Any], model: Any, region: Box | None) -> tuple[list[Any], list[Any]]:
    """Add variables and rows to the model; return the outputs."""
    milp, used = encoding.milp, encoding.inputs.used
    read = len(used)
    new = zip(milp.lower[read:].tolist(), milp.upper[read:].tolist(), milp.integer[read:].tolist(), strict=True)
    terms = [inputs[index] for index in used]
    terms += [model.add_variable(lb=low, ub=high, is_integer=whole) for low, high, whole in new]
    sides = zip(milp.row_lower.tolist(), milp.row_upper.tolist(), strict=True)
    for row, (low, high) in enumerate(sides):
        model.add_linear_constraint(lb=low, ub=high, expr=_expression(milp.rows, row, terms, 0.0))
    if region is not None:
        for member, low, high in zip(inputs, region.lower.tolist(), region.upper.tolist(), strict=True):
            model.add_linear_constraint(lb=low, ub=high, expr=member)
    return [_expression(encoding.outputs, row, terms, level) for row, level in enumerate(encoding.levels.tolist())], []


def _expression(matrix: sp.csr_matrix, row: int, terms: list[Any], offset: float) -> Any:
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    pairs = zip(matrix.data[span].tolist(), matrix.indices[span].tolist(), strict=True)
    return mathopt.fast_sum([weight * terms[column] for weight, column in pairs]) + offset

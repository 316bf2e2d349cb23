"""Embedding into a gurobipy model: variables and rows added in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from verify.encoding.encode import Encoding
from verify.regions.box import Box


def _gurobipy() -> Any:
    return require("gurobipy", "gurobipy", "embedding into a gurobipy model")


def vector_of(inputs: Any, size: int) -> Any:
    """Return the inputs as an MVar or MLinExpr (size,)."""
    gp = _gurobipy()
    vector = inputs if isinstance(inputs, gp.MVar | gp.MLinExpr) else _from_list(list(inputs))
    if vector.size != size:
        raise ValueError(f"inputs has {vector.size} entries; the network has {size} inputs")
    return vector.reshape(-1)


def _from_list(members: list[Any]) -> Any:
    gp = _gurobipy()
    if not all(isinstance(member, gp.Var) for member in members):
        raise TypeError("inputs is a list with other things than gurobipy Vars; expected Vars, an MVar or an MLinExpr")
    return gp.MVar.fromlist(members)


def check_model(model: Any) -> None:
    """Raise TypeError for anything but a gurobipy model."""
    if not isinstance(model, _gurobipy().Model):
        raise TypeError(f"model is a {type(model).__name__}; expected the gurobipy.Model that the inputs belong to")
    model.update()  # bounds of variables that are still pending cannot be read


def bounds_of(inputs: Any) -> tuple[Floats, Floats]:
    """Return the variables' own bounds; expressions have none."""
    gp = _gurobipy()
    if not isinstance(inputs, gp.MVar):
        return np.full(inputs.size, -np.inf), np.full(inputs.size, np.inf)
    ends = [np.asarray(getattr(inputs, side), dtype=np.float64) for side in ("LB", "UB")]
    lower, upper = (np.where(np.abs(end) < gp.GRB.INFINITY, end, np.copysign(np.inf, end)) for end in ends)
    return lower, upper


def add(encoding: Encoding, inputs: Any, model: Any, region: Box | None) -> tuple[Any, list[Any]]:
    """Add variables and rows to the model; return the outputs."""
    gp, milp, used = _gurobipy(), encoding.milp, encoding.inputs.used
    read = len(used)
    kinds = np.where(milp.integer[read:], gp.GRB.BINARY, gp.GRB.CONTINUOUS)
    new = model.addMVar(len(kinds), lb=milp.lower[read:], ub=milp.upper[read:], vtype=kinds) if len(kinds) else None

    def product(matrix: Any) -> Any:
        total = matrix[:, :read] @ inputs[used] if read else np.zeros(matrix.shape[0])
        return total if new is None else total + matrix[:, read:] @ new

    for sides, sense in ((milp.row_lower, ">"), (milp.row_upper, "<")):
        held = np.flatnonzero(np.isfinite(sides))
        if len(held):
            left = product(milp.rows[held])
            model.addConstr(left >= sides[held] if sense == ">" else left <= sides[held])
    if region is not None:
        model.addConstr(inputs >= region.lower)
        model.addConstr(inputs <= region.upper)
    return product(encoding.outputs) + encoding.levels, []

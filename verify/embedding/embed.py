"""``embed``: a network over the variables of a cvxpy, MathOpt or gurobipy model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.objectives import with_values
from verify.encoding.encode import Encoding, encode
from verify.reading.read_network import read_network
from verify.regions.box import Box

# The file for each modelling layer, by the package that its expressions come from.
INTERFACES = {
    "cvxpy": "verify.embedding.into_cvxpy",
    "ortools": "verify.embedding.into_mathopt",
    "gurobipy": "verify.embedding.into_gurobi",
}


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """A network embedded in a model.

    Attributes
    ----------
    outputs : cvxpy expression (k,), list of k MathOpt expressions, or gurobipy MLinExpr (k,)
        The network's outputs at the inputs.
    constraints : list
        cvxpy: what the problem must hold beside the user's own constraints. Empty for the others, whose model has
        them already.
    encoding : Encoding
        The rows and variables that were added, as arrays.

    Examples
    --------
    >>> import convexnn as cx
    >>> import cvxpy as cp
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> x = cp.Variable(1, bounds=[-1, 2])
    >>> inside = verify.embed(network, x)
    >>> print(inside)
    sparse ReLU network 1-2-1: 4 nonzeros, 2 hidden neurons, embedded with 2 binary variables
    >>> inside.outputs.shape, int(inside.encoding.milp.integer.sum())
    ((1,), 2)
    """

    outputs: Any
    constraints: list[Any]
    encoding: Encoding

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        added = int(self.encoding.milp.integer.sum())
        return f"{self.encoding.network}, embedded with {added} binary variables"


def embed(network: Any, inputs: Any, *, model: Any = None, region: Box | None = None) -> Embedding:
    """Return a network's outputs as expressions of the variables of an optimisation model.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, scikit-learn perceptron, or path
        Anything that :func:`verify.read_network` takes, with d inputs and k outputs.
    inputs : cvxpy expression (d,), sequence of d MathOpt variables or expressions, or gurobipy MVar or d Vars
        What the network reads; affine in the model's variables.
    model : ortools MathOpt Model or gurobipy Model, optional
        The model that the inputs belong to; it gets the variables and rows. Not used for cvxpy, whose constraints are
        returned.
    region : Box or LinfBall, optional
        Bounds of the inputs, and linear constraints on them, which become constraints of the model. Default: the
        variables' own bounds as they are now. The tighter they are, the fewer neurons need a binary variable.

    Returns
    -------
    Embedding

    Raises
    ------
    TypeError, ValueError
        Inputs of no known modelling layer or of another size, an input without finite bounds, a region that is no box,
        or no model given.

    Notes
    -----
    The compact big-M encoding of :func:`verify.encode`: a value and a binary variable for each neuron that can be both
    active and inactive. Bounds of variables that are widened later are not seen: give the `region`. A solver holds rows
    and integers to its tolerances, so that the outputs are the network's up to these; evaluate the network at the
    inputs found.

    Examples
    --------
    >>> import convexnn as cx
    >>> import cvxpy as cp
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], None)])
    >>> x = cp.Variable(2, bounds=[-1, 1])
    >>> inside = verify.embed(network, x)
    >>> problem = cp.Problem(cp.Maximize(inside.outputs[0]), [cp.norm1(x) <= 1, *inside.constraints])
    >>> round(float(problem.solve(solver="HIGHS")), 4)
    2.0
    """
    interface = import_module(INTERFACES[_package_of(inputs)])
    net = with_values(read_network(network), "embed")
    inputs = interface.vector_of(inputs, net.n_inputs)
    interface.check_model(model)
    box = region if region is not None else Box(*_finite(*interface.bounds_of(inputs)))
    check_sizes(net, box)
    if not box.base.is_box:
        raise ValueError(f"region is an {box}; expected a Box or LinfBall, and other constraints in your own model")
    encoding = encode(net, box, np.zeros(net.n_outputs))
    outputs, constraints = interface.add(encoding, inputs, model, region)
    return Embedding(outputs, constraints, encoding)


def _package_of(inputs: Any) -> str:
    """Return the package of a vector of variables, or of the first member of a sequence that is one."""
    parts = [inputs, *inputs] if isinstance(inputs, list | tuple | np.ndarray) else [inputs]
    for part in parts:
        package = type(part).__module__.partition(".")[0]
        if package in INTERFACES:
            return package
    kind = type(inputs).__name__
    raise TypeError(f"inputs is a {kind} without variables; expected those of cvxpy, ortools MathOpt or gurobipy")


def _finite(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    free = np.flatnonzero(~np.isfinite(lower) | ~np.isfinite(upper))
    if len(free):
        raise ValueError(
            f"input {free[0]} has no finite bounds ({lower[free[0]]:g} to {upper[free[0]]:g}); "
            "expected bounded variables, or a region"
        )
    return lower, upper

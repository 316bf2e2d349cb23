"""The compact encoding of a network over a region, as plain sparse arrays: by big-M or by conditions."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_known
from convexnn.network import SparseReLUNetwork
from verify.bounds.layer_bounds import check_sizes, crown_bounds, of_units
from verify.bounds.objectives import weights_of, with_values
from verify.milp.input_variables import InputVariables, input_variables
from verify.milp.model import Conditions, Milp
from verify.milp.writing import write_milp
from verify.regions.box import Box
from verify.regions.intervals import Interval, rounding

__all__ = ["Encoding", "Milp", "encode"]

FORMULATIONS = ("big-m", "indicator")


@dataclass(frozen=True, eq=False, repr=False)
class Encoding:
    """A network over a region as a :class:`Milp`, with the way between points and variables.

    Attributes
    ----------
    milp : Milp
        Variables: those of the inputs that matter, then for each layer the unstable neurons' values and their binaries.
    network : SparseReLUNetwork
        The network encoded.
    region : Box
        The region encoded.
    inputs : InputVariables
        The variables of the inputs; inputs without any reach no neuron that can be active.
    unstable : tuple of ndarray of int
        For each hidden layer the neurons that can be both active and inactive over the region.
    outputs, levels : csr_matrix (k, v), ndarray (k,)
        The network's outputs at variables v: ``outputs @ v + levels``.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> encoding = verify.encode(network, verify.Box([-1.0], [2.0]))
    >>> [neurons.tolist() for neurons in encoding.unstable], encoding.outputs.shape
    ([[0, 1]], (1, 5))
    """

    milp: Milp
    network: SparseReLUNetwork
    region: Box
    inputs: InputVariables
    unstable: tuple[NDArray[np.int64], ...]
    outputs: sp.csr_matrix
    levels: Floats

    def __repr__(self) -> str:
        return f"<{self.milp} of {self.network} over {self.region}>"

    def point(self, values: Floats) -> Floats:
        """Return the input x (d,) of the variables' `values`, inside the region; unused inputs are at its center."""
        return self.inputs.point(values)

    def complete(self, x: Floats) -> Floats:
        """Return values for all variables at the input `x` (d,): a feasible point, up to rounding."""
        parts = [self.inputs.values(x)]
        for layer, neurons in zip(self.network.activations(x[None]), self.unstable, strict=False):
            before = layer[0, neurons]
            parts += [np.maximum(before, 0.0), (before > 0.0).astype(np.float64)]
        return np.concatenate(parts)

    def names(self) -> list[str]:
        """Return a name for each variable: x and its number for inputs, a and z with layer and neuron for the rest."""
        hidden = [
            f"{kind}{layer}_{neuron}"
            for layer, neurons in enumerate(self.unstable)
            for kind in "az"
            for neuron in neurons.tolist()
        ]
        return [f"x{number}" for number in range(len(self.milp.cost) - len(hidden))] + hidden

    def write(self, path: str | PathLike[str]) -> None:
        """Write the MILP as a file that other programs read: ``.mps`` or ``.lp``, numbers to the last bit.

        Variables are named x0, x1, ... in the order of :attr:`inputs`, then a0_5 for the value and z0_5 for the binary
        of neuron 5 of the first hidden layer; one named constant is fixed to 1. An MPS file is a minimum, the one sense
        that all readers know: its costs are negated, and its optimum is minus the maximum.

        Raises
        ------
        ValueError, OSError
            Another ending; or a file that cannot be written.
        """
        write_milp(self.milp, self.names(), path)


def encode(
    network: SparseReLUNetwork,
    region: Box,
    objective: int | ArrayLike | None = None,
    bounds: tuple[Interval, ...] | None = None,
    formulation: str = "big-m",
) -> Encoding:
    """Encode the maximum of a linear function of the outputs over a region.

    Parameters
    ----------
    network : SparseReLUNetwork
        Any number of layers.
    region : Box
        The inputs allowed.
    objective : int or array_like (k,), optional
        The output's index, 0 to k - 1, or c in max c . outputs; needed for several outputs.
    bounds : tuple of Interval, optional
        Pre-activation bounds of every layer, from :func:`verify.bound`; default CROWN bounds.
    formulation : {"big-m", "indicator"}
        How a binary switches its neuron: by rows with a big-M, which every engine takes, or by rows that hold where the
        binary has a value, which gurobi, gscip and scip take and HiGHS does not.

    Returns
    -------
    Encoding

    Raises
    ------
    ValueError
        Sizes do not match, a bound is infinite (no finite big-M exists), or an unknown formulation.

    Notes
    -----
    A neuron a = max(p, 0) with bounds l < 0 < u of its pre-activation p gets one variable a in [0, u], one binary z
    and the rows a >= p, a <= p - l (1 - z), a <= u z: its own big-M, and no variable for p. Neurons with u <= 0 are 0
    and those with l >= 0 are p, so both leave no trace (Tjeng, Xiao and Tedrake 2019), and no more do linear units. In
    a ball an input has a variable for each side that it can move to. One row bounds their sum in an L1 ball; an L2 ball
    gets its cuts from :func:`verify.encoding.outer_approximation.maximise` and is its box before. Rows are widened by
    the rounding of the products in them.

    With indicators the last two rows hold where z says so: a <= p where z = 1, a <= 0 where z = 0. There is no l in
    the model then, and an engine has a big-M of its own, if any. Five questions about a dense 784-64-64-10 network over
    L-inf balls of radius 0.02 (15 to 42 unstable neurons) took, big-M and indicators: gscip 7.5, 2.7, 32, 6.2, 21 and
    9.4, 7.4, 41, 3.0, 28 s; gurobi 2.2, 0.7, 3.2, 0.4, 3.5 and 2.0, 0.9, 3.4, 0.7, 4.8 s. So all questions here are
    asked with big-M.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> print(verify.encode(network, verify.Box([-1.0], [2.0])).milp)
    MILP: 5 variables (2 binary), 6 rows, 14 nonzeros
    >>> print(verify.encode(network, verify.Box([0.5], [2.0])).milp)  # no neuron can switch there
    MILP: 1 variables (0 binary), 0 rows, 0 nonzeros
    """
    with_values(network, "encode")
    check_sizes(network, region)
    as_known(formulation, "formulation", FORMULATIONS)
    known = crown_bounds(network, region) if bounds is None else of_units(network, bounds)
    cost = weights_of(objective, network.n_outputs)
    hidden = known[:-1]
    if not all(layer.finite for layer in hidden):
        raise ValueError("a pre-activation bound is infinite; expected weights and a region of moderate size")
    unstable = tuple(layer.switching for layer in hidden)
    inputs = input_variables(region, _used_inputs(network, hidden))
    values = sum(float(layer.upper[neurons].sum()) for layer, neurons in zip(hidden, unstable, strict=True))
    builder = _Builder(inputs.count + 2 * sum(map(len, unstable)), inputs, values, formulation)
    for (weight, bias), layer, neurons in zip(network.layers, hidden, unstable, strict=False):
        builder.relu_layer(weight, bias, layer, neurons)
    builder.affine(*network.layers[-1])
    outputs, levels = builder.slope, builder.offset
    return Encoding(builder.finish(cost), network, region, inputs, unstable, outputs, levels)


def _used_inputs(network: SparseReLUNetwork, hidden: tuple[Interval, ...]) -> NDArray[np.int64]:
    weight = network.layers[0][0]
    rows = weight[np.flatnonzero(hidden[0].live)] if hidden else weight
    return np.unique(rows.indices).astype(np.int64)


class _Builder:
    """Collects variables and rows layer by layer; `slope` v + `offset` is the present layer in the variables v.

    Beside it stand `reach`, an upper bound of sum |terms| of each entry, and `error`, of the rounding that the products
    so far have put into it: rows are widened by it, so that no point of the network is cut off.
    """

    def __init__(self, n_variables: int, inputs: InputVariables, hidden_values: float, formulation: str) -> None:
        self.n_variables, self.position, self.formulation = n_variables, inputs.count, formulation
        self.slope = inputs.matrix(n_variables)
        # Inputs without a variable meet zero weights or dead neurons alone, so their value does not matter.
        self.offset, self.error, self.reach = inputs.base, np.zeros(len(inputs.base)), inputs.reach
        # A product of weights that underflows loses less than the smallest normal number times the variable beside it.
        moved = float(self.reach[inputs.used].sum())
        self.underflow = float(np.finfo(np.float64).tiny) * (1.0 + moved + hidden_values)
        self.lower, self.upper = [inputs.lower], [inputs.upper]
        self.integer = [np.zeros(inputs.count, dtype=bool)]
        self.rows: list[sp.csr_matrix] = []
        self.row_lower: list[Floats] = []
        self.row_upper: list[Floats] = []
        self.conditions: list[Conditions] = []
        if len(inputs.row_upper):
            beside = sp.csr_matrix((len(inputs.row_upper), n_variables - inputs.count))
            self._add(sp.hstack([inputs.rows, beside]), np.full(len(inputs.row_upper), -np.inf), inputs.row_upper)

    def affine(self, weight: sp.csr_matrix, bias: Floats) -> None:
        self.slope, self.offset = sp.csr_matrix(weight @ self.slope), weight @ self.offset + bias
        sizes = abs(weight)
        self.reach = sizes @ self.reach + np.abs(bias)
        lost = (np.diff(weight.indptr) + 2) * self.underflow
        self.error = sizes @ self.error + rounding(weight) * self.reach + lost

    def relu_layer(self, weight: sp.csr_matrix, bias: Floats, bounds: Interval, unstable: NDArray[np.int64]) -> None:
        live = bounds.live.astype(np.float64)
        # Dead rows are cleared first: they may read inputs that have no variable.
        self.affine(sp.csr_matrix(sp.diags(live) @ weight), live * bias)
        values, binaries = self._new_variables(bounds.upper[unstable])
        self._relu_rows(bounds, unstable, values, binaries)
        passed = live.copy()
        passed[unstable] = 0.0
        places = sp.csr_matrix((np.ones(len(unstable)), (unstable, values)), shape=self.slope.shape)
        self.slope, self.offset = sp.csr_matrix(sp.diags(passed) @ self.slope + places), passed * self.offset
        self.slope.eliminate_zeros()
        self.error, self.reach = passed * self.error, passed * self.reach
        self.reach[unstable] = bounds.upper[unstable]

    def _new_variables(self, upper: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        count = len(upper)
        self.lower += [np.zeros(2 * count)]
        self.upper += [upper, np.ones(count)]
        self.integer += [np.repeat([False, True], count)]
        start, self.position = self.position, self.position + 2 * count
        return np.arange(start, start + count), np.arange(start + count, start + 2 * count)

    def _relu_rows(
        self, bounds: Interval, unstable: NDArray[np.int64], values: NDArray[np.int64], binaries: NDArray[np.int64]
    ) -> None:
        low, high, free = bounds.lower[unstable], bounds.upper[unstable], np.full(len(unstable), np.inf)
        offset, value, binary = self.offset[unstable], self._unit(values), self._unit(binaries)
        above = value - self.slope[unstable]
        # Twice the error: it also covers the rounding of the sides themselves, of the size of reach and eps.
        slack = 2.0 * self.error[unstable]
        self._add(above, offset - slack, free)  # a - p >= 0
        if self.formulation == "indicator":
            zeros, ones = np.zeros_like(binaries), np.ones_like(binaries)
            self.conditions.append(Conditions(sp.csr_matrix(above), offset + slack, binaries, ones))  # z = 1: a <= p
            self.conditions.append(Conditions(value, np.zeros(len(unstable)), binaries, zeros))  # z = 0: a <= 0
            return
        self._add(above - sp.diags(low) @ binary, -free, offset - low + slack)  # a - p + l (1 - z) <= 0
        self._add(value - sp.diags(high) @ binary, -free, np.zeros(len(unstable)))  # a - u z <= 0

    def _unit(self, columns: NDArray[np.int64]) -> sp.csr_matrix:
        places = (np.ones(len(columns)), (np.arange(len(columns)), columns))
        return sp.csr_matrix(places, shape=(len(columns), self.n_variables))

    def _add(self, rows: sp.csr_matrix, lower: Floats, upper: Floats) -> None:
        self.rows.append(sp.csr_matrix(rows))
        self.row_lower.append(lower)
        self.row_upper.append(upper)

    def finish(self, objective: Floats) -> Milp:
        self.affine(sp.csr_matrix(objective[None]), np.zeros(1))
        rows = sp.vstack(self.rows, format="csr") if self.rows else sp.csr_matrix((0, self.n_variables))
        more = {"conditions": _joined(self.conditions)} if self.conditions else {}
        return Milp(
            cost=self.slope.toarray()[0],
            constant=float(self.offset[0]),
            error=float(2.0 * self.error[0]),
            rows=rows,
            row_lower=np.concatenate([np.empty(0), *self.row_lower]),
            row_upper=np.concatenate([np.empty(0), *self.row_upper]),
            lower=np.concatenate(self.lower),
            upper=np.concatenate(self.upper),
            integer=np.concatenate(self.integer),
            **more,
        )


def _joined(parts: list[Conditions]) -> Conditions:
    return Conditions(
        rows=sp.vstack([part.rows for part in parts], format="csr"),
        upper=np.concatenate([part.upper for part in parts]),
        binaries=np.concatenate([part.binaries for part in parts]),
        at=np.concatenate([part.at for part in parts]),
    )

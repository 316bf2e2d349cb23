"""Objectives: which functions of the outputs a question is about, and what a final function leaves of it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_floats, as_vector
from convexnn.network import SparseReLUNetwork


def weights_of(objective: int | ArrayLike | None, outputs: int) -> Floats:
    """Return the weights (k,) of an objective: an output's index, weights, or None for a single output."""
    if objective is None:
        if outputs > 1:
            raise ValueError(
                f"objective is None for {outputs} outputs; expected an output's index or {outputs} weights"
            )
        return np.ones(1)
    if _is_index(objective):
        return _unit(objective, outputs, "objective", f"the index of an output, 0 to {outputs - 1}")
    return as_vector(objective, "objective", outputs, "weight per output")


def rows_of(rows: int | ArrayLike | None, outputs: int, name: str) -> sp.csr_matrix:
    """Return several functions (r, k): of an index, of weights (k,) or (r, k), or every output for None."""
    if rows is None:
        return sp.csr_matrix(np.eye(outputs))
    if _is_index(rows):
        return sp.csr_matrix(_unit(rows, outputs, name, f"the index of an output, 0 to {outputs - 1}, or weights"))
    expected = f"an index, or weights of shape ({outputs},) or (r, {outputs})"
    weights: Floats = as_floats(rows, name, 1 if np.ndim(np.asarray(rows, dtype=object)) == 1 else 2, expected)
    weights = np.atleast_2d(weights)
    if weights.shape[1] != outputs or not len(weights):
        raise ValueError(f"{name} has shape {np.shape(rows)}; expected {expected}")
    return sp.csr_matrix(weights)


def with_values(network: SparseReLUNetwork, question: str) -> SparseReLUNetwork:
    """Return a network whose outputs are asked for their values; ValueError where a final function changes these."""
    if network.final is None:
        return network
    raise ValueError(
        f"{question} asks for values of the outputs, and the network ends in a {network.final}, which is no part of a "
        "proof; expected a question about the order of outputs, or the network without it: network.without_final()"
    )


def with_order(network: SparseReLUNetwork) -> tuple[SparseReLUNetwork, str]:
    """Return a network whose outputs are asked for their order, and why a final function does not matter.

    A softmax and its logarithm keep the order of outputs, a sigmoid and a tanh too; of one output the sigmoid is above
    1/2, and the tanh above 0, where the output is positive.
    """
    if network.final is None:
        return network, ""
    kept = "the sign of the output" if network.n_outputs == 1 else "the order of the outputs"
    return network.without_final(), f"The final {network.final} is left out: it keeps {kept}."


def threshold_of(network: SparseReLUNetwork) -> float:
    """Return the value of a single output, with its final function, between the classes -1 and 1."""
    return 0.5 if network.final == "sigmoid" and network.n_outputs == 1 else 0.0


def is_order(rows: Floats, levels: Floats) -> bool:
    """Whether each of the functions `rows` (c, k) @ outputs - `levels` (c,) compares two outputs and nothing else."""
    return bool((levels == 0.0).all() and (np.count_nonzero(rows, axis=1) == 2).all() and not rows.sum(axis=1).any())


def _is_index(given: object) -> bool:
    return isinstance(given, int | np.integer) and not isinstance(given, bool)


def _unit(given: int | ArrayLike, outputs: int, name: str, expected: str) -> Floats:
    index = int(given)  # type: ignore[arg-type]
    if not 0 <= index < outputs:
        raise ValueError(f"{name} is {index}; expected {expected}")
    return np.eye(outputs)[index]

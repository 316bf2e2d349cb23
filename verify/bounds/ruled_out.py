"""Constraints ruled out by bounds of a network, before the alternatives of a property are multiplied out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.layer_bounds import crown_bounds
from verify.properties.formulas import Atom
from verify.regions.box import Box
from verify.regions.intervals import Interval


def inputs_read(network: SparseReLUNetwork, outputs: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the inputs (d,) from which a path of weights leads to one of the outputs."""
    reached = np.zeros(network.n_outputs, dtype=bool)
    reached[list(outputs)] = True
    for weight, _ in reversed(network.layers):
        reached = np.bincount(weight[reached].indices, minlength=weight.shape[1]) > 0
    return reached


def excluder(
    network: SparseReLUNetwork, stop: Callable[[], bool] = lambda: False
) -> Callable[[Floats, Floats, Atom], bool]:
    """Return a function that says of a box, lower and upper (d,), and a constraint whether no input there meets it.

    It rests on CROWN bounds of the outputs, once for each box; a box says nothing where an input that is read has an
    infinite end, and none does once `stop` says that the time is over.
    """
    known = dict[tuple[bytes, tuple[int, ...]], Interval | None]()

    def rules_out(lower: Floats, upper: Floats, atom: Atom) -> bool:
        finite = (np.isfinite(lower) & np.isfinite(upper)).all()
        outputs = () if finite else tuple(sorted(atom.outputs))
        key = lower.tobytes() + upper.tobytes(), outputs
        if key not in known:
            if stop():
                return False
            kept = finite | inputs_read(network, outputs)
            known[key] = _outputs(network, np.where(kept, lower, 0.0), np.where(kept, upper, 0.0))
        found = known[key]
        if found is None:
            return False
        terms = [(factor, found.lower[i], found.upper[i]) for i, factor in atom.outputs.items()]
        terms += [(factor, lower[i], upper[i]) for i, factor in atom.inputs.items()]
        least = _least(terms)
        return least > atom.bound or (atom.strict and least == atom.bound)

    return rules_out


def _outputs(network: SparseReLUNetwork, lower: Floats, upper: Floats) -> Interval | None:
    """Return bounds of the outputs over a box; None where it is infinite."""
    if not (np.isfinite(lower) & np.isfinite(upper)).all() or (lower > upper).any():
        return None
    return crown_bounds(network, Box(lower, upper))[-1]


def _least(terms: list[tuple[float, float, float]]) -> Fraction | float:
    """Return the least of a sum of factors times numbers between two ends, exactly."""
    ends = [(factor, float(low if factor > 0.0 else high)) for factor, low, high in terms]
    if not all(isfinite(end) for _, end in ends):
        return -inf
    return sum((Fraction(factor) * Fraction(end) for factor, end in ends), Fraction(0))

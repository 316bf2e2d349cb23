"""Margins: the linear functions of the outputs that are positive exactly where an input is misclassified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.exact_values import MOST_WORDS
from verify.bounds.functions import Functions


@dataclass(frozen=True, eq=False)
class Margins(Functions):
    """The margins of a network for one label: margin t is how far target class t beats the label.

    For k outputs margin_t = y_t - y_label over the other classes; for one output, with classes -1 and +1, the single
    margin is -label * y. An input is adversarial iff some margin is positive, strictly.

    Attributes
    ----------
    label : int
        The class to be kept.
    targets : tuple of int
        The other classes asked about, one a function.
    """

    label: int
    targets: tuple[int, ...]

    @property
    def of_all(self) -> bool:
        """Whether the targets are all other classes."""
        return len(self.targets) == len(classes_of(self.network)) - 1


def margins_of(network: SparseReLUNetwork, label: int, target: int | None = None) -> Margins:
    """Return the margins of `network` for `label`, of all other classes or of one `target` alone.

    Classes are -1 and +1 with one output, else 0 to k - 1.
    """
    kept = _as_class(network, label, "label")
    others = tuple(c for c in classes_of(network) if c != kept)
    if target is not None:
        if _as_class(network, target, "target") == kept:
            raise ValueError(f"target is {target}, which is the label; expected another class")
        others = (int(target),)
    return Margins(_rows(network.n_outputs, kept, others), np.zeros(len(others)), network, kept, others)


def _rows(n_outputs: int, kept: int, others: tuple[int, ...]) -> sp.csr_matrix:
    """Return y_t - y_kept for every class t of `others`, or -kept * y for one output."""
    if n_outputs == 1:
        return sp.csr_matrix([[-float(kept)]])
    pairs = np.column_stack([others, np.full(len(others), kept)]).ravel()
    signs, ends = np.tile([1.0, -1.0], len(others)), np.arange(0, len(pairs) + 1, 2)
    return sp.csr_matrix((signs, pairs, ends), shape=(len(others), n_outputs))


def _as_class(network: SparseReLUNetwork, value: int, name: str) -> int:
    number = isinstance(value, int | np.integer | float | np.floating) and not isinstance(value, bool)
    if not number or value not in classes_of(network):
        known = "-1 or 1" if network.n_outputs == 1 else f"0 to {network.n_outputs - 1}"
        raise ValueError(f"{name} is {value!r}; expected {known} for a network with {network.n_outputs} outputs")
    return int(value)


def classes_of(network: SparseReLUNetwork) -> tuple[int, ...]:
    """Return the classes: (-1, 1) for one output, else (0, ..., k - 1)."""
    return (-1, 1) if network.n_outputs == 1 else tuple(range(network.n_outputs))


def class_at(network: SparseReLUNetwork, x: Floats) -> int | None:
    """Return the class at `x` (d,): the sign of one output, the largest of several; None at a tie or an overflow.

    Where rounding leaves it open, rational arithmetic decides, unless that is much work.
    """
    with np.errstate(all="ignore"):
        output = network.activations(x[None])[-1][0]
    if not np.isfinite(output).all():
        return None
    first = _class_of(output)
    if first is not None and (network.nnz > MOST_WORDS or (margins_of(network, first).proven_at(x).upper < 0.0).all()):
        return first
    values = Functions(sp.identity(network.n_outputs, format="csr"), np.zeros(network.n_outputs), network).exactly_at(x)
    return first if values is None else _class_of(values)


def _class_of(output: Sequence[Any] | Floats) -> int | None:
    """Return the class of outputs (k,), floats or fractions; None at a tie."""
    if len(output) == 1:
        return int(output[0] > 0) - int(output[0] < 0) or None
    peak = max(output)
    best = [index for index, value in enumerate(output) if value == peak]
    return best[0] if len(best) == 1 else None

"""Margins: the linear functions of the outputs that are positive exactly where an input is misclassified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.crown import output_interval
from verify.intervals import Interval, affine_interval
from verify.regions import Box


@dataclass(frozen=True, eq=False)
class Margins:
    """The margins of a network for one label: margin t is how far target class t beats the label.

    For k outputs margin_t = y_t - y_label over the other classes; for one output, with classes -1 and +1, the single
    margin is -label * y. An input is adversarial iff some margin is positive, strictly.

    Attributes
    ----------
    label : int
        The class to be kept.
    targets : tuple of int
        The other classes.
    rows : csr_matrix (t, k)
        One row a target: margins = rows @ outputs.
    network : SparseReLUNetwork
        The network asked about.
    """

    label: int
    targets: tuple[int, ...]
    rows: sp.csr_matrix
    network: SparseReLUNetwork

    def at(self, X: Floats) -> Floats:
        """Return the margins at rows `X` (n, d), shape (n, t)."""
        with np.errstate(all="ignore"):
            outputs = self.network.activations(X)[-1]
        return np.asarray((self.rows @ outputs.T).T)

    def over(self, hidden: Interval) -> Interval:
        """Return outward-rounded bounds of the margins for last hidden values in `hidden`."""
        # A row is a weight row, negated or minus another: rounded once an entry, which affine_interval allows for.
        weight, bias = self.network.layers[-1]
        return affine_interval(sp.csr_matrix(self.rows @ weight), self.rows @ bias, hidden)

    def crown(self, region: Box, layers: Sequence[Interval]) -> Interval:
        """Return outward-rounded CROWN bounds over a region; `layers` are bounds as :func:`verify.bound` gives them."""
        return output_interval(self.rows, self.network.layers, layers, region)


def margins_of(network: SparseReLUNetwork, label: int) -> Margins:
    """Return the margins of `network` for `label`: -1 or +1 with one output, else 0 to k - 1."""
    classes = classes_of(network)
    if isinstance(label, bool) or not isinstance(label, int | np.integer | float | np.floating) or label not in classes:
        known = "-1 or 1" if network.n_outputs == 1 else f"0 to {network.n_outputs - 1}"
        raise ValueError(f"label is {label!r}; expected {known} for a network with {network.n_outputs} outputs")
    if network.n_outputs == 1:
        return Margins(int(label), (-int(label),), sp.csr_matrix([[-float(label)]]), network)
    targets = tuple(c for c in classes if c != label)
    rows = np.eye(network.n_outputs)[list(targets)]
    rows[:, int(label)] = -1.0
    return Margins(int(label), targets, sp.csr_matrix(rows), network)


def classes_of(network: SparseReLUNetwork) -> tuple[int, ...]:
    """Return the classes: (-1, 1) for one output, else (0, ..., k - 1)."""
    return (-1, 1) if network.n_outputs == 1 else tuple(range(network.n_outputs))


def class_at(network: SparseReLUNetwork, x: Floats) -> int | None:
    """Return the class at `x` (d,): the sign of one output, the largest of several; None at a tie or an overflow."""
    with np.errstate(all="ignore"):
        output = network.activations(x[None])[-1][0]
    if not np.isfinite(output).all():
        return None
    if network.n_outputs == 1:
        return int(np.sign(output[0])) or None
    best = np.flatnonzero(output == output.max())
    return int(best[0]) if len(best) == 1 else None

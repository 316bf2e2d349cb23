"""What a fit returns: the network, how low its loss is, and how the run went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from convexnn.program.accuracy import Accuracy
from convexnn.records import Record
from convexnn.solution import Status


@dataclass(frozen=True, eq=False, repr=False)
class NetworkFit(Record):
    """A network fitted under a budget.

    Attributes
    ----------
    network : SparseReLUNetwork
        The network, for the data as given. Its outputs are numbers for the squared loss, scores before the sigmoid or
        the softmax for labels.
    loss : str
        The loss that was fitted.
    classes : ndarray or None
        The labels in the order of the outputs (for the logistic loss: of a negative and of a positive score); None for
        numbers.
    budget : int
        Most nonzero weights of all layers together; biases do not count.
    objective : float
        Mean loss of the network on the data (sum over outputs), recomputed in float64, without the ridge.
    status : Status
        How the run ended; ``EXACT``: numbers are met to rounding; ``SEARCH_ENDED``: all starts and passes were gone
        through.
    seconds : float
        Wall-clock time.
    history : ndarray
        Mean loss over each pass over the rows, all starts one after another; with a margin that of the worst case.
    accuracy : Accuracy or None
        How well numbers are met, from `objective`; None for labels.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> fit = cx.fit_network(X, np.maximum(X[:, 0] - X[:, 1], 0), budget=2)
    >>> fit.status.name, fit.nnz, round(fit.r2, 6)
    ('SEARCH_ENDED', 2, 0.338271)
    """

    _told = ("nnz", "decibels")

    network: SparseReLUNetwork
    loss: str
    classes: NDArray[Any] | None
    budget: int
    objective: float
    status: Status
    seconds: float
    history: Floats
    accuracy: Accuracy | None = None

    @property
    def relative_error(self) -> float | None:
        """Share of the target's mean square that is missed, sum (y - p)^2 / sum y^2; None for labels."""
        return None if self.accuracy is None else self.accuracy.relative_error

    @property
    def r2(self) -> float | None:
        """1 - sum (y - p)^2 / sum (y - mean y)^2, over all outputs together; None for labels."""
        return None if self.accuracy is None else self.accuracy.r2

    @property
    def decibels(self) -> float | None:
        """-10 log10 of :attr:`relative_error`, infinity where that is 0; None for labels."""
        return None if self.accuracy is None else self.accuracy.decibels

    @property
    def nnz(self) -> int:
        """Number of nonzero weights, biases not counted: what the budget bounds."""
        return sum(int(weight.nnz) for weight, _ in self.network.layers)

    def to_network(self) -> SparseReLUNetwork:
        """Return the network."""
        return self.network

    def predict(self, X: ArrayLike) -> Floats:
        """Return the outputs for rows `X` (n, d): (n,) with one output, else (n, k)."""
        return self.network.predict(X)

    def __repr__(self) -> str:
        return f"<fit: {self.loss} loss {self.objective:.6g}, {self.nnz} weights, {self.status.name}>"

    def __str__(self) -> str:
        met = "" if self.accuracy is None else f", {self.accuracy}"
        return "\n".join(
            (
                f"{self.loss} loss {self.objective:.6g}, {self.nnz} weights of a budget of {self.budget}{met}",
                f"  {self.network}",
                f"  {len(self.history)} passes over the data, {self.seconds:.2f} s. {self.status.value}",
            )
        )

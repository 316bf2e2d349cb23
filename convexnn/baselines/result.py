"""What a baseline returns: its network, what it weighs, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from convexnn.records import Record


@dataclass(frozen=True, eq=False, repr=False)
class Baseline(Record):
    """A network that a baseline trained.

    Attributes
    ----------
    network : SparseReLUNetwork
        The network, with all of its neurons; weights that were pruned are exactly zero. Its outputs are numbers for
        the squared loss, scores before the sigmoid or the softmax for labels.
    method : str
        How it came about, in words.
    nnz : int
        Weights that the budget counts: nonzeros of all layers, without those of a fixed last layer, without biases.
    loss : float
        Mean training loss of the network (sum over outputs), recomputed in float64.
    seconds : float
        Wall-clock time that this network took; where one pass serves several budgets, all rounds down to this one and
        its own last epochs.
    classes : ndarray or None
        The labels in the order of the outputs (for the logistic loss: of a negative and of a positive score); None for
        numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.baselines import train_dense
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> baseline = train_dense(X, y, width=4, epochs=3, lr=0.01)
    >>> baseline.predict(X).shape, baseline.network.n_inputs
    ((200,), 4)
    """

    network: SparseReLUNetwork
    method: str
    nnz: int
    loss: float
    seconds: float
    classes: NDArray[Any] | None = None

    def predict(self, X: ArrayLike) -> Floats:
        """Return the outputs for rows `X` (n, d): (n,) with one output, else (n, k)."""
        return self.network.predict(X)

    def __repr__(self) -> str:
        return f"<baseline: {self.method}, loss {self.loss:.6g}, {self.nnz} weights>"

    def __str__(self) -> str:
        return f"{self.method}: loss {self.loss:.6g}, {self.nnz} weights, {self.seconds:.2f} s\n  {self.network}"

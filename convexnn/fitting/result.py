"""What a fit returns: the network, how low its loss is, and how the run went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from convexnn.solution import Status


@dataclass(frozen=True, eq=False, repr=False)
class NetworkFit:
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
        How the run ended; ``CONVERGED``: the schedule was gone through.
    seconds : float
        Wall-clock time.
    history : ndarray
        Mean loss over each pass over the rows, all starts one after another; with a margin that of the worst case.
    """

    network: SparseReLUNetwork
    loss: str
    classes: NDArray[Any] | None
    budget: int
    objective: float
    status: Status
    seconds: float
    history: Floats

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
        return "\n".join(
            (
                f"{self.loss} loss {self.objective:.6g}, {self.nnz} weights of a budget of {self.budget}",
                f"  {self.network}",
                f"  {len(self.history)} passes over the data, {self.seconds:.2f} s. {self.status.value}",
            )
        )

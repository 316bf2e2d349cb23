"""The operator of a program with an intercept, less the means that the intercept takes up."""

from __future__ import annotations

from torch import Tensor

from convexnn.program.neurons import NeuronOperator


class CentredOperator(NeuronOperator):
    """C A, with C p = p - mean(p) over the rows of each output.

    The loss with an intercept is the same at A w and at C A w. Features with offsets make columns of A that are nearly
    constant: only what C leaves of them bends the loss, and beside the rest it is too small to be seen.

    Parameters
    ----------
    operator : NeuronOperator
        A, of a program with an intercept.
    """

    def __init__(self, operator: NeuronOperator) -> None:
        self.program, self.patterns = operator.program, operator.patterns

    def forward(self, neurons: Tensor) -> Tensor:
        """Return the prediction (n, k) of neurons (q, d), of mean 0 in each output."""
        prediction = super().forward(neurons)
        return prediction - prediction.mean(0)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Return the adjoint (q, d) of a residual (n, k)."""
        return super().adjoint(residual - residual.mean(0))

    def row_gram(self) -> Tensor:
        """Return C A A^T C (n, n) of one output."""
        gram = super().row_gram()
        gram -= gram.mean(0)
        gram -= gram.mean(1, keepdim=True)
        return gram

    def column_gram(self) -> Tensor:
        """Return A^T C A (w, w) of the w weights of an output that the gates own."""
        means = self.patterns.adjoint_per_output(self.patterns.X.new_ones((len(self.patterns.X), 1)))[0]
        means = means[self.patterns.owned] if self.patterns.owned is not None else means.flatten()
        return super().column_gram() - means[:, None] * means / len(self.patterns.X)

"""The neuron operator: the pattern operator on a program's neurons, one row each, with u - v where there is a cone."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from convexnn.checks import Floats
from convexnn.linear.operator import PatternOperator
from convexnn.program.convex_program import ConvexProgram


class NeuronOperator:
    """The linear map of a program from its neurons (q, d) to predictions (n, k), and its adjoint.

    Rows of the neurons run over outputs, then parts (u and v of a cone program), then gates:
    see :attr:`convexnn.ConvexProgram.neurons_shape`.

    Parameters
    ----------
    program : ConvexProgram
        The program.
    device, dtype, memory_limit
        As of :class:`convexnn.linear.operator.PatternOperator`.
    """

    def __init__(
        self,
        program: ConvexProgram,
        *,
        device: str = "cpu",
        dtype: str = "float64",
        memory_limit: int = 1 << 30,
    ) -> None:
        self.program = program
        self.patterns = PatternOperator(
            program.X, program.patterns, device=device, dtype=dtype, memory_limit=memory_limit
        )

    def tensor(self, values: ArrayLike) -> Tensor:
        """Return `values` in the dtype and on the device of the operator."""
        return self.patterns.tensor(values)

    def zeros(self) -> Tensor:
        """Return zero neurons (q, d)."""
        return self.patterns.X.new_zeros(self.program.neurons_shape)

    def forward(self, neurons: Tensor) -> Tensor:
        """Return the prediction (n, k) of neurons (q, d)."""
        pages = neurons.reshape(self.program.n_outputs, self.program.n_parts, *self.patterns.in_shape)
        return self.patterns.forward_per_output(pages[:, 0] - pages[:, 1] if self.program.cone else pages[:, 0])

    def adjoint(self, residual: Tensor) -> Tensor:
        """Return the adjoint (q, d) of a residual (n, k)."""
        pages = self.patterns.adjoint_per_output(residual)
        parts = torch.stack([pages, -pages], dim=1) if self.program.cone else pages
        return parts.reshape(self.program.neurons_shape)

    def column_norms(self) -> Tensor:
        """Return the norm of the column of each weight, (q, d); 0 where it is not owned."""
        return self.patterns.column_norms().repeat(self.program.n_outputs * self.program.n_parts, 1)

    def row_gram(self) -> Tensor:
        """Return A A^T (n, n) of one output, of u or of v where there is a cone."""
        return self.patterns.row_gram()

    def column_gram(self) -> Tensor:
        """Return A^T A (w, w) of the w weights of an output that the gates own, in order."""
        return self.patterns.column_gram()

    def cast(self, dtype: str, basis: Floats | None = None) -> NeuronOperator:
        """Return this operator in another precision, on the same masks; with `basis` T (d, d), for T c_j."""
        other = object.__new__(NeuronOperator)
        other.program, other.patterns = self.program, self.patterns.cast(dtype, basis)
        return other


def to_numpy(tensor: Tensor) -> Floats:
    """Return a tensor as a float64 array."""
    array: Floats = tensor.double().cpu().numpy()
    return array

"""Gates of a few features fitted to a residual, each as one neuron beside a linear function, many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem

# Rows on which gates are fitted at most, rounds of a fit, and the ridge as a share of the columns' squares.
MOST_ROWS, ROUNDS, RIDGE = 5000, 5, 1e-5

# Share of a column's squares below which what a linear function leaves of it is rounding.
LEFT = 1e-4

# Cosine from which gates are one.
SAME = 0.995


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons fitted to a residual, each by itself: weights (p, d), signs (p,) and the squares explained (p,)."""

    weights: Tensor
    signs: Tensor
    explained: Tensor

    def layer(self, chosen: Tensor) -> HiddenLayer:
        """Return the neurons at some indices as a layer."""
        return HiddenLayer(self.weights[chosen], self.signs[chosen], self.weights[chosen])

    def distinct(self, count: int, side: float | None = None) -> Neurons:
        """Return at most `count` of those that explain most, no two of one direction, of one sign if one is given."""
        lengths = self.weights.norm(dim=1, keepdim=True)
        units = self.weights / torch.where(lengths > 0.0, lengths, 1.0)
        scores = self.explained if side is None else torch.where(self.signs == side, self.explained, 0.0)
        chosen = list[int]()
        for index in scores.argsort(descending=True).tolist():
            if len(chosen) == count or not scores[index] > 0.0:
                break
            if not chosen or float((units[chosen] @ units[index]).abs().max()) < SAME:
                chosen.append(index)
        kept = torch.as_tensor(chosen, dtype=torch.long, device=self.signs.device)
        return Neurons(self.weights[kept], self.signs[kept], self.explained[kept])


def fit_gates(problem: Problem, gates: Tensor, order: int, residual: Tensor) -> Neurons:
    """Return neurons at gates (p, d) that are fitted to a residual (n,) without a linear part.

    Of a gate the `order` largest entries count, S. The least squares fit of the residual by D x_S and x_S is solved for
    the weights w of the first, (G_D - G_D G^-1 G_D) w = X_S^T D r, and the gate becomes +-w, on its own side. Of all
    rounds that gate is returned whose neuron, at its best size, explains most.
    """
    rows, residual = problem.rows[:MOST_ROWS], residual[:MOST_ROWS]
    values, places = (part[:, :order] for part in gates.abs().sort(dim=1, descending=True))
    inputs = rows.T[places]
    whole, values = inputs @ inputs.mT, torch.gather(gates, 1, places)
    best, most, sides = torch.zeros_like(values), torch.zeros_like(values[:, 0]), torch.ones_like(values[:, 0])
    for number in range(ROUNDS + 1):
        outputs = torch.relu(values[:, None] @ inputs)
        sizes, explained = _sizes(inputs, whole, outputs, residual)
        better = explained > most
        best = torch.where(better[:, None], sizes.abs()[:, None] * values, best)
        most, sides = torch.where(better, explained, most), torch.where(better, sizes.sign(), sides)
        if number < ROUNDS:
            seen = inputs * (outputs > 0.0)
            values = _fit(seen @ inputs.mT, whole, seen @ residual, values)
    fitted = torch.zeros_like(gates).scatter_(1, places, best)
    return Neurons(fitted, sides, most)


def _sizes(inputs: Tensor, whole: Tensor, outputs: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the multiples (p,) of neurons that fit the residual beside linear functions, and what they explain (p,).

    The neurons have the outputs (p, 1, n), the linear functions the inputs (p, k, n), whose products are `whole`.
    """
    slopes, squares = (outputs @ residual)[:, 0], outputs.square().sum((1, 2))
    linear = inputs @ outputs.mT
    left = squares - (linear * torch.linalg.solve(whole + _ridge(whole), linear)).sum((1, 2))
    bent = left > LEFT * squares
    sizes = torch.where(bent, slopes / torch.where(bent, left, 1.0), 0.0)
    return sizes, sizes * slopes


def _fit(seen: Tensor, whole: Tensor, slope: Tensor, gates: Tensor) -> Tensor:
    """Return fitted gates (p, k), each on its own side.

    A weight that the rows of its gate do not tell, for it keeps the neuron off where its input is not zero, stays as it
    is in proportion to the others.
    """
    ridge = _ridge(whole)
    left = seen - seen @ torch.linalg.solve(whole + ridge, seen)
    told = left.diagonal(dim1=1, dim2=2) > LEFT * whole.diagonal(dim1=1, dim2=2)
    known = torch.where(told[:, :, None] & told[:, None, :], left, 0.0) + ridge
    weights = torch.linalg.solve(known, torch.where(told, slope, 0.0)[..., None])[..., 0]
    side = torch.where((weights * (seen @ gates[..., None])[..., 0]).sum(1) < 0.0, -1.0, 1.0).to(weights.dtype)
    before = torch.where(told, gates, 0.0).norm(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    scale = (weights.norm(dim=1) / before)[:, None]
    return torch.where(scale > 0.0, torch.where(told, side[:, None] * weights, gates * scale), gates)


def _ridge(whole: Tensor) -> Tensor:
    return torch.diag_embed(RIDGE * whole.diagonal(dim1=1, dim2=2) + torch.finfo(whole.dtype).tiny)

"""The data of a fit at unit scale on a torch device, and networks in its units and in the data's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.fitting.layers import Layers
from convexnn.fitting.weighting import weighted_mean
from convexnn.network import SparseReLUNetwork
from convexnn.program.losses import Loss
from convexnn.recovery.recover_weights import root_mean_squares

# Rows (n, d), their target (n, k) and their weights (n,), None where all count alike.
Rows = tuple[Tensor, Tensor, Tensor | None]

# A deviation of this share of the largest entry of its column is rounding.
ROUNDING = 1e-13


# Weights below this share of the largest of their layer are those of neurons that a ridge has shrunk to nothing.
DUST = 1e-14


@dataclass(frozen=True)
class Units:
    """The affine maps x -> (x - center) / scale of the features, and y -> (y - level) / height of the target."""

    center: Floats
    scale: Floats
    level: Floats
    height: float

    @classmethod
    def of(cls, X: Floats, y: Floats, numbers: bool, bias: bool, weights: Floats | None = None) -> Units:
        """Return units in which features, and numbers to be fitted, have root mean square 1, rows weighted.

        Without biases nothing is moved, and labels are not scaled. With biases a feature that does not vary is of no
        use: it is 0 up to rounding, which must not be taken for its scale.
        """
        roots = 1.0 if weights is None else np.sqrt(weights)[:, None]
        center = np.average(X, axis=0, weights=weights) if bias else np.zeros(X.shape[1])
        scale, peaks = root_mean_squares(roots * (X - center)), np.abs(X).max(axis=0)
        scale = np.where(scale > ROUNDING * peaks, scale, peaks)
        level = np.average(y, axis=0, weights=weights) if bias and numbers else np.zeros(y.shape[1])
        height = float(root_mean_squares((roots * (y - level)).reshape(-1, 1))[0]) if numbers else 1.0
        return cls(center, scale, level, height)

    def widened(self, margin: Floats) -> Units:
        """Return units in which features that move by a margin (d,) at most have root mean square 1 at most.

        At the scale of its values alone, a feature that hardly varies would move by very many units.
        """
        return replace(self, scale=np.hypot(self.scale, margin))


@dataclass(frozen=True, eq=False)
class FitProblem:
    """Rows (n, d) and a target (n, k) in working units; the units; the loss; how far rows may move (d,), if at all;
    weights (n,) of mean 1 of the rows, None where all count alike; the sign (d,) of the outputs' slope in each feature,
    0 for any, None where no feature has one.

    The loss of a program takes vectors where there is one output; here every target is (n, k).
    """

    rows: Tensor
    target: Tensor
    units: Units
    loss: Loss
    reach: Tensor | None = None
    weights: Tensor | None = None
    monotonic: Tensor | None = None

    @classmethod
    def make(
        cls,
        X: Floats,
        y: Floats,
        loss: Loss,
        bias: bool,
        device: torch.device,
        margin: Floats | None = None,
        weights: Floats | None = None,
        monotonic: Floats | None = None,
    ) -> FitProblem:
        """Return the problem for data (n, d), a target (n, k) as the loss takes it, and a margin (d,) of each feature.

        A margin of zeros is none, and so are `monotonic` signs of zero; weights (n,) have mean 1.
        """
        units = Units.of(X, y, loss.name == "squared", bias, weights)
        rows, target = (X - units.center) / units.scale, (y - units.level) / units.height
        # Of a feature that does not vary only rounding is left.
        size = np.einsum("nd,nd->d", rows, rows if weights is None else rows * weights[:, None])
        rows[:, size < 0.5 * len(rows)] = 0.0
        reach = None
        if margin is not None and margin.any():
            wide = units.widened(margin)
            units, rows, reach = wide, rows * (units.scale / wide.scale), margin / wide.scale
        # Only squared losses are fitted beyond what float32 can show.
        kind = torch.float64 if loss.name == "squared" else torch.float32
        tensors = [torch.as_tensor(part, dtype=kind, device=device) for part in (rows, target)]
        radius, row_weights = (
            None if part is None else torch.as_tensor(part, dtype=kind, device=device) for part in (reach, weights)
        )
        slopes = None if monotonic is None or not monotonic.any() else torch.as_tensor(monotonic, device=device)
        return cls(tensors[0], tensors[1], units, loss, radius, row_weights, slopes)

    def to(self, dtype: torch.dtype) -> FitProblem:
        """Return this problem in another precision."""
        reach, weights = (None if part is None else part.to(dtype) for part in (self.reach, self.weights))
        return replace(self, rows=self.rows.to(dtype), target=self.target.to(dtype), reach=reach, weights=weights)

    def signs(self, layers: Layers) -> Tensor | None:
        """Return the signs (N,) that the parameters have to have, 0 for any; None where all may have any."""
        return None if self.monotonic is None else layers.monotone_signs(self.monotonic)

    def part(self, index: Any) -> Rows:
        """Return some rows with target and weights."""
        return self.rows[index], self.target[index], None if self.weights is None else self.weights[index]

    def take(self, index: Tensor) -> FitProblem:
        """Return this problem on some rows, in the same units."""
        index = index.to(self.rows.device)
        rows, target, weights = self.part(index)
        return replace(self, rows=rows, target=target, weights=weights)

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.rows)

    def constant(self, sizes: tuple[int, ...], bias: bool) -> Layers:
        """Return layers without weights: with biases those of the best constant, the mean or the labels' shares."""
        layers = Layers.zero(sizes, bias, torch.float64)
        if bias and self.loss.name != "squared":
            # Numbers have mean 0 in their units.
            shares = weighted_mean((self.target > 0.0).double(), self.weights)
            layers.biases[-1].copy_(torch.logit(shares) if self.loss.name == "logistic" else shares.log())
        return layers

    def network(self, layers: Layers) -> SparseReLUNetwork:
        """Return layers as a network for the data as given."""
        weights = [_without_dust(weight.double().cpu().numpy()) for weight in layers.weights]
        biases = [bias.double().cpu().numpy() for bias in layers.biases] or [
            np.zeros(size) for size in layers.sizes[1:]
        ]
        weights[0] = weights[0] / self.units.scale
        if layers.bias:
            biases[0] = biases[0] - weights[0] @ self.units.center
        weights[-1], biases[-1] = weights[-1] * self.units.height, biases[-1] * self.units.height + self.units.level
        return SparseReLUNetwork(_without_idle(weights, biases))

    def layers(self, network: SparseReLUNetwork, sizes: tuple[int, ...], bias: bool) -> Layers:
        """Return a network for the data as given as layers of `sizes`, at least its own; room is left at zero."""
        weights = [weight.toarray() for weight, _ in network.layers]
        biases = [values.copy() for _, values in network.layers]
        biases[0] = biases[0] + weights[0] @ self.units.center
        weights[0] = weights[0] * self.units.scale
        weights[-1], biases[-1] = weights[-1] / self.units.height, (biases[-1] - self.units.level) / self.units.height
        shapes = list(zip(sizes[1:], sizes, strict=False))
        parts: list[Any] = [_padded(weight, shape).ravel() for weight, shape in zip(weights, shapes, strict=True)]
        parts += [_padded(values, shape[:1]) for values, shape in zip(biases, shapes, strict=True)] if bias else []
        flat = torch.as_tensor(np.concatenate(parts), dtype=self.rows.dtype, device=self.rows.device)
        return Layers(sizes, flat, bias)


def _without_dust(weight: Floats) -> Floats:
    """Return a matrix without what a ridge leaves of weights that nothing holds: it is below rounding beside others."""
    return np.where(np.abs(weight) > DUST * np.abs(weight).max(initial=0.0), weight, 0.0)


def _without_idle(weights: list[Floats], biases: list[Floats]) -> list[tuple[Floats, Floats]]:
    """Return the layers without neurons that no output sees or that no input moves; constants go on into biases."""
    for index in range(len(weights) - 1):
        moved = weights[index].any(axis=1)
        constant = np.where(moved, 0.0, np.maximum(biases[index], 0.0))
        biases[index + 1] = biases[index + 1] + weights[index + 1] @ constant
        weights[index + 1] = weights[index + 1] * moved
    for index in reversed(range(len(weights) - 1)):
        live = np.flatnonzero(weights[index + 1].any(axis=0))
        # A layer has at least one neuron.
        live = live if len(live) else np.array([0])
        weights[index], biases[index] = weights[index][live], biases[index][live]
        weights[index + 1] = weights[index + 1][:, live]
    return list(zip(weights, biases, strict=True))


def _padded(values: Floats, shape: tuple[int, ...]) -> Floats:
    full = np.zeros(shape)
    full[tuple(slice(size) for size in values.shape)] = values
    return full

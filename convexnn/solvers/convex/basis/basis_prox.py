"""Proximal maps of penalties of weights u = T c in the coordinates c, exact, for all neurons at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.program.penalties import shrinkage

# Most Newton steps of a secular equation: they converge monotonically, quadratically at the end.
NEWTON_STEPS = 60

# Newton steps that take the rounding of sums out of a root.
POLISH = 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """T^T T = V diag(p) V^T: `values` p (d,) and `vectors` V (d, d), or those of every gate, (m, d) and (m, d, d).

    Gates that do not own every feature have those of their own features.
    """

    values: Tensor
    vectors: Tensor
    owned: Tensor | None = None

    @classmethod
    def of(cls, matrix: Tensor, owned: Tensor | None) -> Spectrum:
        """Return the spectrum of T (d, d), for the owned features (m, d) of every gate, or for all features."""
        own = matrix if owned is None else matrix * owned[:, None, :]
        # By singular values: squares would lose those below a hundred-millionth of the largest.
        _, sizes, vectors = torch.linalg.svd(own)
        least = torch.finfo(sizes.dtype).eps * sizes.amax(-1, keepdim=True)
        return cls(torch.maximum(sizes, least).square(), vectors.mT, owned)

    def into(self, neurons: Tensor) -> Tensor:
        """Return V^T c for neurons (q, d), as pages (q / m, m, d)."""
        if self.owned is None:
            return neurons[None] @ self.vectors
        pages = neurons.reshape(-1, *self.owned.shape)
        return (pages[..., None, :] @ self.vectors)[..., 0, :]

    def back(self, pages: Tensor) -> Tensor:
        """Return the neurons of pages."""
        if self.owned is not None:
            return ((self.vectors @ pages[..., None])[..., 0] * self.owned).flatten(0, 1)
        return (pages @ self.vectors.T).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class NormsInBasis:
    """The map of sum_j ||T c_j||, by the secular equation of each neuron.

    c = r (r I + a T^T T)^-1 q with r = ||T c||, the root of sum_i p_i q_i^2 / (r + a p_i)^2 = 1 in the eigenvectors'
    coordinates; no root above 0, no neuron. The inverse root of that sum is concave in r, so that Newton's method from
    0 goes up to the root and never beyond (Conn, Gould and Toint, "Trust-Region Methods", 2000, section 7.3).
    """

    spectrum: Spectrum

    def __call__(self, point: Tensor, amount: float) -> Tensor:
        pages, values = self.spectrum.into(point.double()), amount * self.spectrum.values
        squares = self.spectrum.values * pages.square()
        height = torch.zeros_like(squares[..., :1])
        live = (squares / values.square()).sum(-1, keepdim=True) > 1.0
        for _ in range(NEWTON_STEPS):
            shifted = height + values
            total = (squares / shifted.square()).sum(-1, keepdim=True).clamp_min(1.0)
            slope = (squares / shifted**3).sum(-1, keepdim=True).clamp_min(1e-300)
            step = (total.sqrt() - 1.0) * total / slope
            height = height + step * live
            if bool((step * live <= 1e-15 * height).all()):
                break
        moved = pages * (height / (height + values)) * live
        return self.spectrum.back(moved).to(point.dtype)


@dataclass(frozen=True, eq=False)
class SquaresInBasis:
    """The map of 1/2 sum ||T c_j||^2: (I + a T^T T)^-1 q."""

    spectrum: Spectrum

    def __call__(self, point: Tensor, amount: float) -> Tensor:
        pages = self.spectrum.into(point.double())
        return self.spectrum.back(pages / (1.0 + amount * self.spectrum.values)).to(point.dtype)


@dataclass(frozen=True, eq=False)
class EntriesInUnits:
    """The map of sum |t_i c_ji|, T the diagonal matrix of `units` t (d,)."""

    units: Tensor

    def __call__(self, point: Tensor, amount: float) -> Tensor:
        most = amount * self.units
        return (point - torch.minimum(torch.maximum(point, -most), most)).to(point.dtype)


@dataclass(frozen=True, eq=False)
class FeaturesInUnits:
    """The map of sum_i |t_i| ||C_:i||, one group a feature, T the diagonal matrix of `units` t (d,)."""

    units: Tensor

    def __call__(self, point: Tensor, amount: float) -> Tensor:
        return (point * shrinkage(point.square().sum(0).sqrt(), amount * self.units.abs())).to(point.dtype)


@dataclass(frozen=True, eq=False)
class ShearedEntries:
    """The map of sum_i |t_i c_i| + l |c_b - <v, c>|, b the bias: features centred and scaled, bias and all penalised.

    The last term is max over |beta| <= l of beta (c_b - <v, c>). At the best beta, c_i is q_i + a beta v_i shrunk by
    a t_i, c_b is q_b - a beta, and c_b - <v, c>, which falls piecewise linearly in beta, is 0 or has the sign of beta.

    Attributes
    ----------
    units : Tensor (d - 1,)
        t.
    means : Tensor (q, d - 1)
        v, 0 where a neuron does not own the feature.
    last : float
        l.
    """

    units: Tensor
    means: Tensor
    last: float

    def __call__(self, point: Tensor, amount: float) -> Tensor:
        centre, bias = point[:, :-1].double(), point[:, -1].double()
        means = self.means
        beta = self._root(centre, bias, amount)
        for _ in range(POLISH):
            entries, slope = self._entries(centre, beta, amount)
            left = bias - amount * beta - (means * entries).sum(1)
            beta = (beta - left / slope).clamp(-self.last, self.last)
        entries = self._entries(centre, beta, amount)[0]
        along = (means * entries).sum(1)
        last = torch.where(beta.abs() < self.last, along, bias - amount * beta)
        return torch.cat([entries, last[:, None]], dim=1).to(point.dtype)

    def _entries(self, centre: Tensor, beta: Tensor, amount: float) -> tuple[Tensor, Tensor]:
        """Return the entries at beta (q,), and the slope in beta of c_b - <v, c>."""
        most = amount * self.units
        moved = centre + amount * beta[:, None] * self.means
        entries = moved - torch.minimum(torch.maximum(moved, -most), most)
        return entries, -amount * (1.0 + (self.means.square() * (entries != 0.0)).sum(1))

    def _root(self, centre: Tensor, bias: Tensor, amount: float) -> Tensor:
        """Return the beta (q,) in [-l, l], by sorting the places where an entry becomes 0 or leaves it.

        From 0 towards the root, so that rounding is small beside the way to go.
        """
        start = bias - (self.means * self._entries(centre, torch.zeros_like(bias), amount)[0]).sum(1)
        side = torch.where(start < 0.0, -1.0, 1.0).to(start.dtype)
        means, most = self.means * side[:, None], amount * self.units
        steps = torch.where(means == 0.0, 1.0, amount * means)
        ends = torch.stack([(-most - centre) / steps, (most - centre) / steps], dim=2).sort(dim=2).values
        squares = amount * means.square()
        turns, order = ends.flatten(1).clamp(0.0, self.last).sort(dim=1)
        changes = torch.stack([squares, -squares], dim=2).flatten(1).gather(1, order)
        first = amount + squares.sum(1, keepdim=True)
        falls = torch.cat([first, first - changes.cumsum(1)], dim=1).clamp_min(amount)
        places = torch.cat([torch.zeros_like(first), turns, torch.full_like(first, self.last)], dim=1)
        fallen = torch.cat([torch.zeros_like(first), (falls * places.diff(dim=1)).cumsum(1)], dim=1)
        left = start.abs()[:, None] - fallen
        last = ((left >= 0.0).sum(1, keepdim=True) - 1).clamp(0, falls.shape[1] - 1)
        beta = places.gather(1, last) + left.gather(1, last) / falls.gather(1, last)
        return side * beta[:, 0].clamp(0.0, self.last)

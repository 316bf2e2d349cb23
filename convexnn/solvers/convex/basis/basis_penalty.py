"""Penalties of weights u = T c as functions of the coordinates c: the penalty as it was stated, the data round."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Bools, Floats
from convexnn.patterns.activation_patterns import gate_tiles, masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.penalties import Penalty
from convexnn.solvers.convex.basis.basis_prox import (
    EntriesInUnits,
    FeaturesInUnits,
    NormsInBasis,
    ShearedEntries,
    Spectrum,
    SquaresInBasis,
)
from convexnn.solvers.convex.basis.round_basis import (
    CONSTANT,
    RoundBasis,
    penalty_curvature,
    plain_basis,
    round_basis,
    unit_basis,
)


class BasisPenalty:
    """A penalty of weights, as a function of their coordinates in a basis: neurons (q, d) as torch tensors.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty.
    like : Tensor
        Of the precision and on the device of the coordinates.
    memory_limit : int
        Bytes that the singular vectors of gates which own different features may take.
    curved : float, default 0.0
        Share of the penalty's own curvature that the basis of a rotation counts beside the data's.

    Attributes
    ----------
    unit : float or None
        t where T is t times the identity: the stated penalty's own map, with another amount.
    """

    def __init__(self, program: ConvexProgram, like: Tensor, memory_limit: int, curved: float = 0.0) -> None:
        assert program.penalty is not None
        self.penalty: Penalty = program.penalty
        self.basis = basis_for(program, memory_limit, curved)
        assert self.basis.matrix is not None
        assert self.basis.inverse is not None
        self.exact = torch.tensor(self.basis.matrix, device=like.device)
        self.matrix = self.exact.to(like.dtype)
        self.inverse = torch.tensor(self.basis.inverse, dtype=like.dtype, device=like.device)
        self.unit = _common_unit(self.exact)
        self.prox = _proximal_map(program, self.exact, self.unit)

    def weights(self, coordinates: Tensor) -> Tensor:
        """Return the weights T c; an entry that is rounding beside its own terms is 0."""
        weights = coordinates @ self.matrix.T
        rounding = (len(self.matrix) + 8) * torch.finfo(weights.dtype).eps
        return weights * (weights.abs() > rounding * (coordinates.abs() @ self.matrix.abs().T))

    def coordinates(self, weights: Tensor) -> Tensor:
        """Return the coordinates of weights."""
        return weights @ self.inverse.T

    def weight_slopes(self, slopes: Tensor) -> Tensor:
        """Return the slopes in the weights that belong to slopes in the coordinates."""
        return slopes @ self.inverse

    def value(self, coordinates: Tensor) -> float:
        """Return R(T c)."""
        return self.penalty.value(coordinates @ self.matrix.T)


def basis_for(program: ConvexProgram, memory_limit: int, curved: float = 0.0) -> RoundBasis:
    """Return the roundest basis in which the proximal map of a program's penalty is known, or a plain one."""
    assert program.penalty is not None
    rows = _bending_rows(program)
    plain = plain_basis(rows)
    if plain is not None:
        return plain
    name, features = program.penalty.name, program.patterns.features
    gates, d = features.shape
    spectra = name in ("group_l1", "ridge") and not features.all()
    if name == "feature_l1" or (spectra and 16 * gates * d * d > memory_limit):
        return unit_basis(rows)
    rotate = name != "l1"
    curvature = curved * penalty_curvature(program) if rotate else 0.0
    return round_basis(rows, features, program.patterns.bias, rotate, curvature)


def _bending_rows(program: ConvexProgram) -> Floats:
    """Return the rows (n, d) that a basis is to make round: less their means where an intercept takes those up."""
    rows = program.rows
    if program.cone or not takes_up_means(program):
        return rows
    means = rows.mean(axis=0)
    # A feature that does not vary stays.
    return rows - means * ((rows - means).std(axis=0) > CONSTANT * np.abs(means))


def takes_up_means(program: ConvexProgram) -> bool:
    """Whether an intercept takes up the means of the rows: it does where every gate is active on all of them.

    Elsewhere an offset bends the loss by as much as it is large, and a bias is penalised.
    """
    rows, patterns = program.rows, program.patterns
    if not program.intercept or patterns.bias:
        return False
    return all(masks(rows, patterns.generators[tile]).all() for tile in gate_tiles(len(rows), len(patterns)))


def _common_unit(matrix: Tensor) -> float | None:
    """Return t where T = t I, else None."""
    unit = float(matrix[0, 0])
    return unit if bool((matrix == unit * torch.eye(len(matrix), device=matrix.device)).all()) else None


def _proximal_map(program: ConvexProgram, matrix: Tensor, unit: float | None) -> Callable[[Tensor, float], Tensor]:
    """Return the map argmin_c amount * R(T c) + 1/2 ||c - q||^2 of coordinates q and an amount."""
    assert program.penalty is not None
    name, features = program.penalty.name, program.patterns.features
    if unit is not None:
        stated, factor = program.penalty, unit**program.penalty.degree
        return lambda point, amount: stated.prox(point, factor * amount)
    if name == "none":
        return program.penalty.prox
    if name == "feature_l1":
        return FeaturesInUnits(torch.diagonal(matrix))
    if name == "l1":
        return _entries_map(program, matrix)
    whole = bool(features.all()) or bool((matrix == torch.diag(torch.diagonal(matrix))).all())
    spectrum = Spectrum.of(matrix, None if whole else _tensor(features, matrix))
    return NormsInBasis(spectrum) if name == "group_l1" else SquaresInBasis(spectrum)


def _entries_map(program: ConvexProgram, matrix: Tensor) -> Callable[[Tensor, float], Tensor]:
    last = matrix[-1, -1]
    means = -matrix[-1, :-1] / last
    if not bool(means.any()):
        return EntriesInUnits(torch.diagonal(matrix))
    owned = _tensor(program.owned[:, :-1], matrix)
    return ShearedEntries(torch.diagonal(matrix)[:-1], means * owned, float(last))


def _tensor(flags: Bools, like: Tensor) -> Tensor:
    return torch.as_tensor(flags, device=like.device)

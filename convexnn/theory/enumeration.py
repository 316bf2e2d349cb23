"""The optimum of a small cardinality program with any loss, by fitting every support."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np

from convexnn.checks import Floats, Ints
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.stability import neuron_of
from convexnn.theory.supports.design import Design, as_sparsity, smooth_part
from convexnn.theory.supports.eigenvalues import column_sets
from convexnn.theory.supports.fits import fit_supports

# Supports that are fitted at most.
MOST_SUPPORTS = 200_000
# Share of the largest gradient that there can be at zero weights, at which a fit ends.
TOLERANCE = 1e-12
# Strengths of the ridge, on weights of columns of mean square 1, that lead to the infimum where no weights attain it:
# at the last one the loss is within some 1e-8 of it.
VANISHING = (1e-3, 1e-5, 1e-7, 1e-9)


@dataclass(frozen=True, eq=False)
class EnumeratedOptimum(Record):
    """The least objective over all supports of s weights.

    Attributes
    ----------
    objective : float
        The minimum; where `attained` is False, the loss at weights near enough to the infimum.
    support : ndarray (s,) of int64
        Flat indices (C order) into `weights`, ascending.
    weights : ndarray
        Of :attr:`ConvexProgram.weights_shape`.
    n_supports : int
        Supports tried.
    attained : bool
        Whether a minimum exists on every support, for certain: with the squared loss, and with a ridge.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> best = cx.theory.enumerated_optimum(program)
    >>> best.n_supports, len(best.support), best.attained  # 36 = 9 * 8 / 2
    (36, 2, True)
    """

    objective: float
    support: Ints
    weights: Floats
    n_supports: int
    attained: bool

    def __str__(self) -> str:
        kind = "optimum" if self.attained else "infimum"
        return f"{kind} {self.objective:.6g} over {self.n_supports:,} supports of {len(self.support)} weights"


def enumerated_optimum(program: ConvexProgram, sparsity: int | None = None) -> EnumeratedOptimum:
    """Return the optimum of a cardinality program by fitting every support with Newton's method.

    Parameters
    ----------
    program : ConvexProgram
        Without cones, its objective a loss, alone or with a ridge; a budget per neuron is kept.
    sparsity : int, optional
        s; default the program's budget.

    Returns
    -------
    EnumeratedOptimum

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range, or there are more than 200,000 supports.

    Notes
    -----
    An oracle for small programs; :func:`convexnn.solvers.subset.exact.exact` goes further with the squared loss.
    Without a ridge, labels that a support separates have no best weights on it: the fits follow a ridge that vanishes,
    down to 1e-9 (on the weights of columns of mean square 1), and the loss there, without the ridge, is returned.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> best = cx.theory.enumerated_optimum(program)
    >>> bool(abs(best.objective - cx.solve(program, "exact").objective) < 1e-9)
    True
    """
    design = smooth_part(program)
    asked = as_sparsity(program, sparsity, design.size)
    size = _largest_support(design, asked)
    if comb(design.size, size) > MOST_SUPPORTS:
        raise ValueError(
            f"sparsity is {asked} of {design.size} weights, {comb(design.size, size):.3g} supports; expected at most "
            f"{MOST_SUPPORTS:,}"
        )
    attained = design.strength > 0.0 or program.loss.name == "squared"
    best, support, weights, count = np.inf, np.zeros(0, dtype=np.int64), np.zeros(0), 0
    for supports in _supports(design, size):
        objectives, fitted = _fitted(design, supports, attained)
        count, place = count + len(supports), int(objectives.argmin())
        if objectives[place] < best:
            best, support, weights = float(objectives[place]), supports[place], fitted[place]
    values = np.zeros(design.size)
    values[support] = weights
    full = design.weights(values.reshape(design.n_columns, -1))
    return EnumeratedOptimum(best, _flat(design, support), full, count, attained)


def _fitted(design: Design, supports: Ints, attained: bool) -> tuple[Floats, Floats]:
    """Return the objectives (b,) and the weights (b, s) on supports (b, s)."""
    program = design.program
    squares = design.squares[supports // program.n_outputs]
    slopes = program.loss.gradient(np.zeros_like(program.targets), program.targets)
    # No entry of the gradient at zero is above this, by the inequality of Cauchy and Schwarz.
    tolerance = TOLERANCE * np.sqrt(design.n_rows * squares * np.square(slopes).sum())
    if attained:
        fits = fit_supports(design, supports, tolerance=tolerance)
        return fits.objectives, fits.weights
    fits = fit_supports(design, supports, strength=VANISHING[0] * squares, tolerance=tolerance)
    for strength in VANISHING[1:]:
        fits = fit_supports(design, supports, strength=strength * squares, start=fits.weights, tolerance=tolerance)
    ridge = 0.5 * VANISHING[-1] * (squares * np.square(fits.weights)).sum(axis=1)
    return fits.objectives - ridge, fits.weights


def _supports(design: Design, size: int) -> Iterator[Ints]:
    """Yield the supports (b, size) that the budget per neuron allows, many at a time."""
    cap, owner = design.program.budget_per_neuron, neuron_of(design)
    for supports in column_sets(design.size, size):
        if cap is not None:
            ranked = np.sort(owner[supports], axis=1)
            supports = supports[(ranked[:, cap:] != ranked[:, : size - cap]).all(axis=1)] if cap < size else supports
        if len(supports):
            yield supports


def _largest_support(design: Design, sparsity: int) -> int:
    cap = design.program.budget_per_neuron
    return sparsity if cap is None else min(sparsity, int(np.minimum(np.bincount(neuron_of(design)), cap).sum()))


def _flat(design: Design, support: Ints) -> Ints:
    """Return indices into values (p, k) as flat indices into the program's weights."""
    k, (gates, features) = design.program.n_outputs, design.place
    columns = support // k
    return (gates[columns] * design.program.weights_shape[1] + features[columns]) * k + support % k

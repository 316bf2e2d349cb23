"""Extreme eigenvalues of the columns on random supports: the alpha and beta of recovery guarantees, as measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats, Ints, as_count, as_flag, as_generator
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.supports.design import Design, as_sparsity, smooth_part

# An eigenvalue of this share of the largest counts as zero: the columns depend on each other up to rounding.
DEPENDENT = 1e-12


@dataclass(frozen=True, eq=False)
class RestrictedSpectrum(Record):
    """Eigenvalues of Z_S^T Z_S / n on random supports S of one output.

    Attributes
    ----------
    lowest, highest : ndarray (n_supports,)
        lambda_min and lambda_max of each support.
    n_entries : int
        |S|.
    unit_columns : bool
        Whether the columns were scaled to ||z_i||^2 = n first.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> found = cx.theory.restricted_spectrum(program, n_supports=20)
    >>> found.n_entries, found.lowest.shape, bool(found.alpha <= found.beta)
    (2, (20,), True)
    """

    _told = ("alpha", "beta")

    lowest: Floats
    highest: Floats
    n_entries: int
    unit_columns: bool

    @property
    def alpha(self) -> float:
        """The least eigenvalue met: no smaller than the alpha that holds for all supports."""
        return float(self.lowest.min())

    @property
    def beta(self) -> float:
        """The largest eigenvalue met: no larger than the beta that holds for all supports."""
        return float(self.highest.max())

    @property
    def condition(self) -> float:
        """beta / alpha; infinity where columns of a support depend on each other."""
        return self.beta / self.alpha if self.alpha > DEPENDENT * self.beta else float("inf")

    def __str__(self) -> str:
        unit = ", unit columns" if self.unit_columns else ""
        middle = f"medians {np.median(self.lowest):.3g} and {np.median(self.highest):.3g}"
        return (
            f"alpha <= {self.alpha:.3g}, beta >= {self.beta:.3g}, beta / alpha >= {self.condition:.3g} ({middle}) on "
            f"{len(self.lowest):,} random supports of {self.n_entries}{unit}"
        )


def restricted_spectrum(
    program: ConvexProgram,
    sparsity: int | None = None,
    n_supports: int = 200,
    *,
    unit_columns: bool = False,
    seed: int | np.random.Generator = 0,
) -> RestrictedSpectrum:
    """Return the extreme eigenvalues of Z_S^T Z_S / n on random supports of s columns.

    Parameters
    ----------
    program : ConvexProgram
        Without cones; its loss and penalty play no part.
    sparsity : int, optional
        s, at most the columns of an output; default the program's budget, or all columns if it is larger.
    n_supports : int, default 200
        Supports drawn, uniformly.
    unit_columns : bool, default False
        Scale the columns to ||z_i||^2 = n first, as selection in our solvers does; zero columns are left out.
    seed : int or numpy.random.Generator, default 0
        Of the supports.

    Returns
    -------
    RestrictedSpectrum

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range, or all columns are zero.

    Notes
    -----
    Lemma 1 of arXiv 2509.20323 has alpha I <= A_S^T A_S <= beta I for all |S| <= s, here per row. What random supports
    show is inside what holds for all: `alpha` is an upper bound on theirs, `beta` a lower one.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> found = cx.theory.restricted_spectrum(program, n_supports=20)
    >>> bool(0.0 < found.alpha <= found.beta)
    True
    """
    design = smooth_part(program)
    usable = (
        np.flatnonzero(design.squares > 0.0) if as_flag(unit_columns, "unit_columns") else np.arange(design.n_columns)
    )
    if not len(usable):
        raise ValueError("program has no column that is not zero on its data; expected at least one")
    size = min(as_sparsity(program, sparsity, design.size), len(usable))
    count, rng = as_count(n_supports, "n_supports"), as_generator(seed)
    extremes = [_extremes(design, rng.choice(usable, size, replace=False), unit_columns) for _ in range(count)]
    lowest, highest = np.array(extremes).T
    return RestrictedSpectrum(lowest, highest, size, bool(unit_columns))


def _extremes(design: Design, support: Ints, unit_columns: bool) -> tuple[float, float]:
    columns = design.columns(support)
    if unit_columns:
        columns = columns / np.sqrt(design.squares[support])
    values = np.linalg.svd(columns, compute_uv=False) ** 2 / len(columns)
    return (float(values[-1]) if len(values) == len(support) else 0.0), float(values[0])

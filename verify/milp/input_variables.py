"""The variables of a MILP that stand for the inputs: x itself, or one-sided moves from the center of a ball."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.balls import L2Ball, NormBall
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY


@dataclass(frozen=True, eq=False)
class InputVariables:
    """Variables v with x_i = base_i + sum of signs v over those that move input i, and rows v <= row_upper.

    Attributes
    ----------
    region : Box
        The region that x lies in.
    used : ndarray (i,) of int
        The inputs that have variables; the others stay at the center of the region.
    moved : ndarray (v,) of int
        The input that each variable moves.
    signs : ndarray (v,)
        1 or -1.
    base : ndarray (d,)
        What the moves are added to, for the inputs used.
    reach : ndarray (d,)
        At least |base| and the sizes of all its moves together.
    lower, upper : ndarray (v,)
        Finite bounds.
    rows, row_upper : csr_matrix (r, v), ndarray (r,)
        What else holds.
    """

    region: Box
    used: NDArray[np.int64]
    moved: NDArray[np.int64]
    signs: Floats
    base: Floats
    reach: Floats
    lower: Floats
    upper: Floats
    rows: sp.csr_matrix
    row_upper: Floats

    @property
    def count(self) -> int:
        """v, the number of variables."""
        return len(self.lower)

    def matrix(self, n_variables: int) -> sp.csr_matrix:
        """Return M (d, n_variables) with x = M v + base, `n_variables` at least v."""
        places = (self.signs, (self.moved, np.arange(len(self.moved))))
        return sp.csr_matrix(places, shape=(self.region.size, n_variables))

    def point(self, values: Floats) -> Floats:
        """Return the input x (d,) of variables that begin with these, inside the region."""
        x = self.region.center.copy()
        x[self.used] = self.base[self.used]
        np.add.at(x, self.moved, self.signs * values[: len(self.moved)])
        return self.region.project(x)

    def values(self, x: Floats) -> Floats:
        """Return the variables at the input `x` (d,)."""
        moves = self.signs * (x - self.base)[self.moved]
        if isinstance(self.region.base, L2Ball):
            moves = np.maximum(moves, 0.0)
        return np.clip(moves, self.lower, self.upper)


def input_variables(region: Box, used: NDArray[np.int64]) -> InputVariables:
    """Return the variables for the inputs `used` of a region, and those that its constraints mention.

    Rows and bounds enclose it: a constraint rows x <= upper on x = base + M v is rows M v <= upper - rows base, its
    side rounded up.
    """
    cut = region.constraints
    used = np.union1d(used, cut.mentioned)
    plain = _moves(region.base, used) if isinstance(region.base, NormBall) else _positions(region.base, used)
    if not len(cut):
        return plain
    terms, start = np.diff(cut.rows.indptr), cut.at(plain.base[None])[0]
    lost = (terms + 8) * EPS * (abs(cut.rows) @ np.abs(plain.base) + np.abs(cut.upper)) + (terms + 2) * TINY
    sides = np.where(
        abs(cut.rows) @ np.abs(plain.base) > 0.0, np.nextafter(cut.upper - start + lost, np.inf), cut.upper
    )
    rows = cut.rows @ plain.matrix(plain.count)
    both = sp.csr_matrix(sp.vstack([plain.rows, rows])) if len(plain.row_upper) else sp.csr_matrix(rows)
    return replace(plain, region=region, rows=both, row_upper=np.concatenate([plain.row_upper, sides]))


def _positions(region: Box, used: NDArray[np.int64]) -> InputVariables:
    count = len(used)
    return InputVariables(
        region=region,
        used=used,
        moved=used,
        signs=np.ones(count),
        base=np.zeros(region.size),
        reach=region.reach,
        lower=region.lower[used],
        upper=region.upper[used],
        rows=sp.csr_matrix((0, count)),
        row_upper=np.empty(0),
    )


def _moves(region: NormBall, used: NDArray[np.int64]) -> InputVariables:
    """x = center + up - down; a side that an input cannot move to has no variable.

    In an L1 ball the sum of all is at most the radius; an L2 ball has no rows.
    """
    up, down = used[region.above[used] > 0.0], used[region.below[used] > 0.0]
    upper = np.concatenate([region.above[up], region.below[down]])
    rows = 0 if isinstance(region, L2Ball) else min(1, len(upper))
    return InputVariables(
        region=region,
        used=used,
        moved=np.concatenate([up, down]),
        signs=np.repeat([1.0, -1.0], [len(up), len(down)]),
        base=region.center,
        reach=np.abs(region.center) + region.above + region.below,
        lower=np.zeros(len(upper)),
        upper=upper,
        rows=sp.csr_matrix(np.ones((rows, len(upper)))),
        row_upper=np.full(rows, region.radius),
    )

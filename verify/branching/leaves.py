"""Leaves: parts where every neuron is split, so that the network is affine there, bounded by a conic program each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from convexnn.checks import Floats
from verify.branching.relaxation import KIND, Relaxation
from verify.branching.subproblems import Parts
from verify.regions.balls import L1Ball, L2Ball

# Entries of the affine pieces beyond which a leaf is left as it is, and the accuracy asked of the solver.
LARGEST, ACCURACY = 1 << 20, 1e-11

# Seconds for a leaf: neither our clock nor Ctrl-C is heard in between. What it has by then is a candidate all the same.
SECONDS = 1.0

# How far the multipliers of a leaf without a point are stretched, in sizes of its bound over their own.
STRETCHES = (2.0, 20.0, 200.0)


@dataclass(frozen=True, eq=False)
class Piece:
    """The network on a leaf: its function slope . x + offset, and the rows . x + sides >= 0 that the leaf supposes.

    `slope` (d,), `rows` (u, d), `sides` (u,): one row a neuron.
    """

    slope: Floats
    offset: float
    rows: Floats
    sides: Floats


@dataclass(frozen=True, eq=False)
class Vertex:
    """What a solver says of a leaf.

    Attributes
    ----------
    point : ndarray (d,) or None
        The best input of the leaf, up to its tolerances; None where it has none.
    multipliers : list of (ndarray (u,), ndarray (m,))
        Candidates for `push` and `hold`.
    """

    point: Floats | None
    multipliers: list[tuple[Floats, Floats]]


def finished(relaxation: Relaxation, parts: Parts, stop: Callable[[], bool]) -> tuple[Parts, list[Floats]]:
    """Return leaves with the multipliers that a solver finds best, where they prove more, and their best inputs.

    The inputs (d,) are those of leaves that stay open, drawn into the region.
    """
    tried, points = [], []
    for index in range(len(parts)):
        leaf = parts.take(torch.tensor([index]))
        if not stop() and _solvable(relaxation):
            vertex = solved(relaxation, leaf)
            leaf = _sharper(relaxation, leaf, vertex)
            if vertex.point is not None and bool(leaf.upper > 0.0):
                points.append(relaxation.region.project(vertex.point))
        tried.append(leaf)
    return reduce(Parts.join, tried, parts.take(torch.arange(0))), points


def _sharper(relaxation: Relaxation, leaf: Parts, vertex: Vertex) -> Parts:
    for push, hold in vertex.multipliers:
        found = replace(leaf, push=_tensor(push[None]), hold=_tensor(hold[None]))
        found = replace(found, upper=torch.minimum(leaf.upper, relaxation.proven(found)))
        leaf = found if bool(found.upper < leaf.upper) else leaf
    return leaf


def _solvable(relaxation: Relaxation) -> bool:
    entries = relaxation.region.size * (sum(relaxation.sizes) + len(relaxation.sides))
    return entries <= LARGEST


def solved(relaxation: Relaxation, leaf: Parts) -> Vertex:
    """Return the best input of a leaf, and the multipliers that prove it to be the best.

    Notes
    -----
    The maximum of an affine function over linear constraints within a region: its multipliers give the least bound of
    the leaf (strong duality), and any others a bound too, so that nothing rests on the solver. Of a leaf without a
    point it gives a ray, which proves any bound where it is stretched far enough.
    """
    with np.errstate(all="ignore"):
        piece = _piece(relaxation, leaf)
    if not all(np.isfinite(part).all() for part in (piece.slope, piece.offset, piece.rows, piece.sides)):
        return Vertex(None, [])
    cut = relaxation.region.constraints
    solution = _program(relaxation, piece)
    dual, x = np.array(solution.z), np.array(solution.x)[: relaxation.region.size]
    if not np.isfinite(dual).all():
        return Vertex(None, [])
    count, more = len(piece.sides), len(cut)
    push, hold = np.maximum(dual[:count], 0.0), np.maximum(dual[count : count + more], 0.0) * relaxation.region.norms
    if "Infeasible" not in str(solution.status):
        return Vertex(x if np.isfinite(x).all() else None, [(push, hold)])
    size = abs(piece.offset) + float(np.abs(piece.slope) @ relaxation.region.reach) + float(leaf.upper.abs()[0])
    return Vertex(None, [(stretch * size * push, stretch * size * hold) for stretch in STRETCHES])


def _piece(relaxation: Relaxation, leaf: Parts) -> Piece:
    """Return the affine function of a leaf, and what it supposes."""
    sides = np.split(leaf.side[0].double().numpy(), np.cumsum(relaxation.sizes)[:-1])
    slope, offset = sp.identity(relaxation.region.size, format="csr"), np.zeros(relaxation.region.size)
    rows, levels = [], []
    for layer, at, own in zip(relaxation.hidden, relaxation.at, sides, strict=True):
        before = np.asarray(_dense(layer.weight @ slope))
        height = layer.weight @ offset + layer.bias
        rows.append(own[:, None] * before[at])
        levels.append(own * height[at])
        active = np.ones(len(height))
        active[at] = own > 0.0
        slope, offset = np.zeros((len(layer.live), relaxation.region.size)), np.zeros(len(layer.live))
        slope[layer.live], offset[layer.live] = active[:, None] * before, active * height
    target = int(leaf.target[0])
    weight = relaxation.rows[target] @ relaxation.last.weight
    constant = float(relaxation.rows[target] @ relaxation.last.bias + relaxation.offsets[target])
    return Piece(weight @ slope, float(weight @ offset) + constant, np.concatenate(rows), np.concatenate(levels))


def _program(relaxation: Relaxation, piece: Piece) -> Any:
    """Return the solution of min -slope . x over the leaf: rows of neurons, of constraints, of the box, of a ball."""
    import clarabel

    region, size = relaxation.region, relaxation.region.size
    cut, base, eye = region.constraints, region.base, sp.identity(relaxation.region.size, format="csc")
    blocks = [-piece.rows, cut.rows, eye, -eye]
    sides = [piece.sides, cut.upper, region.upper, -region.lower]
    more = size if isinstance(base, L1Ball) else 0
    matrix = sp.hstack([sp.vstack(blocks), sp.csc_matrix((sum(map(len, sides)), more))], format="csc")
    cones = [clarabel.NonnegativeConeT(matrix.shape[0])]
    if isinstance(base, L1Ball):
        # |x - center| <= t, sum t <= radius.
        extra = sp.bmat([[eye, -eye], [-eye, -eye], [None, np.ones((1, size))]], format="csc")
        sides += [base.center, -base.center, np.array([base.radius])]
    elif isinstance(base, L2Ball):
        extra = sp.vstack([sp.csc_matrix((1, size)), -eye], format="csc")
        sides += [np.array([base.radius]), -base.center]
    if more or isinstance(base, L2Ball):
        matrix = sp.vstack([matrix, extra], format="csc")
        cone = clarabel.NonnegativeConeT if more else clarabel.SecondOrderConeT
        cones.append(cone(extra.shape[0]))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = ACCURACY
    settings.time_limit = SECONDS
    cost = np.concatenate([-piece.slope, np.zeros(more)])
    quadratic = sp.csc_matrix((len(cost), len(cost)))
    return clarabel.DefaultSolver(quadratic, cost, matrix, np.concatenate(sides), cones, settings).solve()


def _dense(matrix: Any) -> Floats:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)


def _tensor(array: Floats) -> torch.Tensor:
    return torch.as_tensor(array, dtype=KIND)

"""Leaves: subproblems where every neuron is split: the network is affine there, and a conic program bounds each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.backends.clarabel_direct import minimise_over_cones
from verify.branching.relaxation import Relaxation
from verify.branching.subproblems import Subproblems
from verify.regions.balls import L1Ball, L2Ball

# Entries of the affine pieces beyond which a leaf is left as it is, and the accuracy asked of the solver.
LARGEST, ACCURACY = 1 << 20, 1e-11

# Seconds for a leaf: neither our clock nor Ctrl-C is heard in between. What it has by then is a candidate all the same.
SECONDS = 1.0

# The share of its width within which an input is at an end, and of the largest within which a multiplier is 0.
NEAR = 1e-7

# How far the multipliers of a leaf without a point are stretched, in sizes of its bound over their own.
STRETCHES = (2.0, 20.0, 200.0)


@dataclass(frozen=True, eq=False)
class AffinePiece:
    """The network on a leaf: its functions slopes . x + offsets, and the rows . x + sides >= 0 that the leaf supposes.

    `slopes` (m, d), `offsets` (m,): one row a function, of which the least is bounded; `rows` (u, d), `sides` (u,): one
    a neuron.
    """

    slopes: Floats
    offsets: Floats
    rows: Floats
    sides: Floats


@dataclass(frozen=True, eq=False)
class LeafSolution:
    """What a solver says of a leaf.

    Attributes
    ----------
    point : ndarray (d,) or None
        The best input of the leaf, up to its tolerances; None where it has none.
    candidates : list of (ndarray (u,), ndarray (m,), ndarray (t,))
        Values of `beta`, `multipliers` and `weights` that may prove more.
    """

    point: Floats | None
    candidates: list[tuple[Floats, Floats, Floats]]


def solve_leaves(
    relaxation: Relaxation, batch: Subproblems, stop: Callable[[], bool]
) -> tuple[Subproblems, list[Floats]]:
    """Return leaves with the multipliers that a solver finds best, where they prove more, and their best inputs.

    The inputs (d,) are those of leaves that stay open, drawn into the region.
    """
    tried, points = [], []
    for index in range(len(batch)):
        leaf = batch.take(torch.tensor([index]))
        if not stop() and _solvable(relaxation):
            solution = solve_leaf(relaxation, leaf)
            leaf = _best_proven(relaxation, leaf, solution)
            if solution.point is not None and bool(leaf.upper > 0.0):
                points.append(relaxation.region.project(solution.point))
        tried.append(leaf)
    return reduce(Subproblems.join, tried, batch.take(torch.arange(0))), points


def _best_proven(relaxation: Relaxation, leaf: Subproblems, solution: LeafSolution) -> Subproblems:
    for candidate in solution.candidates:
        # In float64: their last digits count where a bound is near 0.
        beta, multipliers, weights = (torch.as_tensor(own[None]) for own in candidate)
        found = replace(leaf, beta=beta, multipliers=multipliers, weights=weights)
        leaf = replace(leaf, upper=torch.fmin(leaf.upper, relaxation.proven(found)))
    return leaf


def _solvable(relaxation: Relaxation) -> bool:
    entries = relaxation.region.size * (sum(relaxation.sizes) + len(relaxation.sides))
    return entries <= LARGEST


def solve_leaf(relaxation: Relaxation, leaf: Subproblems) -> LeafSolution:
    """Return the best input of a leaf, and the multipliers that prove it to be the best.

    Notes
    -----
    The maximum of an affine function, or of the least of several, over linear constraints within a region: its
    multipliers, and those of the functions as their weights, give the least bound of the leaf (strong duality), and any
    others a bound too, so that nothing rests on the solver. Of a leaf without a point it gives a ray, which proves any
    bound where it is stretched far enough.
    """
    with np.errstate(all="ignore"):
        piece = _piece(relaxation, leaf)
    if not all(np.isfinite(array).all() for array in (piece.slopes, piece.offsets, piece.rows, piece.sides)):
        return LeafSolution(None, [])
    cut = relaxation.region.constraints
    # The accuracy of the solver is that of a function of size 1.
    unit = float(np.abs(piece.slopes).max(initial=0.0)) or 1.0
    solution = _solve(relaxation, replace(piece, slopes=piece.slopes / unit, offsets=piece.offsets / unit))
    dual, x = np.array(solution.z), np.array(solution.x)[: relaxation.region.size]
    if not np.isfinite(dual).all():
        return LeafSolution(None, [])
    count, more = len(piece.sides), len(cut)
    beta = np.maximum(dual[:count], 0.0)
    multipliers = np.maximum(dual[count : count + more], 0.0) * relaxation.region.norms
    if "Infeasible" not in str(solution.status):
        shares, weights = _shares(relaxation, leaf, dual)
        beta, multipliers = unit * beta, unit * multipliers
        if not np.isfinite(x).all():
            return LeafSolution(None, [(beta, multipliers, weights)])
        settled = _settled(relaxation, piece, shares @ piece.slopes, x, beta, multipliers)
        return LeafSolution(x, [(beta, multipliers, weights), (settled, multipliers, weights)])
    reach = np.abs(piece.offsets) + np.abs(piece.slopes) @ relaxation.region.reach
    size, weights = float(reach.max()) + float(leaf.upper.abs()[0]), leaf.weights[0].double().numpy()
    return LeafSolution(None, [(stretch * size * beta, stretch * size * multipliers, weights) for stretch in STRETCHES])


def _functions_of(relaxation: Relaxation, leaf: Subproblems) -> NDArray[np.int64]:
    """Return the functions (m,) of a leaf, by their index."""
    members, target = relaxation.members, int(leaf.target[0])
    return np.array([target]) if members is None else np.flatnonzero(members[target].numpy())


def _shares(relaxation: Relaxation, leaf: Subproblems, dual: Floats) -> tuple[Floats, Floats]:
    """Return what each function of a leaf counts (m,), and that as weights (t,) of all, by a solution's multipliers."""
    chosen, weights = _functions_of(relaxation, leaf), np.zeros(leaf.weights.shape[1])
    shares = np.maximum(dual[len(dual) - len(chosen) :], 0.0) if len(chosen) > 1 else np.ones(1)
    if len(weights):
        weights[chosen] = shares
    return shares, weights


def _settled(
    relaxation: Relaxation, piece: AffinePiece, slope: Floats, x: Floats, beta: Floats, multipliers: Floats
) -> Floats:
    """Return `beta` moved by what the solver left of the slope along inputs that are at no end: that has to be 0."""
    region = relaxation.region
    with np.errstate(all="ignore"):
        held = (multipliers / region.norms) @ region.constraints.rows if len(multipliers) else 0.0
        left = slope + beta @ piece.rows - held
    rim = NEAR * (region.upper - region.lower)
    inner = (x - region.lower > rim) & (region.upper - x > rim)
    used = beta > NEAR * beta.max(initial=0.0)
    if not (inner.any() and used.any() and np.isfinite(left).all()):
        return beta
    moved = beta.copy()
    moved[used] -= np.linalg.lstsq(piece.rows[used][:, inner].T, left[inner])[0]
    return np.maximum(moved, 0.0)


def _piece(relaxation: Relaxation, leaf: Subproblems) -> AffinePiece:
    """Return the affine function of a leaf, and what it supposes."""
    sides = np.split(leaf.phase[0].double().numpy(), np.cumsum(relaxation.sizes)[:-1])
    slope, offset = sp.identity(relaxation.region.size, format="csr"), np.zeros(relaxation.region.size)
    rows, levels = [], []
    for layer, at, own in zip(relaxation.hidden, relaxation.unstable, sides, strict=True):
        before = np.asarray(_dense(layer.weight @ slope))
        height = layer.weight @ offset + layer.bias
        rows.append(own[:, None] * before[at])
        levels.append(own * height[at])
        active = np.ones(len(height))
        active[at] = own > 0.0
        slope, offset = np.zeros((len(layer.live), relaxation.region.size)), np.zeros(len(layer.live))
        slope[layer.live], offset[layer.live] = active[:, None] * before, active * height
    chosen = _functions_of(relaxation, leaf)
    weight = np.asarray(relaxation.rows[chosen] @ relaxation.last.weight)
    constants = relaxation.rows[chosen] @ relaxation.last.bias + relaxation.offsets[chosen]
    return AffinePiece(weight @ slope, weight @ offset + constants, np.concatenate(rows), np.concatenate(levels))


def _solve(relaxation: Relaxation, piece: AffinePiece) -> Any:
    """Return the solution of min -slope . x over the leaf: rows of neurons, of constraints, of the box, of a ball.

    Of several functions the last variable is the least one, and the last rows say so.
    """
    region, size = relaxation.region, relaxation.region.size
    cut, base, eye = region.constraints, region.base, sp.identity(relaxation.region.size, format="csc")
    blocks = [-piece.rows, cut.rows, eye, -eye]
    sides = [piece.sides, cut.upper, region.upper, -region.lower]
    more = size if isinstance(base, L1Ball) else 0
    matrix = sp.hstack([sp.vstack(blocks), sp.csc_matrix((sum(map(len, sides)), more))], format="csc")
    cones = [("nonnegative", matrix.shape[0])]
    if isinstance(base, L1Ball):
        # |x - center| <= t, sum t <= radius.
        extra = sp.bmat([[eye, -eye], [-eye, -eye], [None, np.ones((1, size))]], format="csc")
        sides += [base.center, -base.center, np.array([base.radius])]
    elif isinstance(base, L2Ball):
        extra = sp.vstack([sp.csc_matrix((1, size)), -eye], format="csc")
        sides += [np.array([base.radius]), -base.center]
    if more or isinstance(base, L2Ball):
        matrix = sp.vstack([matrix, extra], format="csc")
        cones.append(("nonnegative" if more else "second-order", extra.shape[0]))
    cost = np.concatenate([-piece.slopes[0], np.zeros(more)])
    if len(piece.slopes) > 1:
        least = sp.hstack([-piece.slopes, sp.csc_matrix((len(piece.slopes), more))])
        matrix = sp.bmat([[matrix, None], [least, np.ones((len(piece.slopes), 1))]], format="csc")
        sides.append(piece.offsets)
        cones.append(("nonnegative", len(piece.slopes)))
        cost = np.append(np.zeros(len(cost)), -1.0)
    return minimise_over_cones(cost, matrix, np.concatenate(sides), cones, ACCURACY, SECONDS)


def _dense(matrix: Any) -> Floats:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)

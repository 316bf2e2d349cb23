"""Mapping back: from gated blocks D_j X w_j to the neurons of a ReLU network, on arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import nnls

from convexnn.checks import Floats
from convexnn.losses import Loss
from convexnn.network import SparseReLUNetwork
from convexnn.patterns import Bools, masks


@dataclass(frozen=True, eq=False, repr=False)
class Mapping:
    """A ReLU network mapped back from the convex model, and how far it is from it.

    Attributes
    ----------
    network : SparseReLUNetwork
        One hidden layer, output weights +-1, no bias.
    method : str
        ``exact`` (cone decomposition) or ``refit`` (gates := weights on the fixed support).
    error : float
        Worst |network - convex model| over the rows of the data, in units of y.
    loss : float
        The network's own mean loss on the data.
    n_unpaired : int
        Gates whose cone holds no pair u - v = w (``exact`` only); they enter as relu(X w) or -relu(-X w).
    """

    network: SparseReLUNetwork
    method: str
    error: float
    loss: float
    n_unpaired: int

    def __str__(self) -> str:
        unpaired = f", {self.n_unpaired} gates without a pair" if self.n_unpaired else ""
        return (
            f"{self.method} mapping: {self.network}; loss {self.loss:.4g}, at most {self.error:.3g} "
            f"from the convex model{unpaired}"
        )

    def __repr__(self) -> str:
        return f"<{self}>"


def map_back(
    X: Floats, y: Floats, weights: Floats, active: Bools, features: Bools, *, loss: Loss, exact: bool
) -> Mapping:
    """Map the blocks D_j X w_j to a network by the exact or the refit way and measure the difference.

    Parameters: data X (n, d), target y (n,), weights (m, d), masks `active` (n, m), owned `features` (m, d).
    """
    if exact:
        hidden, signs, n_unpaired = map_exact(X, active, features, weights)
    else:
        (hidden, signs), n_unpaired = map_refit(X, y, active, weights), 0
    network = network_of(hidden, signs)
    output = network.predict(X)
    error = float(np.abs(output - ((X @ weights.T) * active).sum(axis=1)).max())
    return Mapping(network, "exact" if exact else "refit", error, loss.value(output, y), n_unpaired)


def network_of(hidden: Floats, signs: Floats) -> SparseReLUNetwork:
    """Return the network sum_j signs_j relu(x . hidden_j), without the neurons that are zero."""
    live = hidden.any(axis=1)
    if not live.any():
        return SparseReLUNetwork([(np.zeros((1, hidden.shape[1])), None)])
    return SparseReLUNetwork([(hidden[live], None), (signs[None, live], None)])


def better_signs(X: Floats, active: Bools, weights: Floats) -> Floats:
    """Return for each gate the output sign whose neuron, relu(X w) or -relu(-X w), is nearer to D X w.

    Parameters: data X (n, d), masks `active` (n, m), weights (m, d); returns +-1, shape (m,).
    """
    linear = X @ weights.T
    block = active * linear
    plus = np.square(block - np.maximum(linear, 0.0)).sum(axis=0)
    minus = np.square(block + np.maximum(-linear, 0.0)).sum(axis=0)
    return np.where(plus <= minus, 1.0, -1.0)


def cone_pair(rows: Floats, active: Bools, weight: Floats) -> tuple[Floats, Floats] | None:
    """Return u, v with D X w = relu(X u) - relu(X v) on the data, or None if there is no pair of moderate size.

    One of them is 0 where w or -w lies in the gate's cone (2D - I) X u >= 0; else both are the pair of least
    ||u||^2 + ||v||^2 in the cone with u - v = w.

    Parameters
    ----------
    rows : ndarray (n, q)
        The data at the features that the gate owns.
    active : ndarray (n,) of bool
        The gate's mask.
    weight : ndarray (q,)
        w, the gate's weights.

    Notes
    -----
    With z = u - w/2 = v + w/2 both cones read (2D - I) X z >= |X w| / 2, so the shortest pair is the point of least
    norm of a polyhedron: Lawson and Hanson's least distance problem, one non-negative least squares problem. Where
    the cone is so thin that z is longer than a million times the distance asked for, the pair would lose its meaning
    in rounding and counts as none. A gate that is active on every row needs no cone: X w = relu(X w) - relu(-X w).
    """
    signed = np.where(active, 1.0, -1.0)[:, None] * rows
    reach = signed @ weight
    slack = 1e-12 * float(np.abs(reach).max(initial=0.0))
    if (reach >= -slack).all():
        return weight, np.zeros_like(weight)
    if (reach <= slack).all():
        return np.zeros_like(weight), -weight
    if active.all():
        return weight, -weight
    centre = _least_norm(signed, np.abs(reach) / 2)
    return None if centre is None else (centre + weight / 2, centre - weight / 2)


def _least_norm(G: Floats, h: Floats) -> Floats | None:
    """Return argmin ||z|| subject to G z >= h, or None if none is found, or none that holds to 1e-9 of the largest h.

    With the rows of G at unit length and the largest h at 1, the last residual of the non-negative least squares
    problem is -1 / (1 + ||z||^2): what is longer than 1e6 drowns in its rounding.
    """
    scale = np.linalg.norm(G, axis=1)
    scale[scale == 0.0] = 1.0
    rows, levels = G / scale[:, None], h / scale
    levels = levels / levels.max()
    system = np.vstack([rows.T, levels[None]])
    target = np.zeros(len(system))
    target[-1] = 1.0
    try:
        multipliers, _ = nnls(system, target, maxiter=30 * system.shape[1])
    except RuntimeError:
        return None
    residual = system @ multipliers - target
    if -residual[-1] < 1e-12:
        return None
    z = -residual[:-1] / residual[-1] * (h / scale).max()
    return z if (G @ z - h).min() >= -1e-9 * h.max() else None


def map_exact(X: Floats, active: Bools, features: Bools, weights: Floats) -> tuple[Floats, Floats, int]:
    """Map each gated block to one or two neurons with the same function on `X`.

    Parameters
    ----------
    X : ndarray (n, d)
        The data.
    active, features : ndarray (n, m) and (m, d) of bool
        Masks and owned features of the gates.
    weights : ndarray (m, d)
        w_j, zero where not owned.

    Returns
    -------
    hidden : ndarray (p, d)
        u_j and v_j, those that are not zero; their support lies in the owned features.
    signs : ndarray (p,)
        +1 for a u_j, -1 for a v_j.
    n_unpaired : int
        Gates without a pair, mapped to the nearer of relu(X w) and -relu(-X w).
    """
    hidden, signs, n_unpaired = [], [], 0
    nearer = better_signs(X, active, weights)
    for gate, weight in enumerate(weights):
        own = features[gate]
        pair = cone_pair(X[:, own], active[:, gate], weight[own])
        if pair is None:
            n_unpaired += 1
            hidden.append(nearer[gate] * weight)
            signs.append(nearer[gate])
            continue
        for part, sign in zip(pair, (1.0, -1.0), strict=True):
            if part.any():
                hidden.append(np.zeros(X.shape[1]))
                hidden[-1][own] = part
                signs.append(sign)
    return np.array(hidden).reshape(-1, X.shape[1]), np.array(signs), n_unpaired


def map_refit(X: Floats, y: Floats, active: Bools, weights: Floats, max_rounds: int = 200) -> tuple[Floats, Floats]:
    """Map each gated block to one neuron on the same support, then refit: gates := weights, least squares, repeat.

    Each round takes the gates of the present weights, solves damped least squares (Levenberg and Marquardt) for the
    step, and takes it only if the network's own squared loss falls; the damping grows until it does. It ends when a
    round lowers the loss by less than 1e-6 of it. The way of "A Recovery Guarantee for Sparse Neural Networks"
    (arXiv 2509.20323), with output signs, and with damping since full steps overshoot the gates they are made for.

    Parameters: data X (n, d), target y (n,), masks `active` (n, m), weights (m, d).
    Returns: hidden weights (m, d) with zeros where `weights` has them, and signs +-1 (m,).
    """
    signs = better_signs(X, active, weights)
    hidden, support = signs[:, None] * weights, np.nonzero(weights)
    damping, loss = 1e-3, _squared(X, y, hidden, signs)
    for _ in range(max_rounds):
        moved = _lowered(X, y, hidden, signs, support, damping, loss)
        if moved is None:
            break
        fall = 1.0 - moved[2] / loss if loss > 0.0 else 0.0
        hidden, damping, loss = moved
        damping = max(damping / 4.0, 1e-12)
        if fall < 1e-6:
            break
    return hidden, signs


def _lowered(
    X: Floats, y: Floats, hidden: Floats, signs: Floats, support: Any, damping: float, loss: float
) -> tuple[Floats, float, float] | None:
    """Return hidden weights of lower loss, the damping that found them, and their loss; None at a local minimum."""
    gates, inputs = support
    columns = X[:, inputs] * (masks(X, hidden)[:, gates] * signs[gates])
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    columns /= norms
    curvature, basis = eigh(columns.T @ columns, check_finite=False)
    slope = basis.T @ (columns.T @ (y - np.maximum(X @ hidden.T, 0.0) @ signs))
    while damping < 1e6:
        candidate = hidden.copy()
        candidate[gates, inputs] += basis @ (slope / (np.maximum(curvature, 0.0) + damping)) / norms
        value = _squared(X, y, candidate, signs)
        if value < loss:
            return candidate, damping, value
        damping *= 4.0
    return None


def _squared(X: Floats, y: Floats, hidden: Floats, signs: Floats) -> float:
    residual = np.maximum(X @ hidden.T, 0.0) @ signs - y
    return float(residual @ residual)

"""The zoo: small problems and networks that the tests of all rooms share, and independent oracles for them."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

import convexnn as cx
from convexnn.checks import Floats

KINDS = ("gaussian", "sparse", "single", "given")


def data(n: int = 30, d: int = 5, seed: int = 0) -> tuple[Floats, Floats]:
    """Return Gaussian rows (n, d) and the outputs of a signed ReLU teacher with some noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    hidden, signs = rng.standard_normal((3, d)), np.array([1.0, -1.0, 1.0])
    return X, np.maximum(X @ hidden.T, 0.0) @ signs + 0.1 * rng.standard_normal(n)


def patterns(X: Floats, kind: str = "gaussian", count: int = 8, seed: int = 0) -> cx.ActivationPatterns:
    """Return patterns of any kind on `X`."""
    if kind == "given":
        generators = np.random.default_rng(seed).standard_normal((count, X.shape[1]))
        generators[::2, 0] = 0.0
        return cx.sample_patterns(X, generators=generators)
    if kind == "single":
        return cx.sample_patterns(X, kind="single")
    return cx.sample_patterns(X, count, kind=kind, seed=seed)


def planted(n: int, d: int, gates: int, weights: int, seed: int) -> tuple[cx.ConvexProgram, NDArray[np.int64]]:
    """Return a noiseless cardinality program whose target has `weights` nonzeros, and their flat indices."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    drawn = cx.sample_patterns(X, gates, seed=rng)
    truth = np.sort(rng.choice(len(drawn) * d, weights, replace=False))
    columns = dense_matrix(X, drawn)[:, truth]
    target = columns @ (rng.choice([-1.0, 1.0], weights) * rng.uniform(1.0, 2.0, weights))
    return cx.ConvexProgram(X, target, drawn, budget=weights), truth


def dense_matrix(X: Floats, drawn: cx.ActivationPatterns) -> Floats:
    """Return A = [D_1 X, ..., D_m X] by its definition, zero where a pattern does not own a feature."""
    blocks = [
        np.where((X @ h >= 0.0)[:, None], X, 0.0) * owned
        for h, owned in zip(drawn.generators, drawn.features, strict=True)
    ]
    return np.concatenate(blocks, axis=1)


def best_subset(A: Floats, y: Floats, size: int) -> float:
    """Return min 1/(2n) ||A w - y||^2 over ||w||_0 <= size, by trying every support."""
    losses = []
    for support in combinations(range(A.shape[1]), size):
        columns = A[:, list(support)]
        residual = columns @ np.linalg.lstsq(columns, y, rcond=None)[0] - y
        losses.append(float(residual @ residual) / (2 * len(y)))
    return min(losses)


def network(sizes: tuple[int, ...], seed: int = 0, density: float = 1.0, bias: bool = True) -> cx.SparseReLUNetwork:
    """Return a random network of those layer sizes, a share `density` of its weights nonzero."""
    rng = np.random.default_rng(seed)
    layers = []
    for inputs, outputs in pairwise(sizes):
        weight = rng.standard_normal((outputs, inputs)) * (rng.random((outputs, inputs)) < density)
        layers.append((weight, rng.standard_normal(outputs) if bias else None))
    return cx.SparseReLUNetwork(layers)


def enumerated_maximum(net: cx.SparseReLUNetwork, lower: Floats, upper: Floats, objective: Floats) -> float:
    """Return max c . outputs over a box by one linear program for every activation pattern of the hidden neurons.

    Patterns are enumerated layer by layer with dense arrays: nothing of `verify` is used.
    """
    best = -np.inf
    hidden = [weight.shape[0] for weight, _ in net.layers[:-1]]
    for choice in product(*(product((False, True), repeat=size) for size in hidden)):
        slope, offset = np.eye(net.n_inputs), np.zeros(net.n_inputs)
        rows, levels = [], []
        for (weight, bias), active in zip(net.layers[:-1], choice, strict=True):
            slope, offset = weight.toarray() @ slope, weight.toarray() @ offset + bias
            side = np.where(active, -1.0, 1.0)
            rows.append(side[:, None] * slope)
            levels.append(-side * offset)
            slope, offset = slope * np.array(active)[:, None], offset * np.array(active)
        weight, bias = net.layers[-1]
        slope, offset = weight.toarray() @ slope, weight.toarray() @ offset + bias
        limits = {"A_ub": np.concatenate(rows), "b_ub": np.concatenate(levels)} if rows else {}
        result = linprog(-(objective @ slope), bounds=np.column_stack([lower, upper]), **limits)
        if result.status == 0:
            best = max(best, float(objective @ offset) - result.fun)
    return best


def exact_outputs(network: cx.SparseReLUNetwork, x: Floats) -> list[list[Fraction]]:
    """Return the pre-activations of every layer at `x` in rational arithmetic."""
    hidden, layers = [Fraction(value) for value in x], []
    for weight, bias in network.layers:
        dense = weight.toarray()
        layers.append(
            [
                sum((Fraction(w) * h for w, h in zip(row, hidden, strict=True)), Fraction(b))
                for row, b in zip(dense, bias, strict=True)
            ]
        )
        hidden = [max(value, Fraction(0)) for value in layers[-1]]
    return layers

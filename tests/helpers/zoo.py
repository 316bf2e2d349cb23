"""The zoo: small problems and networks that the tests of all rooms share, and independent oracles for them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

import convexnn as cx
from convexnn.checks import Floats
from convexnn.program.penalties import PENALTIES
from verify.backends.registry import BACKENDS

# Every MILP engine; those whose package is not here are skipped, with the package named.
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not engine.installed, reason=f"{engine.package} is not installed"))
    for name, engine in BACKENDS.items()
]

KINDS = ("gaussian", "sparse", "single", "given")

# One call of every kind on 30 rows of 6 features.
CALLS: dict[str, dict[str, Any]] = {
    "gaussian": {"n_patterns": 40},
    "sparse": {"n_patterns": 40, "order": 3},
    "single": {},
    "enumerate": {"kind": "enumerate", "order": 2},
    "convolutional": {"n_patterns": 40, "image_shape": (2, 3), "patch": 2},
    "given": {"generators": np.random.default_rng(3).standard_normal((40, 6))},
}


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


def drawn(X: Floats, kind: str, bias: bool, **changes: Any) -> cx.ActivationPatterns:
    """Return patterns of a kind on `X` (n, 6); given gates have a bias of 0."""
    arguments = {"kind": kind, "bias": bias, **CALLS[kind], **changes}
    if kind == "given" and bias:
        arguments["generators"] = np.pad(arguments["generators"], ((0, 0), (0, 1)))
    if kind == "enumerate" and bias:
        arguments["order"] = 1
    return cx.sample_patterns(X, **arguments)


def planted(n: int, d: int, gates: int, weights: int, seed: int) -> tuple[cx.ConvexProgram, NDArray[np.int64]]:
    """Return a noiseless cardinality program whose target has `weights` nonzeros, and their flat indices."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    drawn = cx.sample_patterns(X, gates, seed=rng)
    truth = np.sort(rng.choice(len(drawn) * d, weights, replace=False))
    columns = dense_matrix(X, drawn)[:, truth]
    target = columns @ (rng.choice([-1.0, 1.0], weights) * rng.uniform(1.0, 2.0, weights))
    return cx.ConvexProgram(X, target, drawn, budget=weights), truth


def least_limit(asked: cx.ConvexProgram, **options: Any) -> int:
    """Return the smallest limit that a program can be solved in, found by what is refused."""
    low, high = 0, 1 << 30
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cx.memory_estimate(asked, memory_limit=middle, **options)
            high = middle
        except ValueError:
            low = middle
    return high


# One call of every kind for 4 features and about 8 patterns.
FEW: dict[str, dict[str, Any]] = {
    "gaussian": {"n_patterns": 8},
    "sparse": {"n_patterns": 8, "order": 2},
    "single": {},
    "enumerate": {"order": 1},
    "convolutional": {"n_patterns": 8, "image_shape": (2, 2), "patch": 1},
}


@dataclass(frozen=True)
class Case:
    """One convex program of the zoo: what varies from one to the next."""

    loss: str
    outputs: int
    penalty: str
    kind: str
    bias: bool
    cone: bool

    def __str__(self) -> str:
        words = [self.loss, f"{self.outputs}", self.penalty, self.kind, "bias" * self.bias, "cone" * self.cone]
        return "-".join(word for word in words if word)

    def program(self, scale: float = 1.0) -> cx.ConvexProgram:
        """Return the program on 40 rows of 4 features and 8 gates; `scale` multiplies a numeric target.

        Half as many rows and gates for classes in cones, where admm takes long.
        """
        long = self.cone and self.loss == "softmax"
        X, Y = data(20 if long else 40, 4)
        few = {**FEW[self.kind], "n_patterns": 4} if long else FEW[self.kind]
        gates = cx.sample_patterns(X, kind=self.kind, bias=self.bias, **few)
        strength = STRENGTHS[self.penalty]
        return cx.ConvexProgram(
            X,
            target(self.loss, self.outputs, X, scale * Y),
            gates,
            loss=self.loss,
            penalty=self.penalty,
            strength=None if strength is None else strength * scale ** (2 - PENALTIES[self.penalty].degree),
            cone=self.cone,
        )


# One call of every kind for 4 features and about 8 patterns.
STRENGTHS = {"group_l1": 0.02, "feature_l1": 0.02, "l1": 0.01, "ridge": 0.05, "none": None}


def target(loss: str, outputs: int, X: Floats, Y: Floats) -> NDArray[Any]:
    """Return a target for a loss: numbers (n,) or (n, k), two labels, or the labels of `outputs` classes."""
    if loss == "logistic":
        return np.where(np.median(Y) < Y, "yes", "no")
    if loss == "softmax":
        return np.digitize(Y, np.quantile(Y, np.arange(1, outputs) / outputs))
    peak = np.abs(Y).max()
    return Y if outputs == 1 else np.column_stack([Y, peak * np.abs(X[:, 0]), Y[::-1]])[:, :outputs]


def cases(cone: bool) -> list[Case]:
    """Return every loss and output kind with every penalty, on dense gates, on sparse gates, and with a bias."""
    outputs = [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 3)]
    gates = [("gaussian", False), ("sparse", False), ("gaussian", True)]
    grid = product(outputs, ("group_l1", "feature_l1", "l1", "ridge"), gates)
    found = [Case(*output, penalty, *gate, cone) for output, penalty, gate in grid]
    found += [Case("squared", 1, "group_l1", kind, False, cone) for kind in ("single", "enumerate", "convolutional")]
    # Nothing penalised: labels that the gates separate have no optimum, so numbers alone.
    return [
        *found,
        Case("squared", 1, "none", "gaussian", False, cone),
        Case("squared", 2, "none", "single", True, cone),
    ]


# Every loss, with the outputs that it is tested with where the objective is smooth.
LOSS_OUTPUTS = [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 2), ("softmax", 3)]


def smooth_program(
    loss: str = "squared", outputs: int = 1, *, kind: str = "gaussian", bias: bool = False, **asked: Any
) -> cx.ConvexProgram:
    """Return a program on 40 rows of 4 features and 8 gates; with a ridge of 0.05 where nothing else is asked."""
    X, Y = data(40, 4)
    gates = cx.sample_patterns(X, kind=kind, bias=bias, **FEW[kind])
    options = asked or {"penalty": "ridge", "strength": 0.05}
    return cx.ConvexProgram(X, target(loss, outputs, X, Y), gates, loss=loss, **options)


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


# Maxima that were enumerated before: several engines are held against the same one.
MAXIMA: dict[tuple[bytes, ...], float] = {}


def enumerated_maximum(
    net: cx.SparseReLUNetwork,
    lower: Floats,
    upper: Floats,
    objective: Floats,
    cuts: tuple[Floats, Floats] | None = None,
) -> float:
    """Return max c . outputs over a box by one linear program for every activation pattern of the hidden neurons.

    `cuts` (A, b) confine the box to A x <= b.

    Nothing of `verify` is used.
    """
    layers = [(weight.toarray(), bias) for weight, bias in net.layers]
    sides = (np.zeros((0, net.n_inputs)), np.zeros(0)) if cuts is None else cuts
    asked = [part for layer in layers for part in layer] + [lower, upper, objective, *sides]
    key = tuple(np.asarray(part, dtype=float).tobytes() for part in asked)
    if key not in MAXIMA:
        MAXIMA[key] = _Enumeration(layers, lower, upper, objective).maximum(*sides)
    return MAXIMA[key]


class _Enumeration:
    """Every activation pattern of a network over a box, but for those that no input has.

    Neurons are set on or off one after the other. A side that no sampled point is on is left out where a linear
    program says that no point is; a pattern is, where its function is below the best of another in all of the box.
    """

    def __init__(self, layers: list[tuple[Floats, Floats]], lower: Floats, upper: Floats, objective: Floats) -> None:
        self.layers, self.lower, self.upper, self.objective = layers, lower, upper, objective
        self.best = -np.inf

    def maximum(self, rows: Floats, levels: Floats) -> float:
        """Return the largest value where `rows` @ x <= `levels`."""
        size = len(self.lower)
        points = np.random.default_rng(0).uniform(self.lower, self.upper, (200, size))
        points = points[(points @ rows.T <= levels).all(axis=1)]
        self._look(0, np.eye(size), np.zeros(size), (rows, levels, points))
        return self.best

    def _look(self, depth: int, slope: Floats, offset: Floats, cell: tuple[Floats, ...]) -> None:
        """Go through the patterns from a layer on, in a cell where the inputs of the layer are affine in x."""
        weight, bias = self.layers[depth]
        slope, offset = weight @ slope, weight @ offset + bias
        if depth == len(self.layers) - 1:
            rise, start = self.objective @ slope, float(self.objective @ offset)
            if self._over_box(rise, start) > self.best:
                self.best = max(self.best, self._highest(rise, start, cell))
            return
        cells: list[tuple[list[bool], tuple[Floats, ...]]] = [([], cell)]
        for neuron in zip(slope, offset, strict=True):
            cells = [([*on, side > 0], half) for on, part in cells for side, half in self._halves(part, *neuron)]
        for on, part in cells:
            self._look(depth + 1, slope * np.array(on)[:, None], offset * np.array(on), part)

    def _halves(self, cell: tuple[Floats, ...], slope: Floats, offset: float) -> list[tuple[int, tuple[Floats, ...]]]:
        """Return the sides that a neuron can be on, each with its part of the cell; off, where it is 0 all over it."""
        rows, levels, points = cell
        size = abs(offset) + float(np.abs(slope) @ np.maximum(np.abs(self.lower), np.abs(self.upper)))
        halves: list[tuple[int, tuple[Floats, ...]]] = []
        for side in (1, -1):
            kept = points[side * (points @ slope + offset) > 1e-9 * size]
            if len(kept) or self._exceeds(1e-9 * size, side * slope, side * offset, cell):
                part = np.vstack([rows, -side * slope]), np.append(levels, side * offset), kept
                halves.append((side, part))
        return halves or [(-1, cell)]

    def _exceeds(self, level: float, slope: Floats, offset: float, cell: tuple[Floats, ...]) -> bool:
        return self._over_box(slope, offset) > level and self._highest(slope, offset, cell) > level

    def _over_box(self, slope: Floats, offset: float) -> float:
        return offset + float(np.maximum(slope * self.lower, slope * self.upper).sum())

    def _highest(self, slope: Floats, offset: float, cell: tuple[Floats, ...]) -> float:
        """Return the maximum of an affine function over a cell, minus infinity where it has no points."""
        rows, levels, _ = cell
        if not len(rows):
            return self._over_box(slope, offset)
        result = milp(-slope, constraints=LinearConstraint(rows, ub=levels), bounds=Bounds(self.lower, self.upper))
        return offset - result.fun if result.status == 0 else -np.inf


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

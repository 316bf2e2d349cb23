"""The demonstration: digits in, sparse network out, network verified; every figure measured as it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from time import perf_counter

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.datasets import Split, digits
from convexnn.linear.least_squares import least_squares
from convexnn.mapping.map_back import Mapping
from verify.backends.engine_chain import sound_chain
from verify.backends.registry import candidates

BUDGET = 60
N_DENSE = 12
N_IMAGES = 20
RADIUS = 0.125
CLIP = (-1.0, 1.0)

Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class Mapped:
    """A network mapped back from a solution, with its accuracy on the test rows."""

    mapping: Mapping
    accuracy: float


@dataclass(frozen=True, eq=False)
class Recovered:
    """One way to sparse weights, and the ReLU networks it leads to.

    `loss` is the mean training loss of the convex model, `seconds` the time of the solver.
    """

    name: str
    solution: cx.Solution
    loss: float
    exact: Mapped
    refit: Mapped
    seconds: float


@dataclass(frozen=True)
class LinearFit:
    """Least squares on the pixels and a constant: what a network has to beat."""

    loss: float
    accuracy: float
    n_weights: int


@dataclass(frozen=True, eq=False)
class VerifiedImage:
    """One test image with the answer about its ball."""

    row: int
    image: Floats
    label: int
    answer: verify.Answer


@dataclass(frozen=True, eq=False)
class Demo:
    """All that the demonstration found; `attacked` is the first test image with an attack, None if none has one."""

    split: Split
    patterns: cx.ActivationPatterns
    iht: Recovered
    l1: Recovered
    linear: LinearFit
    images: tuple[VerifiedImage, ...]
    attacked: VerifiedImage | None
    seconds: float


def run_demo(seed: int, step: Step) -> Demo:
    """Run the whole line once; `step(title)` is entered around each stage, for progress."""
    began = perf_counter()
    with step("loading 1,797 images of digits: odd or even?"):
        split = digits(names=("even", "odd"), seed=seed)
    with step("sampling activation patterns, merging equal ones"):
        patterns = sample_gates(split, seed)
    with step(f"hard thresholding to {BUDGET} weights"):
        iht = _recover(split, f"IHT, budget {BUDGET}", cx.solve(cardinality_program(split, patterns)))
    with step("the L1 program by cvxpy, its strength matched to the budget"):
        matched = match_strength(split, patterns, BUDGET)
        l1 = _recover(split, f"L1, strength {matched.program.strength:.3g}", matched)
    with step("starting the MILP engine"):
        sound_chain(candidates("auto"))
    with step(f"verifying {N_IMAGES} test images at radius {RADIUS:g}"):
        network = iht.refit.mapping.network
        images = tuple(_verify(split, network, row, seed) for row in range(N_IMAGES))
        further = (_verify(split, network, row, seed) for row in range(N_IMAGES, 10 * N_IMAGES))
        attacked = next((image for image in chain(images, further) if image.answer.witness is not None), None)
    return Demo(split, patterns, iht, l1, _linear(split), images, attacked, perf_counter() - began)


def sample_gates(split: Split, seed: int) -> cx.ActivationPatterns:
    """Return patterns of two kinds: dense gates that see the whole image, and the two sides of every pixel."""
    dense = np.random.default_rng(seed).standard_normal((N_DENSE, split.X_train.shape[1]))
    sides = np.eye(split.X_train.shape[1])
    return cx.sample_patterns(split.X_train, generators=np.concatenate([dense, sides, -sides]))


def match_strength(
    split: Split, patterns: cx.ActivationPatterns, nonzeros: int, rounds: int = 8, tolerance: float = 0.05
) -> cx.Solution:
    """Return the l1 solution with about `nonzeros` weights, found by bisection on the logarithm of the strength."""
    low, high = 1e-3, 1e-1
    found: list[cx.Solution] = []
    for _ in range(rounds):
        middle = float(np.sqrt(low * high))
        found.append(cx.solve(l1_program(split, patterns, middle), solver="cvxpy"))
        if abs(found[-1].nnz - nonzeros) <= tolerance * nonzeros:
            break
        low, high = (middle, high) if found[-1].nnz > nonzeros else (low, middle)
    return min(found, key=lambda solution: abs(solution.nnz - nonzeros))


def cardinality_program(split: Split, patterns: cx.ActivationPatterns) -> cx.ConvexProgram:
    """Return the program with the budget."""
    return cx.ConvexProgram(split.X_train, split.y_train, patterns, budget=BUDGET)


def l1_program(split: Split, patterns: cx.ActivationPatterns, strength: float) -> cx.ConvexProgram:
    """Return the l1 program on the same patterns."""
    return cx.ConvexProgram(split.X_train, split.y_train, patterns, penalty="l1", strength=strength)


def _recover(split: Split, name: str, solution: cx.Solution) -> Recovered:
    if solution.status is cx.Status.INTERRUPTED:
        raise KeyboardInterrupt
    loss = solution.program.loss.value(solution.predict(split.X_train), split.y_train)
    exact, refit = (_mapped(split, solution.map(method)) for method in ("exact", "refit"))
    return Recovered(name, solution, loss, exact, refit, solution.seconds)


def _mapped(split: Split, mapping: Mapping) -> Mapped:
    return Mapped(mapping, _accuracy(mapping.network.predict(split.X_test), split))


def _accuracy(output: Floats, split: Split) -> float:
    return float((np.sign(output) == split.y_test).mean())


def _linear(split: Split) -> LinearFit:
    train, test = (np.column_stack([X, np.ones(len(X))]) for X in (split.X_train, split.X_test))
    weights = least_squares(train, split.y_train)
    residual = train @ weights - split.y_train
    return LinearFit(float(residual @ residual) / (2 * len(residual)), _accuracy(test @ weights, split), len(weights))


def _verify(split: Split, network: cx.SparseReLUNetwork, row: int, seed: int) -> VerifiedImage:
    image, label = split.X_test[row], int(split.y_test[row])
    region = verify.LinfBall(image, RADIUS, clip=CLIP)
    answer = verify.find_adversarial(network, region, label, seed=seed)
    if answer.status is verify.Verdict.INTERRUPTED:
        raise KeyboardInterrupt
    return VerifiedImage(row, image, label, answer)

"""Hold the bounds of every MILP engine against margins that are reached, over networks and regions of any scale.

    python benchmarks/soundness.py [seconds seed]

A bound is wrong if it lies below a value that the network reaches in the region by more than the engine's tolerances
can amount to: a false proof would follow. Values come from the corners, from random points and from gradient ascent.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product
from time import perf_counter

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.backends.registry import BACKENDS
from verify.milp.request import Request
from verify.points.ascent import ascend

Layers = list[tuple[Floats, Floats]]
Question = tuple[Layers, Floats, Floats]


def plain(rng: np.random.Generator) -> Question:
    """Return layers of weights N(0, 1) and a box around a random center, one or two hidden layers."""
    sizes = [int(rng.integers(2, 6)), *rng.integers(1, 6, rng.integers(1, 3)).tolist(), 1]
    layers = [(rng.standard_normal((o, i)), 0.5 * rng.standard_normal(o)) for i, o in pairwise(sizes)]
    return layers, rng.standard_normal(sizes[0]), rng.uniform(0.1, 2.0, sizes[0])


def mixed_inputs(rng: np.random.Generator) -> Question:
    """The same with inputs in units of 1e-6 to 1e6."""
    (first, *rest), center, radius = plain(rng)
    units = 10.0 ** rng.uniform(-6, 6, len(center))
    return [(first[0] / units, first[1]), *rest], center * units, radius * units


def rescaled_neurons(rng: np.random.Generator) -> Question:
    """The same with every neuron scaled by 1e-6 to 1e6 and back in the next layer: the same function."""
    layers, center, radius = plain(rng)
    for index in range(len(layers) - 1):
        factors = 10.0 ** rng.uniform(-6, 6, len(layers[index][1]))
        layers[index] = layers[index][0] * factors[:, None], layers[index][1] * factors
        layers[index + 1] = layers[index + 1][0] / factors, layers[index + 1][1]
    return layers, center, radius


def rescaled_layers(rng: np.random.Generator) -> Question:
    """The same with every weight matrix scaled by 1e-6 to 1e6."""
    layers, center, radius = plain(rng)
    return [(weight * 10.0 ** rng.uniform(-6, 6), bias) for weight, bias in layers], center, radius


def tiny_balls(rng: np.random.Generator) -> Question:
    """Weights of 1 to 100, a radius of 1e-8 to 1e-2, and every kink of the first layer inside the ball."""
    layers, center, _ = plain(rng)
    layers = [(weight * rng.uniform(1, 100), bias) for weight, bias in layers]
    radius = 10.0 ** rng.uniform(-8, -2)
    weight = layers[0][0]
    kinks = np.abs(weight).sum(axis=1) * radius * rng.uniform(-1, 1, len(weight))
    layers[0] = weight, kinks - weight @ center
    return layers, center, np.full(len(center), radius)


FAMILIES: tuple[Callable[[np.random.Generator], Question], ...] = (
    plain,
    mixed_inputs,
    rescaled_neurons,
    rescaled_layers,
    tiny_balls,
)


def reached(network: cx.SparseReLUNetwork, box: verify.Box, rng: np.random.Generator) -> float:
    """Return the largest output found in the box."""
    corners = np.array(list(product(*zip(box.lower, box.upper, strict=True))))
    points = np.concatenate([corners, rng.uniform(box.lower, box.upper, (200, box.size))])
    return max(float(network.predict(points).max()), ascend(network, box, np.ones(1), rng)[1])


def main(seconds: float = 60.0, seed: int = 0) -> None:
    """Print for each family and installed engine how many bounds were checked, and how many were wrong."""
    names = [name for name, backend in BACKENDS.items() if backend.installed]
    rng, began = np.random.default_rng(seed), perf_counter()
    checked: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    while perf_counter() - began < seconds:
        family = FAMILIES[int(rng.integers(len(FAMILIES)))]
        layers, center, radius = family(rng)
        network, box = cx.SparseReLUNetwork(layers), verify.Box(center - radius, center + radius)
        value, milp = reached(network, box, rng), verify.encode(network, box).milp
        # Half of the questions have a level that is enough, on either side of what is reached.
        enough = value + float(rng.normal()) * max(abs(value), 1e-9) if rng.random() < 0.5 else None
        for name in names:
            outcome = BACKENDS[name].maximise(milp, Request(10.0, enough=enough))
            checked[family.__name__, name] += 1
            wrong[family.__name__, name] += not outcome.bound + outcome.allowance >= value
    for key in sorted(checked):
        print(f"{key[0]:17} {key[1]:7} {checked[key]:5} bounds, {wrong[key]} wrong")


if __name__ == "__main__":
    main(*common.arguments(float, int))

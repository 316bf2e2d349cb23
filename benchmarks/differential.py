"""Hold verdicts and extremes against enumeration of all activation patterns, on random small networks.

    python benchmarks/differential.py [--networks 500] [--seed 0] [--backends auto branching ...] [--kinds box ...]

One to four layers, with or without biases, rows of zeros, boxes of width zero, boxes, L-inf, L1 and L2 balls with a
clip box, and boxes and balls cut by up to four linear constraints. The truth is the best of one program for every
pattern: a linear one (scipy), over an L2 ball a second-order cone program (Clarabel). Nothing of `verify` is used for
it. A verdict is wrong if the truth, beyond 1e-6 of zero (1e-5 over L2 balls), says otherwise; an extreme if its value
is off by more than that, or its bound lies below the truth.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections import Counter
from itertools import pairwise, product
from time import perf_counter
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.backends.registry import BACKENDS

KINDS = ("box", "linf", "l1", "l2", "cut box", "cut l1", "cut l2")


def drawn_network(rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return a random network with at most 7 hidden neurons."""
    hidden = [int(rng.integers(1, 8 // depth)) for depth in [int(rng.integers(1, 4))] for _ in range(depth)]
    sizes = [int(rng.integers(1, 5)), *(hidden if rng.random() < 0.9 else []), int(rng.integers(1, 4))]
    density, bias = rng.choice([0.4, 0.7, 1.0]), rng.random() < 0.6
    layers: list[tuple[Floats, Floats | None]] = []
    for inputs, outputs in pairwise(sizes):
        weight = rng.standard_normal((outputs, inputs)) * (rng.random((outputs, inputs)) < density)
        layers.append((weight, rng.standard_normal(outputs) if bias else None))
    return cx.SparseReLUNetwork(layers)


def drawn_region(kind: str, size: int, rng: np.random.Generator) -> verify.Box:
    """Return a region around a random center, some of its widths zero; of a kind that is cut, with constraints."""
    if kind.startswith("cut "):
        return cut_region(drawn_region(kind.removeprefix("cut "), size, rng), rng)
    center, radius = rng.uniform(-1.0, 1.0, size), float(rng.choice([0.05, 0.3, 1.0]))
    widths = rng.uniform(0.0, radius, size) * (rng.random(size) < 0.8)
    if kind == "box":
        return verify.Box(center - widths, center + widths)
    clip = (-1.0, 1.0) if rng.random() < 0.5 else (center - widths, center + 1.0)
    ball = {"linf": verify.LinfBall, "l1": verify.L1Ball, "l2": verify.L2Ball}[kind]
    return ball(center, radius, clip=clip)


def cut_region(region: verify.Box, rng: np.random.Generator) -> verify.Box:
    """Return a region with random constraints: they may be redundant, or touch its center, or cut that of a box off."""
    least = 0.0 if hasattr(region, "radius") else -0.5
    while True:
        rows = rng.standard_normal((int(rng.integers(1, 5)), region.size)) * (rng.random(region.size) < 0.8)
        room = rng.uniform(least, 1.0, len(rows)) * (rng.random(len(rows)) < 0.9) + 1e-12
        upper = rows @ region.center + room * (np.abs(rows) @ (0.5 * (region.upper - region.lower)))
        try:
            return region.where(rows, upper + 1e-12)
        except ValueError as empty:
            if "no input of the box" not in str(empty):
                raise


def largest(network: cx.SparseReLUNetwork, region: Any, kind: str, objective: Floats) -> float:
    """Return max objective . outputs over the region, by one program for every activation pattern."""
    best = -np.inf
    sizes = [weight.shape[0] for weight, _ in network.layers[:-1]]
    for pattern in product(*(product((0.0, 1.0), repeat=size) for size in sizes)):
        slope, offset = np.eye(network.n_inputs), np.zeros(network.n_inputs)
        rows, levels = [np.zeros((0, network.n_inputs))], [np.zeros(0)]
        for (weight, bias), active in zip(network.layers[:-1], map(np.array, pattern), strict=True):
            slope, offset = weight @ slope, weight @ offset + bias
            rows.append((1.0 - 2.0 * active)[:, None] * slope)
            levels.append((2.0 * active - 1.0) * offset)
            slope, offset = slope * active[:, None], offset * active
        weight, bias = network.layers[-1]
        gain, constant = objective @ (weight @ slope), float(objective @ (weight @ offset + bias))
        found = _piece(gain, np.concatenate(rows), np.concatenate(levels), region, kind)
        best = max(best, found + constant)
    return best


def _piece(gain: Floats, rows: Floats, levels: Floats, region: Any, kind: str) -> float:
    """Return max gain . x over rows x <= levels inside the region; -inf where there is no such x."""
    size, kind = len(gain), kind.removeprefix("cut ")
    rows = np.vstack([rows, region.constraints.rows.toarray()])
    levels = np.append(levels, region.constraints.upper)
    if kind == "l1":
        signs = np.array(list(product([-1.0, 1.0], repeat=size)))
        rows, levels = np.vstack([rows, signs]), np.append(levels, signs @ region.center + region.base.radius)
    if kind != "l2":
        bounds = np.column_stack([region.lower, region.upper])
        result = linprog(-gain, A_ub=rows, b_ub=levels, bounds=bounds)
        return -float(result.fun) if result.status == 0 else -np.inf
    eye = np.eye(size)
    A = np.vstack([rows, eye, -eye, np.zeros((1, size)), -eye])
    b = np.concatenate([levels, region.upper, -region.lower, [region.base.radius], -region.center])
    cones = [clarabel.NonnegativeConeT(len(rows) + 2 * size), clarabel.SecondOrderConeT(size + 1)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    empty = sp.csc_matrix((size, size))
    solution = clarabel.DefaultSolver(empty, -gain, sp.csc_matrix(A), b, cones, settings).solve()
    return -float(solution.obj_val) if str(solution.status) in ("Solved", "AlmostSolved") else -np.inf


def judged(network: cx.SparseReLUNetwork, region: verify.Box, kind: str, backend: str, seed: int) -> list[str]:
    """Return what each question came to: decided, unknown, or what is wrong."""
    slack = 1e-5 if kind.endswith("l2") else 1e-6
    outputs = network.n_outputs
    objective = np.random.default_rng(seed).standard_normal(outputs)
    truth = largest(network, region, kind, objective)
    found = verify.maximize(network, region, objective, backend=backend)
    room = slack * (1.0 + abs(truth))
    if found.bound < truth - room or found.value > truth + room:
        results = [f"extreme wrong: {found.value:.9g} to {found.bound:.9g}, truth {truth:.9g}"]
    elif found.status is verify.Status.OPTIMAL:
        results = ["extreme decided" if abs(found.value - truth) <= room else "extreme off"]
    else:
        results = ["extreme open"]
    answer = verify.find_adversarial(network, region, backend=backend, seed=seed)
    if answer.label is None:
        return [*results, "no class"]
    rows = np.eye(outputs) - np.eye(outputs)[answer.label] if outputs > 1 else np.array([[-float(answer.label)]])
    targets = [row for row in rows if row.any()]
    margin = max(largest(network, region, kind, row) for row in targets)
    wrong = {verify.Verdict.ROBUST: margin > slack, verify.Verdict.COUNTEREXAMPLE: margin < -slack}
    if wrong.get(answer.status, answer.status is verify.Verdict.MISCLASSIFIED):
        return [*results, f"verdict wrong: {answer}, margin {margin:.9g}"]
    return [*results, "verdict open" if answer.status is verify.Verdict.UNKNOWN else "verdict decided"]


def main() -> None:
    """Read the command line and print what every backend came to."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    installed = [name for name, backend in BACKENDS.items() if backend.installed]
    parser.add_argument("--backends", nargs="+", default=["auto", "branching", *installed])
    given = parser.parse_args()
    counts: dict[str, Counter[str]] = {backend: Counter() for backend in given.backends}
    began = perf_counter()
    for number in range(given.networks):
        rng = np.random.default_rng([given.seed, number])
        network, kind = drawn_network(rng), given.kinds[number % len(given.kinds)]
        region = drawn_region(kind, network.n_inputs, rng)
        for backend in given.backends:
            for result in judged(network, region, kind, backend, number):
                short, _, detail = result.partition(":")
                counts[backend][short] += 1
                if detail or short.endswith("off"):
                    print(f"network {number} ({kind}), {backend}: {result}", flush=True)
    print(f"{given.networks} networks, {perf_counter() - began:.0f} s")
    for backend, count in counts.items():
        print(f"{backend:10} " + ", ".join(f"{name} {number}" for name, number in sorted(count.items())))


if __name__ == "__main__":
    main()

"""Time questions about networks with linear units, and about chains of ReLUs alone.

    python benchmarks/graphs.py graphs [--seconds 20]    # beside the same function as a chain, x = relu(x) - relu(-x)
    python benchmarks/graphs.py chains [--repeats 3]     # CPU time of a question, to hold two versions side by side

The networks are random: residual ones, x + W relu(V x + b) some times in a row, and dense chains. Run `chains` with
PYTHONPATH at another version of this repository, and divide.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

import verify
from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork

Question = Callable[[], Any]

# Inputs, hidden units of a block, and blocks of the residual networks.
RESIDUAL = [(5, 10, 2), (5, 10, 4), (10, 20, 2), (10, 20, 3), (20, 30, 2)]

# CPU seconds that the calls of one figure take at least together.
LEAST = 0.2

PROPERTY = "(declare-const X_{i} Real)(assert (>= X_{i} -0.1))(assert (<= X_{i} 0.1))"


def dense(sizes: tuple[int, ...], seed: int = 0) -> SparseReLUNetwork:
    """Return a dense chain with weights of standard deviation 1 / sqrt(in)."""
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((o, i)) / np.sqrt(i), 0.3 * rng.standard_normal(o)) for i, o in pairwise(sizes)]
    return SparseReLUNetwork(layers)


def property_of(network: SparseReLUNetwork) -> verify.Property:
    """Return that output 0 is above output 1 nowhere in a box."""
    text = "".join(PROPERTY.format(i=i) for i in range(network.n_inputs))
    text += "".join(f"(declare-const Y_{i} Real)" for i in range(network.n_outputs))
    return verify.parse_property(text + "(assert (>= Y_0 Y_1))")


def chain_questions() -> dict[str, Question]:
    """Return questions about chains that end by themselves, a few seconds each at most."""
    wide, deep, small = dense((500, 800, 800, 10)), dense((50, *[100] * 12, 5)), dense((8, 20, 20, 3), seed=1)
    tiny, least, copy = dense((4, 12, 12, 2), seed=2), dense((3, 8, 2), seed=2), dense((8, 20, 20, 3), seed=1)
    region: dict[int, Any] = {size: verify.LinfBall(np.full(size, 0.05), 0.1) for size in (3, 4, 8, 50, 500)}
    ball = verify.L2Ball(np.full(8, 0.05), 0.5)
    return {
        "bound, intervals, 500-800-800-10": lambda: verify.bound(wide, region[500], "interval"),
        "bound, CROWN, 500-800-800-10": lambda: verify.bound(wide, region[500]),
        "bound, CROWN, 12 layers of 100": lambda: verify.bound(deep, region[50]),
        "bound, linear programs, 8-20-20-3": lambda: verify.bound(small, region[8], "lp", time_limit=60.0),
        "find_adversarial, 8-20-20-3": lambda: verify.find_adversarial(small, verify.LinfBall(np.full(8, 0.05), 0.25)),
        "find_adversarial, L2, 8-20-20-3": lambda: verify.find_adversarial(small, ball),
        "find_adversarial, 12 layers of 100": lambda: verify.find_adversarial(
            deep, verify.LinfBall(np.full(50, 0.05), 1e-4)
        ),
        "maximize, 4-12-12-2": lambda: verify.maximize(tiny, region[4], 0),
        "maximize, 8-20-20-3": lambda: verify.maximize(small, verify.LinfBall(np.full(8, 0.05), 0.07), 0),
        "maximize, highspy, 8-20-20-3": lambda: verify.maximize(small, region[8], 1, backend="highspy"),
        "output_range, 3-8-2": lambda: verify.output_range(least, region[3]),
        "check_vnnlib, 8-20-20-3": lambda: verify.check_vnnlib(small, property_of(small)),
        "min_radius, 3-8-2": lambda: verify.min_radius(least, verify.LinfBall(np.full(3, -0.4), 2.0)),
        "difference, 8-20-20-3": lambda: verify.difference(copy, verify.prune(small, 0.1), region[8]),
        "encode, 500-800-800-10": lambda: verify.encode(wide, verify.LinfBall(np.full(500, 0.05), 1e-3), np.eye(10)[0]),
        "simplify, 500-800-800-10": lambda: verify.simplify(wide),
    }


def residual(d: int, width: int, blocks: int, seed: int = 0) -> Any:
    """Return x + W relu(V x + b) some times in a row, and two outputs, as a graph; x is carried beside the ReLUs."""
    rng, layers, read = np.random.default_rng(seed), [], np.eye(d)
    for _ in range(blocks):
        inner, shift = rng.standard_normal((width, d)) / np.sqrt(d), 0.3 * rng.standard_normal(width)
        layers.append((np.vstack([inner @ read, read]), np.append(shift, np.zeros(d))))
        read = np.hstack([rng.standard_normal((d, width)) / np.sqrt(width), np.eye(d)])
    layers.append((rng.standard_normal((2, d)) @ read, np.zeros(2)))
    return verify.ReLUGraph(layers, [np.arange(width + d) >= width] * blocks)


def as_chain(graph: Any) -> SparseReLUNetwork:
    """Return the same function without linear units: each is two ReLUs."""
    layers: list[tuple[Floats, Floats]] = []
    spread = np.eye(graph.n_inputs)
    for (weight, bias), mask in zip(graph.layers, [*graph.linear, np.zeros(graph.n_outputs, dtype=bool)], strict=True):
        own = weight.toarray() @ spread
        layers.append((np.vstack([own, -own[mask]]), np.append(bias, -bias[mask])))
        spread = np.hstack([np.eye(len(bias)), -np.eye(len(bias))[:, mask]])
    return SparseReLUNetwork(layers)


def cpu_seconds(work: Question) -> tuple[float, Any]:
    """Return the CPU seconds of one call, and what it returns."""
    began = process_time()
    result = work()
    return process_time() - began, result


def compare_graphs(limit: float) -> None:
    """Print one line a residual network: CPU seconds and what is known, as a graph and as a chain."""
    print(f"{'network':44} {'radius':>6}  {'graph':>7} {'status':10} {'gap':>8}  {'chain':>7} {'status':10} {'gap':>8}")
    for d, width, blocks in RESIDUAL:
        graph = residual(d, width, blocks)
        for radius in (0.1, 0.3):
            region, cells = verify.LinfBall(np.full(d, 0.1), radius), []
            for network in (graph, as_chain(graph)):
                took, found = cpu_seconds(partial(verify.maximize, network, region, 0, time_limit=limit))
                cells.append(f"{took:7.2f} {found.status.name:10} {found.gap:8.2g}")
            print(f"{str(graph).partition(':')[0]:44} {radius:6.2f}  {'  '.join(cells)}", flush=True)


def time_chains(repeats: int) -> None:
    """Print one line a question: the median CPU milliseconds of a call, short calls many at a time."""
    print(f"verify of {Path(verify.__file__).parent}")
    for name, work in chain_questions().items():
        work()
        count = max(1, round(LEAST / max(cpu_seconds(work)[0], 1e-4)))
        found = median(sum(cpu_seconds(work)[0] for _ in range(count)) / count for _ in range(repeats))
        print(f"{name:40} {1e3 * found:10.3f}", flush=True)


def main() -> None:
    """Read the command line."""
    parser = common.option_parser(__doc__)
    parser.add_argument("what", choices=["graphs", "chains"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.what == "graphs":
        compare_graphs(given.seconds)
    else:
        time_chains(given.repeats)


if __name__ == "__main__":
    main()

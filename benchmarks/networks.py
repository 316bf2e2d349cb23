"""Fit networks with several outputs and two hidden layers to planted ones: decibels at a budget.

    python benchmarks/networks.py vector [--seeds 5] [--cells 5,10 5,50 5,100 20,10 20,50 20,100 20,200]
    python benchmarks/networks.py deep [--seeds 3]

`vector`: planted networks "m,s" of one hidden layer and 10 outputs, s/2 weights N(0, 1) at random places of each layer
(the generator of the paper), X Gaussian with n = 5000 and d = 100; a fit above 50 dB counts as solved. `deep`: two
hidden layers, s/3 weights each, beside the rule of the paper, layer by layer: a network of one hidden layer with half
the budget, its hidden layer kept, and another one on what it gives.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from argparse import ArgumentParser, Namespace
from statistics import fmean, median
from time import perf_counter

import numpy as np

import convexnn as cx
from convexnn.checks import Floats
from convexnn.datasets import planted

OUTPUTS = 10
CELLS = ("5,10", "5,50", "5,100", "20,10", "20,50", "20,100", "20,200")


def decibels(y: Floats, prediction: Floats) -> float:
    """Return 20 log10(max |y|) - 10 log10(mean square error), at most 300."""
    error = float(np.mean((y - prediction) ** 2))
    return min(300.0, 20.0 * np.log10(np.abs(y).max()) - 10.0 * np.log10(max(error, 1e-300)))


def vector(given: Namespace) -> None:
    """Print the decibels of planted networks with several outputs."""
    solved, total = 0, 0
    for cell in given.cells:
        m, s = map(int, cell.split(","))
        values, times = [], []
        for seed in range(given.seeds):
            made = planted(m, s, outputs=OUTPUTS, seed=seed)
            fit = cx.fit_network(made.X, made.y, s, m, seed=seed)
            values.append(decibels(made.y, fit.predict(made.X)))
            times.append(fit.seconds)
        solved, total = solved + sum(value > 50.0 for value in values), total + len(values)
        print(f"{cell:8} {' '.join(f'{value:.0f}' for value in values)} dB, {median(times):.1f} s", flush=True)
    print(f"above 50 dB: {solved} of {total}")


def layerwise(X: Floats, y: Floats, m: int, s: int, seed: int) -> float:
    """Return the decibels of two hidden layers that are fitted one after the other, each with half the budget."""
    share = max(s // 2, OUTPUTS)
    first = cx.fit_network(X, y, share, m, seed=seed).network.layers[0][0]
    hidden = np.maximum((first @ X.T).T, 0.0)
    return decibels(y, cx.fit_network(hidden, y, share, m, seed=seed).predict(hidden))


def deep(given: Namespace) -> None:
    """Print the decibels of two hidden layers beside those of the rule layer by layer."""
    for cell in given.cells:
        m, s = map(int, cell.split(","))
        ours, rule, times = [], [], []
        for seed in range(given.seeds):
            made = planted(m, s, outputs=OUTPUTS, depth=2, seed=seed)
            began = perf_counter()
            fit = cx.fit_network(made.X, made.y, s, m, depth=2, n_restarts=given.restarts, seed=seed)
            times.append(perf_counter() - began)
            ours.append(decibels(made.y, fit.predict(made.X)))
            rule.append(layerwise(made.X, made.y, m, s, seed))
        each = " ".join(f"{mine:.1f}/{theirs:.1f}" for mine, theirs in zip(ours, rule, strict=True))
        print(
            f"{cell:8} {fmean(ours):.1f} dB, layer by layer {fmean(rule):.1f} dB ({each}), {median(times):.1f} s",
            flush=True,
        )


def main() -> None:
    """Read the command line and run one experiment."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("vector", vector), ("deep", deep)):
        command = commands.add_parser(name)
        command.add_argument("--seeds", type=int, default=5 if name == "vector" else 3)
        command.add_argument("--cells", nargs="*", default=list(CELLS))
        command.add_argument("--restarts", type=int, default=3, help="starts of a network with two hidden layers")
        command.set_defaults(run=run)
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()

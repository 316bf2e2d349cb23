"""Fit networks with several outputs, labels and two hidden layers: accuracy and decibels at a budget.

    CONVEXNN_DATA=folder python benchmarks/networks.py mnist [--seeds 3] [--budgets 200 500 1000 2000] [--epochs 40]
    CONVEXNN_DATA=folder python benchmarks/networks.py binary [--seeds 3] [--budgets 20 50 100]
    python benchmarks/networks.py vector [--seeds 5] [--cells 5,10 5,50 5,100 20,10 20,50 20,100 20,200]
    python benchmarks/networks.py deep [--seeds 3]

`mnist`: ten digits, the standard split (60,000 and 10,000 images, mnist.npz in CONVEXNN_DATA), no biases, one budget
over both layers, the default width. `binary`: digits 0 and 1, logistic loss. `vector`: planted networks "m,s" of one
hidden layer and 10 outputs, s/2 weights N(0, 1) at random places of each layer (the generator of the paper), X Gaussian
with n = 5000 and d = 100; a fit above 50 dB counts as solved. `deep`: two hidden layers, s/3 weights each, beside the
rule of the paper, layer by layer: a network of one hidden layer with half the budget, its hidden layer kept, and
another one on what it gives.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from argparse import ArgumentParser, Namespace
from itertools import count, pairwise
from pathlib import Path
from statistics import fmean, median, pstdev
from time import perf_counter

import numpy as np

import convexnn as cx
from convexnn.checks import Floats

OUTPUTS, ROWS, FEATURES = 10, 5000, 100
CELLS = ("5,10", "5,50", "5,100", "20,10", "20,50", "20,100", "20,200")


def digits(which: range) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the images (n, 784) in [0, 1] and labels of some digits: training, then test."""
    folder = os.environ.get("CONVEXNN_DATA")
    if folder is None:
        raise SystemExit("CONVEXNN_DATA is not set; expected the folder that holds mnist.npz")
    with np.load(Path(folder) / "mnist.npz") as data:
        parts = [(data[f"x_{part}"], data[f"y_{part}"]) for part in ("train", "test")]
    chosen = [(images[np.isin(labels, which)], labels[np.isin(labels, which)]) for images, labels in parts]
    (train, y_train), (test, y_test) = chosen
    return train.reshape(-1, 784) / 255.0, y_train, test.reshape(-1, 784) / 255.0, y_test


def labels(given: Namespace) -> None:
    """Print test accuracy at every budget."""
    binary = given.command == "binary"
    X, y, fresh, truth = digits(range(2 if binary else 10))
    for budget in given.budgets:
        scores, times, widths = [], [], []
        for seed in range(given.seeds):
            loss = "logistic" if binary else "softmax"
            fit = cx.fit_network(X, y, budget, loss=loss, epochs=given.epochs, seed=seed)
            output = fit.predict(fresh)
            assert fit.classes is not None
            found = fit.classes[(output > 0.0).astype(int) if binary else output.argmax(axis=1)]
            scores.append(100.0 * float(np.mean(found == truth)))
            times.append(fit.seconds)
            widths.append(fit.network.n_neurons)
        each = " ".join(f"{score:.2f}" for score in scores)
        print(
            f"{budget:5} weights: {fmean(scores):.2f} +- {pstdev(scores):.2f} % ({each}), {max(widths)} neurons, "
            f"{max(times):.1f} s",
            flush=True,
        )


def plant(m: int, s: int, depth: int, rng: np.random.Generator) -> list[Floats]:
    """Return the weights (in, out) of each layer: as many of the s at random places of each."""
    layers = []
    for inputs, outputs in pairwise([FEATURES, *[m] * depth, OUTPUTS]):
        weights = np.zeros(inputs * outputs)
        weights[rng.choice(weights.size, min(weights.size, s // (depth + 1)), replace=False)] = 1.0
        layers.append((weights * rng.standard_normal(weights.size)).reshape(inputs, outputs))
    return layers


def problem(m: int, s: int, depth: int, seed: int) -> tuple[Floats, Floats]:
    """Return X (n, d) and y (n, 10) of the first planted network of a seed that is not zero."""
    for attempt in count():
        rng = np.random.default_rng([seed, m, s, depth, attempt])
        layers, X = plant(m, s, depth, rng), rng.standard_normal((ROWS, FEATURES))
        y = X
        for index, weights in enumerate(layers):
            y = y @ weights if index == depth else np.maximum(y @ weights, 0.0)
        if y.any():
            return X, y
    raise AssertionError


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
            X, y = problem(m, s, 1, seed)
            fit = cx.fit_network(X, y, s, m, seed=seed)
            values.append(decibels(y, fit.predict(X)))
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
            X, y = problem(m, s, 2, seed)
            began = perf_counter()
            fit = cx.fit_network(X, y, s, m, depth=2, n_restarts=given.restarts, seed=seed)
            times.append(perf_counter() - began)
            ours.append(decibels(y, fit.predict(X)))
            rule.append(layerwise(X, y, m, s, seed))
        each = " ".join(f"{mine:.1f}/{theirs:.1f}" for mine, theirs in zip(ours, rule, strict=True))
        print(
            f"{cell:8} {fmean(ours):.1f} dB, layer by layer {fmean(rule):.1f} dB ({each}), {median(times):.1f} s",
            flush=True,
        )


def main() -> None:
    """Read the command line and run one experiment."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, budgets in (("mnist", [200, 500, 1000, 2000]), ("binary", [20, 50, 100])):
        command = commands.add_parser(name)
        command.add_argument("--seeds", type=int, default=3)
        command.add_argument("--budgets", type=int, nargs="*", default=budgets)
        command.add_argument("--epochs", type=int, default=None)
        command.set_defaults(run=labels)
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

"""Hard thresholding on Iris, as in arXiv 2404.18414, beside the optimum over all supports.

    python benchmarks/iris.py [constants|paper|ridge|accuracy ...] [--budgets 1 2 5] [--seeds 100] [--paper-seeds 20]
        [--splits 100] [--starts 10] [--picture iris.png]

A layer of softmax on 4 standardised features and a bias: 15 weights. Setosa is separable, so without a ridge no weights
minimise the loss: the infimum over a support is that of ever longer weights.

constants  L_2s by Monte Carlo (1,000 pairs, as in the paper) and the safe bound.
paper      No ridge: plain steps of 1/L_2s, one random sparse start a seed, to a gradient of 1e-3 on the support.
ridge      Ridge 1e-2: restarts, fits on settled supports, swaps; HT-stable to 1e-8.
accuracy   Ridge 1e-2: mean accuracy on 30 rows, trained on 120, stratified, over random splits.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from argparse import ArgumentParser, Namespace
from time import process_time

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

import convexnn as cx
from convexnn.checks import Floats

PARTS = ("constants", "paper", "ridge", "accuracy")
STRENGTH = 1e-2
PAPER_TOLERANCE, TOLERANCE = 1e-3, 1e-8
# A loss within this share of the optimum counts as found.
NEAR = 0.01

Curves = dict[str, list[float]]


def data() -> tuple[Floats, Floats]:
    """Return the 150 rows, each feature of mean 0 and variance 1, and the labels."""
    X, y = load_iris(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def program(X: Floats, y: Floats, budget: int, strength: float | None) -> cx.ConvexProgram:
    """Return the softmax layer with a budget, with a ridge or without."""
    penalty = None if strength is None else "ridge"
    patterns = cx.theory.linear_patterns(X)
    return cx.ConvexProgram(X, y, patterns, loss="softmax", budget=budget, penalty=penalty, strength=strength)


def constants(asked: Namespace) -> Curves:
    """Print the constants of every budget."""
    print("\n s  Monte Carlo  ... scale 0.01   safe   by         safe / Monte Carlo")
    for budget in asked.budgets:
        layer = program(*data(), budget, None)
        safe = cx.theory.restricted_smoothness(layer)
        drawn = [cx.theory.restricted_smoothness(layer, method="monte_carlo", scale=scale) for scale in (1.0, 0.01)]
        row = f"{budget:2} {drawn[0].value:12.4f} {drawn[1].value:15.4f} {safe.value:6.4f}   {safe.by:11}"
        print(f"{row} {safe.value / drawn[0].value:17.2f}", flush=True)
    return {}


def paper(asked: Namespace) -> Curves:
    """Print the plain iteration without a ridge, with the step of either constant, beside the infimum."""
    print("\n s   infimum  | safe step: stable  best     median   worst    | Monte Carlo step: stable  best     median")
    curves: Curves = {"infimum, no ridge": [], "plain steps, median": []}
    for budget in asked.budgets:
        layer = program(*data(), budget, None)
        infimum = cx.theory.enumerated_optimum(layer).objective
        cells = []
        for step in ("safe", "monte_carlo"):
            length = cx.theory.step_size(layer, method=step)
            stable, losses = plain_runs(layer, length, asked)
            best, middle, worst = np.quantile(losses, [0.0, 0.5, 1.0])
            cells.append((f"{stable:3}/{asked.paper_seeds}", best, middle, worst))
        (first, *safe), (second, *drawn) = cells
        row = f"{budget:2}  {infimum:.5f}  | {first:>17}  {safe[0]:.5f}  {safe[1]:.5f}  {safe[2]:.5f}"
        print(f"{row}  | {second:>24}  {drawn[0]:.5f}  {drawn[1]:.5f}", flush=True)
        curves["infimum, no ridge"].append(infimum)
        curves["plain steps, median"].append(safe[1])
    return curves


def plain_runs(layer: cx.ConvexProgram, length: float, asked: Namespace) -> tuple[int, list[float]]:
    """Return how many seeds end HT-stable, and the loss at the end of each."""
    stable, losses = 0, []
    for seed in range(asked.paper_seeds):
        options = {"step": length, "n_starts": 1, "polish": False, "swaps": False, "tolerance": PAPER_TOLERANCE}
        found = cx.solve(layer, "stable_iht", seed=seed, max_iterations=asked.iterations, **options)
        stable += cx.theory.ht_stability(layer, found, length, PAPER_TOLERANCE).stable
        losses.append(found.objective)
    return stable, losses


def ridge(asked: Namespace) -> Curves:
    """Print the runs with a ridge beside the optimum."""
    print(f"\n s   optimum   HT-stable to {TOLERANCE:.0e}  within 1 %   worst / optimum  CPU seconds a run")
    curves: Curves = {"optimum, ridge 0.01": [], "IHT with restarts, worst": []}
    for budget in asked.budgets:
        layer = program(*data(), budget, STRENGTH)
        optimum = cx.theory.enumerated_optimum(layer).objective
        began = process_time()
        found = [cx.solve(layer, n_starts=asked.starts, seed=seed) for seed in range(asked.seeds)]
        seconds = (process_time() - began) / asked.seeds
        stable = sum(cx.theory.ht_stability(layer, solution, tolerance=TOLERANCE).stable for solution in found)
        shares = np.array([solution.objective / optimum for solution in found])
        near = int((shares <= 1.0 + NEAR).sum())
        row = f"{budget:2}  {optimum:.6f}  {stable:>12}/{asked.seeds}  {near:>12}/{asked.seeds}"
        print(f"{row}  {shares.max():>16.6f} {seconds:14.2f}", flush=True)
        curves["optimum, ridge 0.01"].append(optimum)
        curves["IHT with restarts, worst"].append(float(shares.max()) * optimum)
    return curves


def accuracy(asked: Namespace) -> Curves:
    """Print the mean test accuracy of every budget, and of the dense fit."""
    print("\n s   test accuracy  (dense, and the difference with its standard error, in points)")
    shares = np.array([split_accuracies(seed, asked) for seed in range(asked.splits)]) * 100.0
    dense = shares[:, -1]
    for budget, own in zip(asked.budgets, shares.T, strict=False):
        error = (own - dense).std(ddof=1) / np.sqrt(asked.splits)
        row = f"{budget:2}  {own.mean():13.2f}  ({dense.mean():.2f}, {(own - dense).mean():+.2f} +- {error:.2f})"
        print(row, flush=True)
    return {}


def split_accuracies(seed: int, asked: Namespace) -> list[float]:
    """Return the accuracy on 30 test rows of every budget, and of all 15 weights last."""
    X, y = load_iris(return_X_y=True)
    parts = train_test_split(X, y, test_size=30, random_state=seed, stratify=y)
    train, test, own, other = parts
    centre, spread = train.mean(axis=0), train.std(axis=0)
    result = []
    for budget in (*asked.budgets, 15):
        layer = program((train - centre) / spread, own, budget, STRENGTH)
        scores = cx.solve(layer, n_starts=asked.starts, seed=seed).predict((test - centre) / spread)
        result.append(float((scores.argmax(axis=1) == other).mean()))
    return result


def draw(budgets: list[int], curves: Curves, path: str) -> None:
    """Write the losses over the budgets as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.0, 4.0), layout="constrained")
    for name, losses in curves.items():
        axes.semilogy(budgets, losses, marker="o", markersize=3, linewidth=1, label=name)
    axes.set(xlabel="nonzero weights of 15", ylabel="objective", title="Iris: hard thresholding and the optimum")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the parts asked for."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--budgets", type=int, nargs="+", default=list(range(1, 16)))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--paper-seeds", type=int, default=20)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=50_000)
    parser.add_argument("--picture")
    asked = parser.parse_args()
    run = {"constants": constants, "paper": paper, "ridge": ridge, "accuracy": accuracy}
    curves: Curves = {}
    for part in asked.parts or PARTS:
        curves |= run[part](asked)
    if asked.picture is not None and curves:
        draw(asked.budgets, curves, asked.picture)


if __name__ == "__main__":
    main()

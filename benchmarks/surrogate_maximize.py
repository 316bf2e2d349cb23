"""Maximise random networks through their pruned copies, beside the honest alternatives given the same time.

    python benchmarks/surrogate_maximize.py [--quick] [--seeds 2] [--seconds 60] [--jobs 1]
        [--folder results/surrogate_maximize] [--engine highspy]

The grid of "A Surrogate within a Surrogate" (Pham et al.): untrained networks of torch's default weights with one
output, {100, 1000, 10000} inputs in [0, 1], {2, 3, 5} hidden layers of {50, 200}. Methods, each with the same limit:
the dense network's MILP; the MILP of a copy without 50, 80, 90 or 95 % of its weights by magnitude; of one pruned at
random, for the first seed; gradient ascent that begins anew until the time is over; the point of the linear
relaxation; and `verify.maximize` with surrogates. Every incumbent is worth what the dense network says.

A folder keeps one CSV row a run (a run that is there is not run again) and the picture.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from surrogate_methods import Question, Table, by, by_ascent, by_milp, by_relaxation, options, run_all

import convexnn as cx
import verify

SPARSITIES = (0.5, 0.8, 0.9, 0.95)
PORTFOLIO = (0.8, 0.9)


@dataclass(frozen=True)
class Run:
    """One method on one network."""

    inputs: int
    depth: int
    width: int
    seed: int
    method: str
    seconds: float
    engine: str


KEYS = ("inputs", "depth", "width", "seed", "method")


def untrained(run: Run) -> cx.SparseReLUNetwork:
    """Return the dense network of a run."""
    torch.manual_seed(50 + run.seed)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise([run.inputs, *[run.width] * run.depth, 1]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return verify.read_network(torch.nn.Sequential(*layers[:-1]))


def answer(run: Run) -> dict[str, Any]:
    """Run one method."""
    network = untrained(run)
    region = verify.Box(np.zeros(run.inputs), np.ones(run.inputs))
    question = Question(network, region, np.ones(1), np.inf, run.seconds, run.seed)
    kind, _, share = run.method.partition(" ")
    if kind == "pgd":
        return by_ascent(question)
    if kind == "lp":
        return by_relaxation(question, run.engine)
    if kind == "portfolio":
        return by_portfolio(question)
    if kind == "dense":
        return by_milp(question, network, run.engine)
    method = "random" if kind == "random" else "magnitude"
    return by_milp(question, verify.prune(network, float(share), method=method, seed=run.seed), run.engine)


def by_portfolio(question: Question) -> dict[str, Any]:
    """Return what `maximize` with surrogates finds."""
    began = perf_counter()
    found = verify.maximize(
        question.network, question.region, time_limit=question.limit, seed=question.seed, surrogates=PORTFOLIO
    )
    sources = [event.source for event in found.trace if event.finding.startswith("reached")]
    note = f"{found.status.name}: bound {found.bound:.6g}, best by {sources[-1] if sources else 'ascent'}"
    return {"found": 0, "best": found.value, "seconds": perf_counter() - began, "note": note}


def runs_of(given: Any) -> list[Run]:
    """Return all runs of the grid."""
    shapes = [(100, 2, 50), (1000, 3, 50)] if given.quick else list(product((100, 1000, 10000), (2, 3, 5), (50, 200)))
    methods = ["portfolio", "pgd", "lp", "dense", *(f"sparse {share:g}" for share in SPARSITIES), "random 0.9"]
    return [
        Run(*shape, seed, method, given.seconds, given.engine)
        for method, seed, shape in product(methods, range(given.seeds), shapes)
        if seed == 0 or not method.startswith("random")
    ]


def report(rows: list[dict[str, str]]) -> None:
    """Print the best value of each method on each network, and where the portfolio is below one of them."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    print(f"{'network':22}" + "".join(f"{method:>12}" for method in methods))
    deep = above = 0
    for case, group in by(rows, *KEYS[:-1]):
        best = {row["method"]: float(row["best"]) for row in group}
        print(f"{' '.join(case):22}" + "".join(f"{best.get(method, np.nan):12.5g}" for method in methods))
        ours = best.get("portfolio", np.nan)
        short = [name for name, value in best.items() if value > ours + 1e-4 * (1.0 + abs(value))]
        if short:
            print(f"{'':22}the portfolio is below {short}")
        if int(case[1]) >= 3 and {"portfolio", "dense"} <= set(best):
            deep, above = deep + 1, above + (ours > best["dense"] + 1e-9 * abs(ours))
    print(f"of {deep} networks of 3 layers or more the portfolio is strictly above the dense MILP on {above}")


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw what each method reaches, as a share of the best of all on that network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = list(dict.fromkeys(row["method"] for row in rows))
    shares: dict[str, list[float]] = {method: [] for method in methods}
    for _, group in by(rows, *KEYS[:-1]):
        best = {row["method"]: float(row["best"]) for row in group}
        most, least = max(best.values()), min(value for value in best.values() if np.isfinite(value))
        for method, value in best.items():
            shares[method].append((value - least) / ((most - least) or 1.0) if np.isfinite(value) else 0.0)
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    for place, method in enumerate(methods):
        axis.scatter(np.full(len(shares[method]), place), shares[method], s=16, alpha=0.6)
    axis.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
    axis.set_ylabel("value, from the worst (0)\nto the best (1) of all methods")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line, run what is missing, print and draw."""
    given = options(__doc__, 2, "results/surrogate_maximize")
    table = Table(Path(given.folder) / "runs.csv", KEYS)
    run_all(table, runs_of(given), answer, given.jobs)
    report(table.rows())
    draw(table.rows(), Path(given.folder) / "values.png")


if __name__ == "__main__":
    main()

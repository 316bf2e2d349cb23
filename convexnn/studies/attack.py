"""Attacks through pruned copies (arXiv 2505.01985), beside the honest alternatives: found, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats, require
from convexnn.datasets import mnist
from convexnn.studies.harness.pictures import curves, scatter
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.table import distinct, numbers, rows_by, select
from convexnn.studies.methods.perceptron import perceptron, train_classifier
from convexnn.studies.methods.point_searches import (
    ASCENT,
    DENSE,
    FIELDS,
    KEYS,
    PORTFOLIO,
    RELAXATION,
    SPARSE,
    SPARSITIES,
    SURROGATES,
    Question,
    by_milp,
    by_whole_network,
    run_of,
)
from convexnn.tables import Table

# Sparsity of the arms that stand beside the others for one seed, and that seed.
SIDE, SIDE_SEED = 0.9, 0

# Columns that name a network.
NETWORK = ("pixels", "depth", "width", "seed")

# Shapes (pixels a side, hidden layers, their width) and seconds a method.
GRID = list(product((18, 28), (2, 4), (32, 64)))
SHAPES = {"quick": [(18, 2, 32), (28, 2, 32)], "default": GRID, "full": GRID}
LIMITS = {"quick": 10.0, "default": 60.0, "full": 300.0}

EPOCHS, BATCH = 5, 64

PROTOCOL = f"""
The grid of the paper: digits of 28 x 28 and 18 x 18 pixels in [0, 1], 2 or 4 hidden layers of 32 or 64, {EPOCHS} passes
of Adam (1e-3, weight decay 1e-3, batches of {BATCH}); a test image that the dense network has right, an L1 ball of
radius U(4.5, 5.5), the runner-up of the dense network as the target. The paper prunes the network, maximises in the
MILP of the copy and evaluates each incumbent in the network. In its released code the labels are those of the copy, so
that a center that the copy has wrong counts as a success; here they are the network's, and a point counts where the
network prefers the target strictly. *As published* says what the released protocol would have counted.

Methods, each with the limit of time in `runs.csv`: the network's own MILP (*dense*); that of a copy without 50 to 95 %
of its weights, not trained again (*sparse*); for seed 0 one that is, without and with the time of that
(*finetuned*, *timed*), and one pruned at random; gradient ascent from anywhere (*pgd*); the point of the linear
relaxation (*lp*); and `verify.find_adversarial` with surrogates (*portfolio*). The paper has ten seeds and 300 s
(`--full --seeds 0,1,2,3,4,5,6,7,8,9`), and Gurobi.
"""


def runs(scale: Scale, limit: float | None = None, engine: str = "highspy") -> list[Run]:
    """Return a run for every network and method; `limit` in seconds and the MILP engine may be chosen."""
    seconds = LIMITS[scale.size] if limit is None else limit
    return [
        run_of(dict(zip(NETWORK, (*shape, seed), strict=True)), seconds, engine, method)
        for seed in scale.seeds
        for shape in SHAPES[scale.size]
        for method in methods(seed == SIDE_SEED)
    ]


def methods(side: bool) -> list[str]:
    """Return the names of the methods, with the arms that stand beside them or without."""
    more = [f"{kind} {SIDE:g}" for kind in ("finetuned", "timed", "random")] if side else []
    return [PORTFOLIO, ASCENT, RELAXATION, DENSE, *SPARSE, *more]


def digits(pixels: int, part: str) -> tuple[Floats, Any]:
    """Return images (n, pixels^2) and labels of "train" or "test"; smaller ones by bilinear interpolation."""
    torch = require("torch", "torch", "resizing images")
    data = mnist(download=True)
    rows, labels = (data.X_train, data.y_train) if part == "train" else (data.X_test, data.y_test)
    raw = torch.tensor(rows.reshape(-1, 1, 28, 28), dtype=torch.float32)
    sized = torch.nn.functional.interpolate(raw, (pixels, pixels), mode="bilinear", antialias=True)
    images: Floats = sized.clamp(0.0, 1.0).reshape(len(raw), -1).double().numpy()
    return images, labels


@lru_cache(maxsize=1)
def trained(pixels: int, depth: int, width: int, seed: int) -> cx.SparseReLUNetwork:
    """Return the dense network of a shape and seed; the methods share it."""
    model = perceptron([pixels**2, *[width] * depth, 10], seed)
    images, labels = digits(pixels, "train")
    train_classifier(model, images, labels, epochs=EPOCHS, batch_size=BATCH, weight_decay=1e-3)
    return verify.read_network(model)


def question(run: Run, network: cx.SparseReLUNetwork) -> Question:
    """Return the question: a test image that the network has right, and its runner-up."""
    images, labels = digits(run["pixels"], "test")
    rng = np.random.default_rng(run["seed"])
    outputs = network.predict(images)
    index = int(rng.choice(np.flatnonzero(outputs.argmax(axis=1) == labels)))
    region = verify.L1Ball(images[index], float(rng.uniform(4.5, 5.5)), clip=(0.0, 1.0))
    kept, target = np.argsort(-outputs[index], kind="stable")[:2]
    return Question(network, region, np.eye(10)[target] - np.eye(10)[kept], 0.0, run["limit"], run["seed"])


def answer(run: Run) -> dict[str, Any]:
    """Run one method."""
    network = trained(*(run[name] for name in NETWORK))
    asked = question(run, network)
    kind, _, share = run["method"].partition(" ")
    if kind == PORTFOLIO:
        return by_portfolio(asked)
    whole = by_whole_network(kind, asked, run["engine"])
    if whole is not None:
        return whole
    began = perf_counter()
    copy = copied(run, network, kind, float(share))
    making = perf_counter() - began
    found = by_milp(asked, copy, run["engine"])
    if kind == "timed":
        found["first"] = None if found["first"] is None else found["first"] + making
        found["seconds"] += making
    return found | {"note": released(asked, copy)}


def copied(run: Run, network: cx.SparseReLUNetwork, kind: str, share: float) -> cx.SparseReLUNetwork:
    """Return the pruned copy of a method."""
    if kind in ("finetuned", "timed"):
        return verify.prune(network, share, finetune=digits(run["pixels"], "train"), seed=run["seed"])
    return verify.prune(network, share, method="random" if kind == "random" else "magnitude", seed=run["seed"])


def released(asked: Question, copy: cx.SparseReLUNetwork) -> str:
    """Say whether the released protocol counts the center itself: the copy's label and runner-up, the other way round
    in the dense network."""
    x = asked.region.center[None]
    first, second = np.argsort(-copy.predict(x)[0], kind="stable")[:2]
    outputs = asked.network.predict(x)[0]
    return "center counts" if outputs[second] > outputs[first] else ""


def by_portfolio(asked: Question) -> dict[str, Any]:
    """Return what `find_adversarial` with surrogates finds."""
    kept, target = int(np.argmin(asked.objective)), int(np.argmax(asked.objective))
    began = perf_counter()
    found = verify.find_adversarial(
        asked.network,
        asked.region,
        kept,
        target=target,
        time_limit=asked.limit,
        seed=asked.seed,
        surrogates=SURROGATES,
    )
    seconds, hit = perf_counter() - began, found.status is verify.Verdict.COUNTEREXAMPLE
    row = {"found": int(hit), "first": seconds if hit else None, "best": found.value, "seconds": seconds}
    return row | {"note": f"{found.status.name}: {found.reason}"}


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw the seconds to the first success over those of the dense MILP, and what pruning does to the MILP."""
    return [_first_success(rows, folder / "first_success.png"), _sizes(rows, folder / "sizes.png")]


def _first_success(rows: Sequence[Row], path: Path) -> Path:
    points = [
        {"method": name, "dense": _time(group[DENSE]), "own": _time(group[name])}
        for name in (PORTFOLIO, *SPARSE)
        for group in rows_by(rows, NETWORK, "method").values()
        if {name, DENSE} <= set(group)
    ]
    labels = ("dense MILP, seconds", "method, seconds")
    title = "Seconds to the first success; the limit where there was none"
    return scatter(
        points, path, "dense", "own", labels=labels, title=title, logarithmic="xy", diagonal=True, apart=True
    )


def _time(row: Row) -> str:
    return row["first"] or row["limit"]


def _sizes(rows: Sequence[Row], path: Path) -> Path:
    """Draw what pruning does to the MILP over the networks at each sparsity."""
    titles = {
        "nonzeros": "nonzeros of the MILP",
        "unstable": "neurons that can switch",
        "building": "seconds to bound and build it",
        "seconds": "seconds until it ended",
    }
    pruned = {DENSE: 0.0} | dict(zip(SPARSE, SPARSITIES, strict=True))
    points = [
        row | {"what": "median, and the middle half", "pruned": f"{100.0 * pruned[row['method']]:g}"}
        for row in rows
        if row["method"] in pruned
    ]
    labels = ("weights pruned, %", "")
    return curves(points, path, "pruned", list(titles), labels=labels, titles=titles, group="what", quartiles=True)


def tables(rows: list[Row]) -> str:
    """Return a line a method, and who succeeded where the portfolio did not."""
    parts = [success_table(rows).to_markdown()]
    for group in rows_by(rows, NETWORK, "method").values():
        hits = [name for name, row in group.items() if row["found"] == "1"]
        if hits and PORTFOLIO in group and PORTFOLIO not in hits:
            where = ", ".join(f"{name} {group[PORTFOLIO][name]}" for name in NETWORK)
            parts.append(f"The portfolio missed {where}: {', '.join(hits)} found it.")
    return "\n\n".join(parts)


def success_table(rows: Sequence[Row]) -> Table:
    """Return how many networks each method attacks, and how fast."""
    header = ("method", "networks", "found", "as published", "median seconds", "most", "median of all", "can switch")
    body = []
    for method in distinct(rows, "method"):
        here = select(rows, method=method)
        first = numbers(here, "first")
        every = [float(row["first"] or "inf") for row in here]
        counted = sum(row["note"] == "center counts" or row["found"] == "1" for row in here)
        times = [_middle(first), f"{max(first):.3g}" if first else "", _middle(every)]
        unstable = _middle(numbers(here, "unstable"))
        body.append((method, str(len(here)), str(len(first)), str(counted), *times, unstable))
    return Table.of(header, body)


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.3g}" if values and np.isfinite(median(values)) else ""


def cost(run: Run) -> float:
    """Return a guess of the seconds of a run."""
    kind = run["method"].partition(" ")[0]
    return float(
        {PORTFOLIO: 10.0, ASCENT: 2.0, RELAXATION: 2.0, "finetuned": 40.0, "timed": 40.0}.get(kind, 0.5 * run["limit"])
    )


ATTACK = Study(
    name="attack",
    title="Attacks through pruned copies of a network",
    protocol=PROTOCOL,
    keys=(*NETWORK, *KEYS),
    fields=FIELDS,
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    cost=cost,
)

"""Train to verify (ours): how fast and how robust are sparse networks beside dense ones of the same accuracy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median
from time import perf_counter, process_time
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.baselines import prune_iteratively, train_dense
from convexnn.datasets import LabelledSplit, mnist
from convexnn.studies.harness.pictures import curves, scatter
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.summary import mean_and_spread
from convexnn.studies.harness.table import distinct, numbers, select
from convexnn.studies.methods.baselines import OURS, TRAINED
from convexnn.studies.methods.textbook_milp import by_textbook
from convexnn.tables import Table

WIDTH, WEIGHTS = 100, 3000

# Radii of the L-inf balls, in units of which 1 is white.
RADII = (0.02, 0.05)

# Margins of our networks; the first is none.
MARGINS = (0.0, 0.01, 0.03)

# Dense networks as they are usually trained, and by the same fit with the same margins as ours.
DENSE, DENSE_MARGIN = "dense", "dense-margin"

# How ours, dense networks and those of magnitude pruning are trained.
OURS_OPTIONS: dict[str, Any] = {"epochs": 20}
DENSE_OPTIONS: dict[str, Any] = {"epochs": 10, "batch_size": 128}
TRAINED_OPTIONS: dict[str, Any] = {"epochs_a_round": 4, "prune": 0.15, "last_epochs": 10, "batch_size": 250}

# Engines: all of `verify`; its bounds and ascent, and HiGHS in place of its branch and bound; the textbook MILP.
ENGINES = ("auto", "highspy", "textbook")

# The seed whose networks are asked by the slow engines too.
SLOW_SEED = 0

ENGINE_TITLES = {
    "auto": "`verify` as it is (bounds, ascent, branch and bound)",
    "highspy": "`verify` with HiGHS in place of branch and bound",
    "textbook": "the textbook MILP (big-M from intervals, one HiGHS run a class)",
}

# Seconds in which an answer counts as quick.
QUICKLY = 10.0

# Verdicts as letters: one a row of the column `verdicts`.
LETTERS = {
    verify.Verdict.ROBUST: "R",
    verify.Verdict.COUNTEREXAMPLE: "A",
    verify.Verdict.MISCLASSIFIED: "M",
    verify.Verdict.UNKNOWN: "U",
    verify.Verdict.INTERRUPTED: "U",
}

# Images and seconds an image, by size and engine.
ASKED = {
    "quick": {"auto": (40, 20.0), "highspy": (10, 10.0), "textbook": (2, 10.0)},
    "default": {"auto": (100, 120.0), "highspy": (20, 120.0), "textbook": (8, 120.0)},
    "full": {"auto": (100, 120.0), "highspy": (100, 120.0), "textbook": (100, 120.0)},
}

PROTOCOL = f"""
No paper has this experiment. 784-{WIDTH}-10 networks without biases are trained on MNIST (pixels from 0 to 1, standard
split): dense ones (Adam, 10 passes), and of {WEIGHTS:,} weights those of magnitude pruning, trained after each round
with a last fine-tune, and ours (`fit_network`, 20 passes), with a `margin` and without. A margin helps dense networks
too: *dense, margin* is the same fit with all weights kept, which tells what the margin brings from what sparsity does
(asked by *auto* alone). Each is asked about the first test images: is any input within eps of an image, pixel by pixel,
classified wrong? *Robust* counts images with a proof, *attacked or wrong* those with an input that the network gets
wrong, and those wrong as they stand; *undecided* those left at the limit of time (wall clock). Seconds are CPU time on
one thread, so that a busy machine does not count; an image that is left undecided counts with the limit. Ratios are to
the dense network without a margin: lower bounds where only that one has undecided images. Verdicts and seconds of every
image are in `runs.csv`. Three ways to ask, the second and the third for seed {SLOW_SEED}:
{"; ".join(f"*{name}*, {title}" for name, title in ENGINE_TITLES.items())}.

A margin trains on the worst case that intervals allow, so that intervals suffice for most proofs. Margins and passes
were chosen on 10,000 images of the training set, not on test images.
"""


@dataclass(frozen=True)
class ImageVerdicts:
    """Verdicts on images, as letters, and the CPU seconds of each."""

    verdicts: str
    times: tuple[float, ...]


def runs(scale: Scale) -> list[Run]:
    """Return a run for every seed, network and engine."""
    all_weights = WIDTH * (784 + 10)
    arms = [
        (DENSE, all_weights, None),
        (TRAINED, WEIGHTS, None),
        *((OURS, WEIGHTS, margin) for margin in MARGINS),
        *((DENSE_MARGIN, all_weights, margin) for margin in MARGINS[1 : 2 if scale.size == "quick" else None]),
    ]
    return [
        {"method": method, "weights": weights, "margin": margin, "engine": engine, "images": images, "limit": limit}
        | {"eps": RADII[-1], "seed": seed}
        for seed in scale.seeds
        for method, weights, margin in arms
        for engine, (images, limit) in ASKED[scale.size].items()
        if engine == "auto" or (seed == SLOW_SEED and method != DENSE_MARGIN)
    ]


def answer(run: Run) -> list[dict[str, Any]]:
    """Train the network, ask about the images at every radius; a row a radius."""
    data = mnist(download=True)
    network, training = trained(run["method"], run["weights"], run["margin"], run["seed"])
    accuracy = float(np.mean(network.predict(data.X_test).argmax(axis=1) == data.y_test))
    common = {"accuracy": accuracy, "nnz": network.nnz, "training": training}
    return [{"eps": eps} | common | _figures(verify_images(run, eps, network, data), run["limit"]) for eps in RADII]


@lru_cache(maxsize=4)
def trained(method: str, weights: int, margin: float | None, seed: int) -> tuple[cx.SparseReLUNetwork, float]:
    """Return a network, and the seconds it took; runs that ask the same one by several engines share it."""
    data, began = mnist(download=True), perf_counter()
    X, y = data.X_train, data.y_train
    options: dict[str, Any] = {"width": WIDTH, "loss": "softmax", "seed": seed}
    if method in (OURS, DENSE_MARGIN):
        network = cx.fit_network(X, y, weights, margin=margin or 0.0, **options, **OURS_OPTIONS).network
    elif method == DENSE:
        network = train_dense(X, y, **options, **DENSE_OPTIONS).network
    else:
        network = prune_iteratively(X, y, [weights], **options, **TRAINED_OPTIONS)[weights].network
    return network, perf_counter() - began


def verify_images(run: Run, eps: float, network: cx.SparseReLUNetwork, data: LabelledSplit) -> ImageVerdicts:
    """Return the verdicts on the first test images; a question before them, not counted, loads what is needed."""
    letters, times = "", list[float]()
    for index in [0, *range(run["images"])]:
        region = verify.LinfBall(data.X_test[index], eps, clip=(0.0, 1.0))
        began = process_time()
        verdict = verdict_of(run["engine"], network, region, int(data.y_test[index]), run["limit"])
        times.append(process_time() - began)
        letters += LETTERS[verdict]
    return ImageVerdicts(letters[1:], tuple(times[1:]))


def verdict_of(
    engine: str, network: cx.SparseReLUNetwork, region: verify.Box, label: int, limit: float
) -> verify.Verdict:
    """Return an engine's verdict about one image."""
    if engine == "textbook":
        return by_textbook(network, region, label, limit)
    return verify.find_adversarial(network, region, label, time_limit=limit, backend=engine).status


def _figures(found: ImageVerdicts, limit: float) -> dict[str, Any]:
    """Return the measured columns; what is undecided counts with the limit."""
    times = [limit if letter == "U" else time for letter, time in zip(found.verdicts, found.times, strict=True)]
    count, decided = len(times), [time for letter, time in zip(found.verdicts, times, strict=True) if letter != "U"]
    return {
        "robust": found.verdicts.count("R") / count,
        "attacked": (found.verdicts.count("A") + found.verdicts.count("M")) / count,
        "undecided": found.verdicts.count("U") / count,
        "quick": sum(time <= QUICKLY for time in decided) / count,
        "median": median(times),
        "mean": fmean(times),
        "most": max(times),
        "verdicts": found.verdicts,
        "times": " ".join(f"{time:.5f}" for time in times),
    }


def title(row: Row) -> str:
    """Return what a row's network is called."""
    if row["method"] == DENSE:
        return DENSE
    if row["method"] == TRAINED:
        return "IMP trained"
    if row["method"] == DENSE_MARGIN:
        return f"dense, margin {row['margin']}"
    return "ours, no margin" if float(row["margin"]) == 0.0 else f"ours, margin {row['margin']}"


def titled(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a column for the name of the network."""
    return [{**row, "network": title(row)} for row in rows]


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw the share of images decided over time, a picture an engine and radius, and robustness over accuracy."""
    named = titled(rows)
    drawn = [
        _decided(select(named, engine=engine, eps=eps), folder / f"decided_{engine}_{eps}.png", engine, eps)
        for engine in distinct(named, "engine")
        for eps in sorted(distinct(named, "eps"), key=float)
    ]
    return [*drawn, *(_robust(select(named, engine="auto", eps=str(eps)), folder, eps) for eps in RADII)]


def _decided(rows: Sequence[Row], path: Path, engine: str, eps: str) -> Path:
    """Draw how many images are decided by when: all images of all seeds in one curve a network."""
    points = list[Row]()
    for network in distinct(rows, "network"):
        limit, times = float(rows[0]["limit"]), list[float]()
        here = select(rows, network=network)
        for row in here:
            pairs = zip(row["times"].split(), row["verdicts"], strict=True)
            times += [float(time) for time, letter in pairs if letter != "U"]
        count = sum(len(row["verdicts"]) for row in here)
        steps = [(time, place / count) for place, time in enumerate(sorted(times), 1)]
        steps.append((limit, len(times) / count))
        points += [{"network": network, "time": f"{max(x, 1e-4)}", "share": f"{y}"} for x, y in steps]
    head = f"{engine}: images decided, eps {eps}"
    labels = ("CPU seconds, the limit at the right", "images decided, %")
    return curves(
        points, path, "time", "share", labels=labels, title=head, group="network", logarithmic="x", factor=100.0
    )


def _robust(rows: Sequence[Row], folder: Path, eps: float) -> Path:
    return scatter(
        rows,
        folder / f"robust_{eps}.png",
        "accuracy",
        "robust",
        labels=("test accuracy", f"share of images proven robust, eps {eps}"),
        group="network",
    )


def tables(rows: list[Row]) -> str:
    """Return a table an engine and radius: accuracy, robustness, seconds, and the ratio to the dense network's."""
    named, parts = titled(rows), list[str]()
    for engine in distinct(named, "engine"):
        for eps in sorted(distinct(named, "eps"), key=float):
            here = select(named, engine=engine, eps=eps)
            images, limit = here[0]["images"], here[0]["limit"]
            parts += [f"## eps {eps}, {ENGINE_TITLES[engine]}", f"{images} images, at most {limit} s each."]
            parts.append(robustness_table(here).to_markdown())
    return "\n\n".join(parts)


HEADER = (
    "network",
    "weights",
    "test accuracy",
    "robust",
    "attacked or wrong",
    "undecided",
    f"decided in {QUICKLY:.0f} s",
    "median seconds",
    "mean",
    "most",
    "dense / this, medians",
    "means",
)


def robustness_table(rows: Sequence[Row]) -> Table:
    """Return the table of one engine and radius; percentages over seeds, seconds over all images of all seeds."""
    dense = _seconds(select(rows, method=DENSE))
    body = []
    for network in distinct(rows, "network"):
        here = select(rows, network=network)
        names = ("accuracy", "robust", "attacked", "undecided", "quick")
        shares = [mean_and_spread([100.0 * value for value in numbers(here, name)]) + " %" for name in names]
        times = _seconds(here)
        seconds = [f"{median(times):.4f}", f"{fmean(times):.4f}", f"{max(times):.2f}"]
        ratios = [f"{of(dense) / of(times):.1f}" if len(dense) else "" for of in (median, fmean)]
        body.append((network, f"{fmean(numbers(here, 'nnz')):,.0f}", *shares, *seconds, *ratios))
    return Table.of(HEADER, body)


def _seconds(rows: Sequence[Row]) -> list[float]:
    return [float(time) for row in rows for time in row["times"].split()]


def cost(run: Run) -> float:
    """Return a guess of the seconds of a run."""
    training = {DENSE: 15.0, TRAINED: 120.0, OURS: 30.0, DENSE_MARGIN: 40.0}[run["method"]]
    asking = {"auto": 0.1, "highspy": 0.5, "textbook": 0.5 * run["limit"] if run["method"] == DENSE else 2.0}
    return training + 2.0 * run["images"] * asking[run["engine"]]


TRAIN_TO_VERIFY = Study(
    name="train-to-verify",
    title="Train to verify: sparse networks beside dense ones",
    protocol=PROTOCOL,
    keys=("method", "weights", "margin", "engine", "images", "limit", "eps", "seed"),
    fields=(
        "accuracy",
        "nnz",
        "training",
        "robust",
        "attacked",
        "undecided",
        "quick",
        "median",
        "mean",
        "most",
        "verdicts",
        "times",
    ),
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    cost=cost,
)

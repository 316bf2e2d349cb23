"""Attack MNIST networks through their pruned copies, beside the honest alternatives: found, how fast, how far.

    CONVEXNN_DATA=folder python benchmarks/surrogate_attack.py [--quick] [--seeds 3] [--seconds 60] [--jobs 1]
        [--folder results/surrogate_attack] [--engine highspy]

The grid of "A Surrogate within a Surrogate" (Pham et al.): digits of 28 x 28 and 18 x 18 pixels in [0, 1], {2, 4}
hidden layers of {32, 64}, 5 epochs of Adam (1e-3, weight decay 1e-3, batches of 64); a test image that the dense
network has right, an L1 ball of radius U(4.5, 5.5), the runner-up of the dense network as the target. Methods, each
with the same limit: the dense network's MILP; the MILP of a copy without 50, 80, 90 or 95 % of its weights, not
trained again; for the first seed one that is, with and without the time of that, and one pruned at random; gradient
ascent from anywhere; the point of the linear relaxation; and `verify.find_adversarial` with surrogates. A point counts
where the dense network prefers the target strictly. `released` says what the protocol published with the paper would
have counted beside: labels taken from the copy, so that a center that the copy has wrong is a success.

A folder keeps the networks, one CSV row a run (a run that is there is not run again) and the pictures.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from surrogate_methods import Question, Table, by, by_ascent, by_milp, by_relaxation, options, run_all

import convexnn as cx
import verify
from convexnn.checks import Floats

SPARSITIES = (0.5, 0.8, 0.9, 0.95)
PORTFOLIO = (0.8, 0.9)

# Of the arms that stand beside the others for one seed.
SIDE = 0.9


@dataclass(frozen=True)
class Run:
    """One method on one network."""

    pixels: int
    depth: int
    width: int
    seed: int
    method: str
    seconds: float
    folder: str
    engine: str


KEYS = ("pixels", "depth", "width", "seed", "method")


def digits(pixels: int, part: str) -> tuple[Floats, NDArray[np.int64]]:
    """Return images (n, pixels^2) and labels of "train" or "test"; smaller ones by bilinear interpolation."""
    folder = os.environ.get("CONVEXNN_DATA")
    if folder is None:
        raise SystemExit("CONVEXNN_DATA is not set; expected the folder that holds mnist.npz")
    with np.load(Path(folder) / "mnist.npz") as data:
        raw = torch.tensor(data[f"x_{part}"][:, None], dtype=torch.float32) / 255.0
        labels = data[f"y_{part}"].astype(np.int64)
    sized = torch.nn.functional.interpolate(raw, (pixels, pixels), mode="bilinear", antialias=True)
    return sized.clamp(0.0, 1.0).reshape(len(raw), -1).double().numpy(), labels


def trained(run: Run) -> cx.SparseReLUNetwork:
    """Return the dense network of a run, trained now or read from the folder."""
    path = Path(run.folder) / "networks" / f"{run.pixels}_{run.depth}_{run.width}_{run.seed}.npz"
    if path.exists():
        return cx.SparseReLUNetwork.load(path)
    torch.manual_seed(run.seed)
    torch.set_num_threads(1)
    sizes = [run.pixels**2, *[run.width] * run.depth, 10]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    images, labels = digits(run.pixels, "train")
    X, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    for _ in range(5):
        for batch in torch.randperm(len(X)).split(64):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            adam.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    network = verify.read_network(model)
    network.save(path)
    return network


def asked(run: Run, network: cx.SparseReLUNetwork) -> Question:
    """Return the question: a test image that the network has right, and its runner-up."""
    images, labels = digits(run.pixels, "test")
    rng = np.random.default_rng(run.seed)
    outputs = network.predict(images)
    right = np.flatnonzero(outputs.argmax(axis=1) == labels)
    index = int(rng.choice(right))
    radius = float(rng.uniform(4.5, 5.5))
    region = verify.L1Ball(images[index], radius, clip=(0.0, 1.0))
    kept, target = np.argsort(-outputs[index], kind="stable")[:2]
    row = np.eye(10)[target] - np.eye(10)[kept]
    return Question(network, region, row, 0.0, run.seconds, run.seed)


def answer(run: Run) -> dict[str, Any]:
    """Run one method."""
    network = trained(run)
    question = asked(run, network)
    kind, _, share = run.method.partition(" ")
    if kind == "pgd":
        return by_ascent(question)
    if kind == "lp":
        return by_relaxation(question, run.engine)
    if kind == "portfolio":
        return by_portfolio(question)
    if kind == "dense":
        return by_milp(question, network, run.engine)
    began = perf_counter()
    copy = copied(run, network, kind, float(share))
    making = perf_counter() - began
    found = by_milp(question, copy, run.engine)
    if kind == "timed":
        found["first"] += making
        found["seconds"] += making
    return {**found, "note": released(question, copy)}


def copied(run: Run, network: cx.SparseReLUNetwork, kind: str, share: float) -> cx.SparseReLUNetwork:
    """Return the pruned copy of a method."""
    if kind in ("finetuned", "timed"):
        images, labels = digits(run.pixels, "train")
        return verify.prune(network, share, finetune=(images, labels), seed=run.seed)
    return verify.prune(network, share, method="random" if kind == "random" else "magnitude", seed=run.seed)


def released(question: Question, copy: cx.SparseReLUNetwork) -> str:
    """Say whether the released protocol counts the center itself: the copy's label and runner-up, the other way round
    in the dense network."""
    x = question.region.center[None]
    first, second = np.argsort(-copy.predict(x)[0], kind="stable")[:2]
    outputs = question.network.predict(x)[0]
    return "center counts" if outputs[second] > outputs[first] else ""


def by_portfolio(question: Question) -> dict[str, Any]:
    """Return what `find_adversarial` with surrogates finds."""
    kept, target = int(np.argmin(question.row)), int(np.argmax(question.row))
    began = perf_counter()
    found = verify.find_adversarial(
        question.network,
        question.region,
        kept,
        target=target,
        time_limit=question.limit,
        seed=question.seed,
        surrogates=PORTFOLIO,
    )
    seconds, hit = perf_counter() - began, found.status is verify.Verdict.COUNTEREXAMPLE
    row = {"found": int(hit), "first": seconds if hit else np.nan, "best": found.value, "seconds": seconds}
    return {**row, "note": f"{found.status.name}: {found.reason}"}


def runs_of(given: Any) -> list[Run]:
    """Return all runs of the grid."""
    shapes = (
        [(18, 2, 32), (28, 2, 32)] if given.quick else [(p, d, w) for p in (18, 28) for d in (2, 4) for w in (32, 64)]
    )
    runs = []
    for seed in range(given.seeds):
        methods = ["portfolio", "pgd", "lp", "dense", *(f"sparse {share:g}" for share in SPARSITIES)]
        methods += [f"{kind} {SIDE:g}" for kind in ("finetuned", "timed", "random")] if seed == 0 else []
        runs += [
            Run(*shape, seed, method, given.seconds, given.folder, given.engine)
            for shape in shapes
            for method in methods
        ]
    return runs


def report(rows: list[dict[str, str]]) -> None:
    """Print one line a method, and who succeeded where the portfolio did not."""
    heads = ("runs", "found", "median", "most", "median of all", "unstable", "released")
    print(f"{'method':15}" + "".join(f"{head:>15}" for head in heads))
    for (method,), group in by(rows, "method"):
        first = np.array([float(row["first"]) for row in group])
        hits = first[np.isfinite(first)]
        every = np.where(np.isfinite(first), first, np.inf)
        unstable = [float(row["unstable"]) for row in group if row["unstable"]]
        counted = sum(row["note"] == "center counts" or row["found"] == "1" for row in group)
        cells = [len(group), len(hits), _middle(hits), _most(hits), _middle(every), _middle(unstable), counted]
        print(f"{method:15}" + "".join(f"{cell:>15.4g}" for cell in cells))
    for case, group in by(rows, *KEYS[:-1]):
        found = {row["method"]: row["found"] == "1" for row in group}
        if any(found.values()) and not found.get("portfolio", True):
            print("the portfolio missed", dict(zip(KEYS, case, strict=False)), [name for name in found if found[name]])


def _middle(values: Any) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _most(values: Any) -> float:
    return float(np.max(values)) if len(values) else np.nan


def draw(rows: list[dict[str, str]], limit: float, path: Path) -> None:
    """Draw the seconds to the first success of each copy's MILP, and of the portfolio, against the dense MILP's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    times = {
        case: {row["method"]: float(row["first"]) if row["found"] == "1" else limit for row in group}
        for case, group in by(rows, *KEYS[:-1])
    }
    methods = [*(f"sparse {share:g}" for share in SPARSITIES), "portfolio"]
    figure, axes = plt.subplots(1, len(methods), figsize=(3.0 * len(methods), 3.2), sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=True):
        pairs = [(each["dense"], each[method]) for each in times.values() if "dense" in each and method in each]
        axis.scatter(*zip(*pairs, strict=True), s=18, alpha=0.7) if pairs else None
        axis.plot([1e-2, limit], [1e-2, limit], color="gray", linewidth=0.8)
        axis.set(xscale="log", yscale="log", title=method, xlabel="dense MILP (s)")
    axes[0].set_ylabel("first success (s)")
    figure.suptitle(f"Seconds to the first success; {limit:g} s where there was none")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


SIZES = {
    "nonzeros": "nonzeros of the MILP",
    "unstable": "neurons that can switch",
    "building": "seconds to bound and build it",
    "seconds": "seconds until it ended, 60 at most",
}


def draw_sizes(rows: list[dict[str, str]], path: Path) -> None:
    """Draw what pruning does to the MILP: median and quartiles over the networks at each sparsity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = ["dense", *(f"sparse {share:g}" for share in SPARSITIES)]
    figure, axes = plt.subplots(1, len(SIZES), figsize=(3.2 * len(SIZES), 3.0))
    for axis, (column, title) in zip(axes, SIZES.items(), strict=True):
        groups = [[float(row[column]) for row in rows if row["method"] == method] for method in methods]
        low, middle, high = np.array([np.percentile(group or [np.nan], (25, 50, 75)) for group in groups]).T
        axis.errorbar(range(len(methods)), middle, (middle - low, high - middle), marker="o", capsize=3)
        axis.set_xticks(range(len(methods)), ["none", *(f"{100 * share:g} %" for share in SPARSITIES)])
        axis.set(title=title, xlabel="weights pruned", yscale="linear" if column == "unstable" else "log")
        axis.title.set_fontsize(9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line, run what is missing, print and draw."""
    given = options(__doc__, 3, "results/surrogate_attack")
    table = Table(Path(given.folder) / "runs.csv", KEYS)
    for run in runs_of(given):
        trained(run)
    run_all(table, runs_of(given), answer, given.jobs)
    report(table.rows())
    draw(table.rows(), given.seconds, Path(given.folder) / "first_success.png")
    draw_sizes(table.rows(), Path(given.folder) / "sizes.png")


if __name__ == "__main__":
    main()

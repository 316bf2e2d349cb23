"""Images as functions of their pixels (figures 4 and 5 of the paper): how well few weights fit one image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import convexnn as cx
from convexnn.datasets import ImageTask, image_task
from convexnn.studies.harness.pictures import heatmaps, scatter
from convexnn.studies.harness.resources import peak_above, reset_peak
from convexnn.studies.harness.study import Row, Run, Scale, Size, Study
from convexnn.studies.harness.summary import averaged, mean_and_spread, pivot, with_recorded
from convexnn.studies.harness.table import distinct, numbers, select
from convexnn.studies.methods.baselines import OURS, RELEASED, RIGL, TITLES, TRAINED, run_baseline
from convexnn.studies.methods.psnr import EXACT, psnr
from convexnn.tables import Table

METHODS = (OURS, RELEASED, TRAINED, RIGL)

Cell = tuple[int, int]

# Starts of `recover`, which ends once the network is exact or its time is up.
STARTS = 1000


@dataclass(frozen=True)
class Recorded:
    """What the published solver reached on a cell: PSNR in dB after 100 passes, and the seconds they took."""

    psnr: float
    seconds: float


@dataclass(frozen=True)
class ImageSetting:
    """An image, its cells (m, s) in the smaller sizes, and the paper's grid.

    Attributes
    ----------
    image : str
        As `convexnn.datasets.image_task` takes it.
    quick, default : tuple of (int, int)
        The cells, with one hidden layer.
    widths, budgets : tuple of int
        The whole grid, with one hidden layer and with two.
    recorded : mapping
        What the published solver did, by cell.
    limit : float
        Seconds of ours where nothing is recorded; elsewhere a third of the published solver's.
    """

    image: str
    quick: tuple[Cell, ...]
    default: tuple[Cell, ...]
    widths: tuple[int, ...]
    budgets: tuple[int, ...]
    recorded: Mapping[Cell, Recorded]
    limit: float

    def cells(self, size: Size) -> list[tuple[int, Cell]]:
        """Return depths and cells; as many weights as neurons have inputs at most."""
        if size != "full":
            return [(1, cell) for cell in (self.quick if size == "quick" else self.default)]
        grid = [(m, s) for m in self.widths for s in self.budgets if s <= m * FEATURES]
        return [(depth, cell) for depth in (1, 2) for cell in grid if cell[1] > depth]

    def limit_of(self, cell: Cell) -> float:
        """Return the seconds that ours has."""
        return self.recorded[cell].seconds // 3 if cell in self.recorded else self.limit


DIGIT = ImageSetting(
    image="mnist",
    quick=((10, 50), (20, 100), (20, 200)),
    default=((10, 50), (20, 100), (20, 200), (50, 500)),
    widths=(2, 5, 10, 20, 50, 100, 200),
    budgets=(2, 5, 10, 20, 50, 100, 200, 500, 1000),
    # NumPy in place of CuPy, the same image and features, 2 cores.
    recorded={
        (10, 50): Recorded(22.3, 50.0),
        (20, 100): Recorded(29.4, 75.0),
        (20, 200): Recorded(35.6, 56.0),
        (50, 500): Recorded(51.7, 101.0),
    },
    limit=30.0,
)
PHOTOGRAPH = ImageSetting(
    image="cifar10",
    quick=((10, 100),),
    default=((10, 100), (20, 200), (20, 500)),
    widths=(1, 2, 5, 10, 20, 50, 100, 200),
    budgets=(5, 10, 20, 50, 100, 200, 500, 1000, 2000),
    recorded={},
    limit=30.0,
)
FEATURES = 1500

# How the baselines are run: the first as released, the others to do well, as found on the digit with 20 neurons.
OPTIONS: Mapping[str, dict[str, Any]] = {
    RELEASED: {"epochs_a_round": 100, "batch_size": None},
    TRAINED: {
        "epochs_a_round": 40,
        "batch_size": 196,
        "prune": 0.15,
        "lr": 1e-2,
        "last_epochs": 400,
        "decay": True,
    },
    RIGL: {"epochs": 600, "batch_size": 196, "lr": 1e-2, "every": 30},
}

PROTOCOL = """
A network from Fourier features of the places of an image's pixels to their values in [0, 1], fitted to all of them:
750 frequencies, sines and cosines, at whole-number places. The PSNR has the peak 1.
{about}

*Ours* is `recover` (with two hidden layers `fit_network`) within the limit of time in `runs.csv`, which is a third of
the published solver's time where that is recorded; `reached` is when it first had the published solver's PSNR. *IMP as
released*: Adam of 1e-3, 100 full-batch steps a round, a tenth of the weights pruned, back to the first weights, scored
right after the last pruning. *IMP trained*: 40 passes a round in batches of 196, Adam of 1e-2, 15 % pruned, and 400
passes after the last pruning with a step size that falls to zero. *RigL*: 600 passes in batches of 196, Adam of 1e-2
that falls to zero. As ours, pruning has fixed output weights, all +1 (half of them -1 was 2 to 12 dB worse), and the
budget counts hidden weights; RigL does better with free ones, which count. With two hidden layers all weights count. A
pass of IMP serves all budgets of a width: its seconds are those down to the budget.
"""

ABOUT = {
    "mnist": """Digits: frequencies N(0, 4), 784 pixels. The paper's image is number 1,000 of its own split; this one is
the 501st zero of the standard test set, for which the published solver's figures are recorded (NumPy in place of
CuPy, 100 passes, 2 cores).""",
    "cifar10": """Photographs: frequencies N(0, 25) over rows and columns, N(0, 0.0025) over colours, 3,072 values
fitted by one output. The paper's image is number 1,000 of the airplanes and automobiles of the test set; this one is
the first of them, of which a small file is enough.""",
}


def runs_of(setting: ImageSetting, scale: Scale) -> list[Run]:
    """Return the runs: one a cell for ours and RigL, one a width for pruning, known by its largest budget."""
    cells = setting.cells(scale.size)
    found = list[Run]()
    for seed in scale.seeds:
        for method in METHODS:
            groups = _by_width(cells) if method in (RELEASED, TRAINED) else [(d, m, [s]) for d, (m, s) in cells]
            for depth, m, budgets in groups:
                limit = setting.limit_of((m, budgets[0])) if method == OURS else None
                texts = ",".join(map(str, budgets))
                key = {"depth": depth, "m": m, "s": max(budgets), "budgets": texts, "limit": limit}
                found.append(key | {"seed": seed, "method": method})
    return found


def _by_width(cells: Sequence[tuple[int, Cell]]) -> Iterator[tuple[int, int, list[int]]]:
    for depth, m in dict.fromkeys((depth, cell[0]) for depth, cell in cells):
        yield depth, m, [s for deep, (width, s) in cells if (deep, width) == (depth, m)]


def answer_of(setting: ImageSetting, run: Run) -> list[dict[str, Any]]:
    """Fit and measure: a row for each budget; the peak of memory is that of fitting, not of reading the data."""
    task = image_task(setting.image, download=True)
    base = reset_peak()
    rows = [ours(setting, task, run)] if run["method"] == OURS else fit_baseline(task, run)
    return [{**row, "peak_mb": peak_above(base)} for row in rows]


def fit_baseline(task: ImageTask, run: Run) -> list[dict[str, Any]]:
    """Fit by a baseline, all budgets of the run."""
    options: dict[str, Any] = {"width": run["m"], "depth": run["depth"], "seed": run["seed"]}
    if run["depth"] == 1 and run["method"] != RIGL:
        options["weights"] = "hidden"
    budgets = list(map(int, run["budgets"].split(",")))
    found = run_baseline(run["method"], task.X, task.y, budgets, **options, **OPTIONS[run["method"]])
    return [
        {"s": budget, "psnr": psnr(task.y, net.predict(task.X), 1.0), "nnz": net.nnz, "seconds": net.seconds}
        for budget, net in found.items()
    ]


def ours(setting: ImageSetting, task: ImageTask, run: Run) -> dict[str, Any]:
    """Fit by our search; `reached` is the time of the first network at the published solver's PSNR, if any is."""
    m, s, seed, limit = run["m"], run["s"], run["seed"], run["limit"]
    if run["depth"] > 1:
        fit = cx.fit_network(task.X, task.y, s, m, depth=run["depth"], seed=seed, time_limit=limit)
        return {"psnr": psnr(task.y, fit.predict(task.X), 1.0), "nnz": fit.nnz, "seconds": fit.seconds}
    timer = TimeToTarget(setting.recorded[m, s].psnr if (m, s) in setting.recorded else np.inf)
    found = cx.recover(task.X, task.y, s, m, seed=seed, n_restarts=STARTS, time_limit=limit, callback=timer)
    level = psnr(task.y, found.to_network().predict(task.X), 1.0)
    timer.update(level, found.seconds)
    return {"psnr": level, "nnz": len(found.support), "seconds": found.seconds, "reached": timer.reached}


class TimeToTarget:
    """Notes when a search first reaches a PSNR of peak 1: with a candidate, or with the last fit."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.reached: float | None = None

    def __call__(self, state: cx.RecoveryProgress) -> None:
        # The loss is half the mean square error.
        self.update(-10.0 * np.log10(max(2.0 * state.best, 1e-300)), state.seconds)

    def update(self, level: float, seconds: float) -> None:
        """Take a level into account."""
        if self.reached is None and level >= self.level:
            self.reached = seconds


def figures_of(setting: ImageSetting, rows: list[Row], folder: Path) -> list[Path]:
    """Draw the heatmaps of the paper, a picture a depth, and PSNR against seconds."""
    paths = []
    for depth in distinct(rows, "depth"):
        title = f"{setting.image}: m neurons, s weights, hidden layers: {depth}"
        here = select(rows, depth=depth)
        path = folder / f"psnr-{depth}.png"
        looks: dict[str, Any] = {"limits": (0.0, 50.0), "label": "PSNR in dB", "title": title, "titles": TITLES}
        paths.append(heatmaps(here, path, "psnr", **looks, digits=1, most=EXACT))
    labels = ("seconds", f"PSNR in dB, at most {EXACT:.0f}")
    path = folder / "seconds.png"
    capped = [{**row, "psnr": f"{min(EXACT, float(row['psnr']))}"} for row in rows]
    return [*paths, scatter(capped, path, "seconds", "psnr", labels=labels, titles=TITLES, logarithmic="x")]


def tables_of(setting: ImageSetting, rows: list[Row]) -> str:
    """Return PSNR and seconds of every cell, and the time to the published solver's PSNR."""
    shown = (
        (f"PSNR in dB, counted as {EXACT:.0f} where it is more", "psnr", 1, EXACT),
        ("Seconds, one thread", "seconds", 1, np.inf),
        ("Peak memory in MB", "peak_mb", 0, np.inf),
    )
    parts = []
    for title, name, digits, most in shown:
        table = pivot(rows, ("depth", "m", "s"), "method", averaged(name, digits, most=most), TITLES)
        table = with_recorded(table, partial(_recorded, setting)) if name == "psnr" else table
        parts += [f"## {title}", table.to_markdown()]
    if setting.recorded:
        parts += ["## Seconds to the published solver's PSNR", time_to_recorded(setting, rows).to_markdown()]
    return "\n\n".join(parts)


def _recorded(setting: ImageSetting, cells: tuple[str, ...]) -> str:
    """Return what the published solver reached, one hidden layer, on the line of these cells."""
    known = setting.recorded.get((int(cells[1]), int(cells[2]))) if cells[0] == "1" else None
    return f"{known.psnr}" if known else ""


def time_to_recorded(setting: ImageSetting, rows: Sequence[Row]) -> Table:
    """Return the times of ours to the published solver's PSNR, beside its own."""
    body = []
    for (m, s), known in setting.recorded.items():
        here = select(rows, depth=1, m=m, s=s, method=OURS)
        times = numbers(here, "reached")
        if here:
            count, times_text = f"{len(times)} of {len(here)}", mean_and_spread(times)
            body.append((str(m), str(s), f"{known.psnr}", count, times_text, f"{known.seconds:.0f}"))
    return Table.of(("m", "s", "dB", "runs that reach it", "seconds of ours", "of the published solver"), body)


def cost_of(setting: ImageSetting, run: Run) -> float:
    """Return a guess of the seconds of a run: the limit, or a share of the pixels times the weights of a dense net."""
    if run["method"] == OURS:
        return float(run["limit"])
    scale = 4.0 if setting is PHOTOGRAPH else 1.0
    return scale * {RELEASED: 1.0, TRAINED: 2.0, RIGL: 0.5}[run["method"]] * run["m"]


def _study(name: str, title: str, setting: ImageSetting) -> Study:
    return Study(
        name=name,
        title=title,
        protocol=PROTOCOL.format(about=ABOUT[setting.image]),
        keys=("depth", "m", "s", "budgets", "limit", "seed", "method"),
        fields=("psnr", "nnz", "reached"),
        runs=partial(runs_of, setting),
        answer=partial(answer_of, setting),
        figures=partial(figures_of, setting),
        tables=partial(tables_of, setting),
        cost=partial(cost_of, setting),
    )


MNIST = _study("inr-mnist", "A digit as a function of its pixels", DIGIT)
CIFAR = _study("inr-cifar", "A photograph as a function of its pixels", PHOTOGRAPH)

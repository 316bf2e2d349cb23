"""A study of a moment, whose runs leave a trace: what the tests of sweeps run, in workers too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convexnn.studies.harness.pictures import heatmaps
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.summary import averaged, pivot

SIZES = {"quick": (2,), "default": (2, 5), "full": (2, 5, 10)}


def runs(scale: Scale) -> list[Run]:
    """Return a run a seed and a width, and one that answers all budgets at once."""
    return [
        {"seed": seed, "m": m, "s": s, "method": method}
        for seed in scale.seeds
        for m in SIZES[scale.size]
        for method, budgets in (("plain", (3, 6)), ("all at once", (6,)))
        for s in budgets
    ]


def answer(run: Run) -> dict[str, Any] | list[dict[str, Any]]:
    """Return the product of what identifies a run, and leave a trace of it where `TRACE` names a file."""
    import os

    if "TRACE" in os.environ:
        with open(os.environ["TRACE"], "a", encoding="ascii") as file:
            file.write(f"{run['method']} {run['seed']} {run['m']} {run['s']}\n")
    if run["method"] == "plain":
        return {"value": value(run)}
    return [{"s": s, "value": value({**run, "s": s})} for s in (6, 3)]


def value(run: Run) -> float:
    """Return what a run measures."""
    return float(run["m"] * run["s"] + run["seed"])


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw the one heatmap."""
    return [heatmaps(rows, folder / "value.png", "value", limits=(0.0, 60.0), label="value")]


def tables(rows: list[Row]) -> str:
    """Return the one table."""
    return pivot(rows, ("m", "s"), "method", averaged("value")).to_markdown()


FAKE = Study(
    name="fake",
    title="Products",
    protocol="Each run multiplies.",
    keys=("seed", "m", "s", "method"),
    fields=("value",),
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    cost=lambda run: float(run["m"]),
)

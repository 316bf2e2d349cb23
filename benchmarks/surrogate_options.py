"""The command line of the studies of surrogates with a limit of time and an engine of one's own."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

from convexnn.studies.harness.reproduce import reproduce
from convexnn.studies.harness.study import study_named


def main(name: str, about: str | None, seeds: int) -> None:
    """Read the command line, run what the folder's table lacks, print the page's tables."""
    parser = ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(f"results/surrogate_{name}"))
    parser.add_argument("--engine", default="highspy")
    given = parser.parse_args()
    study = study_named(name)
    runs = import_module(f"convexnn.studies.{name}").runs
    chosen = partial(runs, limit=given.seconds, engine=given.engine)
    report = reproduce(
        replace(study, name=given.folder.name, runs=chosen),
        "quick" if given.quick else "default",
        seeds=range(given.seeds),
        jobs=given.jobs,
        output=given.folder.parent,
        callback=lambda now: print(f"\r{now.done} of {now.total} runs, about {now.left / 60.0:.0f} min left ", end=""),
    )
    print(f"\n{report.tables}\n{report}")

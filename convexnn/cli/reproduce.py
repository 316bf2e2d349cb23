"""The command `reproduce`: an experiment of the papers, run, drawn and written up."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from convexnn.checks import require
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.printing import print_json, print_plain
from convexnn.cli.files.writable import writable
from convexnn.studies.harness.study import STUDIES, study_named

if TYPE_CHECKING:
    from convexnn.studies.harness.sweep import Progress as Step


def reproduce(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(STUDIES)}.", metavar="NAME")],
    quick: Annotated[bool, typer.Option("--quick", help="A few cells, within 10 minutes on 2 cores.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The paper's whole grid: hours to days.")] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds, with commas between. (default: 0,1 for --quick, else 0,1,2)")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, a process and a thread each.")] = 1,
    dask: shared.Dask = None,
    output: Annotated[Path, typer.Option(help="Folder that gets a folder of the study's name.")] = Path("results"),
    as_json: shared.JsonInsteadOfTables = False,
) -> None:
    """Run an experiment of the papers beside its baselines: a table, pictures and a page in OUTPUT/NAME.

    Example: convexnn reproduce planted --quick --jobs 2

    A run that the table has is not run again: a killed command goes on where it stopped when it is called anew. Images
    are read from the folder that CONVEXNN_DATA names, or downloaded. Exit code 0: all runs are there; 2: bad input,
    or a worker process was killed; 130: interrupted.
    """
    if quick and full:
        raise ValueError("both --quick and --full are given; expected at most one")
    study, chosen = study_named(name), None if seeds is None else _seeds(seeds)
    writable(output / study.name / "runs.csv")
    require("matplotlib", "matplotlib", "the pictures of a study")
    from convexnn.studies.harness.reproduce import reproduce as run

    size = "quick" if quick else "full" if full else "default"
    with workers(jobs, dask) as n_jobs, _ProgressBar(study.title) as bar:
        report = run(study, size, seeds=chosen, jobs=n_jobs, output=output, callback=bar)  # type: ignore[arg-type]
    if as_json:
        print_json({name: value for name, value in report.to_dict().items() if name != "tables"})
        return
    print_plain(report.tables)
    print_plain(str(report))


def _seeds(text: str) -> list[int]:
    """Return whole numbers of at least 0, each once, written with commas between."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(f"seeds is {text!r}; expected whole numbers of at least 0 with commas between")
    return list(dict.fromkeys(map(int, words)))


class _ProgressBar:
    """A bar on standard error: runs done, and the time left at their rate."""

    def __init__(self, title: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task(title, total=None, left="")

    def __call__(self, step: Step) -> None:
        left = f"{_duration(step.left)} left" if isfinite(step.left) else ""
        self.bar.update(self.task, total=step.total, completed=step.done, left=left)

    def __enter__(self) -> _ProgressBar:
        self.bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.bar.stop()


def _duration(seconds: float) -> str:
    """Return a stretch of time: 12 s, 3 min, 1:05 h."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60.0)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02} h"

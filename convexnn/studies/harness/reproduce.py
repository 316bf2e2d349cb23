"""Run a study and write its folder: the table, the pictures, the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from convexnn.checks import as_callback, as_count, as_known
from convexnn.files import held, replacing
from convexnn.records import RowsRecord
from convexnn.reports import markdown_page
from convexnn.studies.harness.study import SEEDS, Row, Scale, Size, Study, study_named
from convexnn.studies.harness.summary import page
from convexnn.studies.harness.sweep import Progress, sweep
from convexnn.studies.harness.table import RunTable
from convexnn.tables import Table


@dataclass(frozen=True, eq=False, repr=False)
class Report(RowsRecord):
    """What a study left.

    Attributes
    ----------
    folder : Path
        Of the files.
    files : tuple of Path
        ``runs.csv``, ``summary.md``, the same as one page with the pictures inside, ``report.html``, and the pictures.
    rows : list of dict
        The rows of the runs that were asked for.
    tables : str
        The tables of the page, as Markdown.

    Examples
    --------
    >>> from pathlib import Path
    >>> from convexnn.studies.harness.reproduce import Report
    >>> print(Report(Path("results/squares"), (Path("results/squares/runs.csv"),), [{"seed": "2", "square": "4"}], ""))
    1 rows; written: results/squares/runs.csv
    """

    folder: Path
    files: tuple[Path, ...]
    rows: list[Row]
    tables: str

    @property
    def table(self) -> Table:
        """All rows and columns, as text."""
        names = list(dict.fromkeys(name for row in self.rows for name in row)) or ["run"]
        return Table.of(names, [[row.get(name, "") for name in names] for row in self.rows])

    def _rows(self) -> list[dict[str, Any]]:
        return [{name: _number(cell) for name, cell in row.items()} for row in self.rows]

    def __repr__(self) -> str:
        return f"<{self.folder.name}: {len(self.rows)} rows>"

    def __str__(self) -> str:
        return f"{len(self.rows)} rows; written: {', '.join(map(str, self.files))}"


def reproduce(
    name: str | Study,
    size: Size = "default",
    *,
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    output: str | Path = "results",
    callback: Callable[[Progress], None] | None = None,
) -> Report:
    """Run a study of the papers, or go on with it, and write ``output/name/``.

    Parameters
    ----------
    name : str
        Of the study: one of `convexnn.studies.harness.study.STUDIES`; or a :class:`Study` of one's own.
    size : {"quick", "default", "full"}
        A few cells within 10 minutes on 2 cores; what the documents state; the paper's whole grid.
    seeds : sequence of int, optional
        At least 0, each counts once; default 0 and 1 for quick, else 0, 1 and 2.
    jobs : int, optional
        Runs at a time, a process each; default what `joblib.parallel_config` says around this call (so that Dask or
        Ray may spread them), or one.
    output : str or Path, default "results"
        The folder above that of the study. Runs that its table has are not run again.
    callback : callable, optional
        Called with a :class:`Progress` before the first run and after each one.

    Returns
    -------
    Report
        The files and the rows.

    Raises
    ------
    TypeError, ValueError
        The name or the size is not known, another argument is of the wrong type or range, or the table is not one of
        this study.
    OSError
        Data are neither there nor to be had, a worker process was killed, or another process works on the folder.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from convexnn.studies.harness.reproduce import reproduce
    >>> from convexnn.studies.harness.study import Study
    >>> study = Study(
    ...     name="squares",
    ...     title="Squares",
    ...     protocol="Each run squares its seed.",
    ...     keys=("seed",),
    ...     fields=("square",),
    ...     runs=lambda scale: [{"seed": seed} for seed in scale.seeds],
    ...     answer=lambda run: {"square": run["seed"] ** 2},
    ...     figures=lambda rows, folder: [],
    ...     tables=lambda rows: "",
    ... )
    >>> report = reproduce(study, seeds=[2, 3], output=mkdtemp())
    >>> [row["square"] for row in report.rows]
    ['4', '9']
    """
    study = name if isinstance(name, Study) else study_named(name)
    known: Size = as_known(size, "size", SEEDS)  # type: ignore[assignment]
    chosen = SEEDS[known] if seeds is None else _as_seeds(seeds)
    as_callback(callback)
    workers = None if jobs is None else as_count(jobs, "jobs")
    if not isinstance(output, str | os.PathLike):
        raise TypeError(f"output is {output!r}; expected the path of a folder")
    folder = Path(output) / study.name
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        table, runs = RunTable(folder / "runs.csv", study), study.runs(Scale(known, chosen))
        if callback is not None:
            callback(Progress(None, 0, len(table.missing(runs)), 0.0, inf))
        for progress in sweep(study, runs, table, jobs=workers):
            if callback is not None:
                callback(progress)
        command = _command(study, known, None if seeds is None else chosen)
        return _report(study, table.rows(runs), folder, table.path, command)


def _number(cell: str) -> Any:
    """Return a cell as the number that it is, None where it is empty, and text as it is."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(cell)
    return cell or None


def _as_seeds(seeds: Any) -> tuple[int, ...]:
    """Return seeds, each once: rows that are there twice would make the spread too small."""
    try:
        given = list(seeds)
    except TypeError:
        raise TypeError(f"seeds is {seeds!r}; expected a sequence of whole numbers") from None
    if not given:
        raise ValueError("seeds is empty; expected at least one whole number")
    return tuple(dict.fromkeys(as_count(seed, f"seeds[{place}]", at_least=0) for place, seed in enumerate(given)))


def _report(study: Study, rows: list[Row], folder: Path, table: Path, command: str) -> Report:
    pictures = study.figures(rows, folder)
    text, web = folder / "summary.md", folder / "report.html"
    words = page(study, rows, pictures, command)
    _write(text, words)
    _write(web, markdown_page(study.title, words, folder))
    return Report(folder, (table, text, web, *pictures), rows, study.tables(rows))


def _write(path: Path, content: str) -> None:
    with replacing(path, "w", encoding="utf-8") as file:
        file.write(content)


def _command(study: Study, size: Size, seeds: Sequence[int] | None) -> str:
    words = ["convexnn reproduce", study.name]
    words += [] if size == "default" else [f"--{size}"]
    words += [] if seeds is None else [f"--seeds {','.join(map(str, seeds))}"]
    return " ".join(words)

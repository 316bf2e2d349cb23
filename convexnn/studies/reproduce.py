"""Run a study and write its folder: the table, the pictures, the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convexnn.checks import as_count, as_known
from convexnn.studies.study import SEEDS, Row, Scale, Size, Study, study_named
from convexnn.studies.summary import page
from convexnn.studies.sweep import Progress, sweep
from convexnn.studies.table import Table


@dataclass(frozen=True, eq=False)
class Report:
    """What a study left.

    Attributes
    ----------
    folder : Path
        Of the files.
    files : tuple of Path
        ``runs.csv``, ``summary.md`` and the pictures.
    rows : list of dict
        The rows of the runs that were asked for.
    tables : str
        The tables of the page, as Markdown.
    """

    folder: Path
    files: tuple[Path, ...]
    rows: list[Row]
    tables: str

    def __str__(self) -> str:
        return f"{len(self.rows)} rows; written: {', '.join(map(str, self.files))}"


def reproduce(
    name: str | Study,
    size: Size = "default",
    *,
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    output: str | Path = "results",
    told: Callable[[Progress], None] | None = None,
) -> Report:
    """Run a study of the papers, or go on with it, and write ``output/name/``.

    Parameters
    ----------
    name : str
        Of the study: one of `convexnn.studies.study.STUDIES`; or a :class:`Study` of one's own.
    size : {"quick", "default", "full"}
        A few cells within 10 minutes on 2 cores; what the README states; the paper's whole grid.
    seeds : sequence of int, optional
        At least 0; default 0 and 1 for quick, else 0, 1 and 2.
    jobs : int, optional
        Runs at a time, a process each; default what `joblib.parallel_config` says around this call (so that Dask or
        Ray may spread them), or one.
    output : str or Path, default "results"
        The folder above that of the study. Runs that its table has are not run again.
    told : callable, optional
        Called with a :class:`Progress` after each run.

    Returns
    -------
    Report
        The files and the rows.

    Raises
    ------
    ValueError
        The name or the size is not known, or the table is not one of this study.
    """
    study = name if isinstance(name, Study) else study_named(name)
    known: Size = as_known(size, "size", SEEDS)  # type: ignore[assignment]
    chosen = tuple(as_count(seed, "seeds", at_least=0) for seed in (SEEDS[known] if seeds is None else seeds))
    folder = Path(output) / study.name
    folder.mkdir(parents=True, exist_ok=True)
    table, runs = Table(folder / "runs.csv", study), study.runs(Scale(known, chosen))
    for progress in sweep(study, runs, table, jobs=jobs):
        if told is not None:
            told(progress)
    return _report(study, table.rows(runs), folder, table.path, _command(study, known, seeds))


def _report(study: Study, rows: list[Row], folder: Path, table: Path, command: str) -> Report:
    pictures = study.figures(rows, folder)
    text = folder / "summary.md"
    text.write_text(page(study, rows, pictures, command), encoding="utf-8")
    return Report(folder, (table, text, *pictures), rows, study.tables(rows))


def _command(study: Study, size: Size, seeds: Sequence[int] | None) -> str:
    words = ["convexnn reproduce", study.name]
    words += [] if size == "default" else [f"--{size}"]
    words += [] if seeds is None else [f"--seeds {','.join(map(str, seeds))}"]
    return " ".join(words)

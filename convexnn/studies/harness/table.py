"""The runs of a study as a CSV file: rows are appended as runs end, so that a killed sweep goes on from it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from convexnn.files import append
from convexnn.studies.harness.study import Row, Run, Study

# Columns that the sweep adds to those of a study.
MEASURED = ("seconds", "peak_mb", "versions")

# The column that says which run a row is of: some runs give several rows.
RUN_ID = "run"


def run_id(run: Run) -> str:
    """Return what tells a run from all others: eight hexadecimal digits of its hash."""
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]


def select(rows: Iterable[Row], **where: Any) -> list[Row]:
    """Return the rows with these values, compared as text."""
    return [row for row in rows if all(row[name] == str(value) for name, value in where.items())]


def numbers(rows: Iterable[Row], name: str) -> list[float]:
    """Return a column as numbers; empty cells are left out."""
    return [float(row[name]) for row in rows if row[name]]


def distinct(rows: Iterable[Row], name: str) -> list[str]:
    """Return the values of a column in the order of their first appearance."""
    return list(dict.fromkeys(row[name] for row in rows))


def rows_by(rows: Iterable[Row], names: Sequence[str], column: str) -> dict[tuple[str, ...], dict[str, Row]]:
    """Return for all values of some columns, as they first appear, their rows by the value of another column."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), {})[row[column]] = row
    return found


def _cell(value: Any) -> str:
    """Return a value as it stands in a cell: no line breaks, so that a line is a row; nothing for None."""
    return " ".join(value.split()) if isinstance(value, str) else "" if value is None else str(value)


class RunTable:
    """The CSV file of a study: one row a run, or several of a run that answers several questions at once.

    The row that has the keys of its run is written last: a run counts as done once it is there. A last line that was
    torn by a kill does not count, and is cut off before the next row is written. Where a run is there twice, its later
    rows count.

    Parameters
    ----------
    path : Path
        Of the file, which need not exist.
    study : Study
        Whose keys and fields are the columns.

    Raises
    ------
    ValueError
        The file has other columns.
    """

    def __init__(self, path: Path, study: Study) -> None:
        self.path = path
        self.keys = study.keys
        self.columns = (*study.keys, *study.fields, *MEASURED, RUN_ID)
        if not self._is_ours():
            raise ValueError(f"{path} has other columns than {', '.join(self.columns)}; move it away to begin anew")

    def rows(self, runs: Sequence[Run]) -> list[Row]:
        """Return the rows of the runs that are done, in the order of the runs."""
        found: dict[str, dict[tuple[str, ...], Row]] = {}
        for row in self._read():
            found.setdefault(row[RUN_ID], {})[self._key(row)] = row
        done = [found[run_id(run)] for run in runs if self._key(run) in found.get(run_id(run), {})]
        return [row for group in done for row in group.values()]

    def missing(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs, each once, that have no rows yet."""
        done = {(row[RUN_ID], self._key(row)) for row in self._read()}
        once = {run_id(run): run for run in runs}
        return [run for key, run in once.items() if (key, self._key(run)) not in done]

    def append(self, run: Run, answers: Iterable[dict[str, Any]]) -> None:
        """Write the rows of a run, in one piece, down to the disk."""
        given = [{**run, **answer, RUN_ID: run_id(run)} for answer in answers]
        rows = [{name: _cell(value) for name, value in row.items()} for row in given]
        for row in rows:
            unknown = sorted(set(row) - set(self.columns))
            if unknown:
                raise ValueError(f"the answer to {run} has a column {unknown[0]!r}; expected {', '.join(self.columns)}")
        rows.sort(key=lambda row: self._key(row) == self._key(run))
        if not rows or self._key(rows[-1]) != self._key(run):
            raise ValueError(f"the answer to {run} has no row of the run itself")
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        if not self._cut_torn_line():
            writer.writeheader()
        writer.writerows(rows)
        with open(self.path, "ab", buffering=0) as file:
            append(file, text.getvalue())

    def _is_ours(self) -> bool:
        """Whether the file begins with the header, or is not there yet, or ends within the header, torn by a kill."""
        if not self.path.exists():
            return True
        begin = self._text().partition("\n")
        header = ",".join(self.columns)
        return begin[0] == header if begin[1] else header.startswith(begin[0])

    def _key(self, row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(_cell(row[name]) for name in self.keys)

    def _read(self) -> list[Row]:
        lines = list(csv.reader(self._whole_lines()[1:]))
        return [dict(zip(self.columns, cells, strict=True)) for cells in lines if len(cells) == len(self.columns)]

    def _whole_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        return self._text().split("\n")[:-1]

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def _cut_torn_line(self) -> bool:
        """Cut off a torn last line; return whether there is a line."""
        if not self.path.exists():
            return False
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        return whole > 0

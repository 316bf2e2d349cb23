"""Parquet files as rows of text, by pandas and pyarrow where they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convexnn.checks import require
from convexnn.cli.tables.cells import pointed
from convexnn.cli.tables.rows import Row


def parquet_rows(path: Path, decimal: str = ".") -> tuple[list[str], list[Row]]:
    """Return the names of a file's columns and its rows, counted from 1; a missing cell is empty.

    With the `decimal` "," numbers in columns of text are rewritten with a point.
    """
    purpose = f"reading the Parquet file {path}"
    pandas = require("pandas", "pandas", purpose)
    require("pyarrow", "pyarrow", purpose)
    try:
        frame = pandas.read_parquet(path, engine="pyarrow").reset_index(drop=True)
        columns = [_cells(frame.iloc[:, i], decimal) for i in range(frame.shape[1])]
    except Exception as error:
        # A damaged file fails in many ways; all of them mean the same.
        raise ValueError(f"data file {path} cannot be read as Parquet ({error})") from None
    if not columns or not columns[0]:
        raise ValueError(f"data file {path} is empty; expected rows of numbers")
    return [str(name) for name in frame.columns], list(enumerate(map(list, zip(*columns, strict=True)), 1))


def _cells(column: Any, decimal: str) -> list[str]:
    """Return a column as text from which the same numbers are read."""
    missing = column.isna()
    if column.dtype.kind == "f":
        # Of 32 bits too: as text of its own width, another number would be read.
        column = column.astype("float64")
    values = ["" if gone else value for gone, value in zip(missing, column.tolist(), strict=True)]
    if decimal == ",":
        values = [pointed(value.strip()) if isinstance(value, str) else value for value in values]
    return [str(value).strip() for value in values]

"""Parquet files as rows of text, by pandas and pyarrow where they are installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from convexnn.checks import require
from convexnn.cli.tables.cells import pointed
from convexnn.cli.tables.rows import Row

# What Python's objects are that are neither numbers nor text.
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((timedelta,), "times"),
    ((list, tuple, np.ndarray), "lists"),
    ((dict,), "records"),
    ((bytes, bytearray), "bytes"),
)


@dataclass(frozen=True, eq=False)
class ParquetTable:
    """The rows of a file as text, which of its columns are neither numbers nor text, and the names of its index."""

    names: tuple[str, ...]
    rows: list[Row]
    strange: dict[int, str]
    index: tuple[str, ...]


def parquet_table(path: Path, decimal: str = ".") -> ParquetTable:
    """Return the columns of a file as rows of text, counted from 1; a missing cell is empty.

    With the `decimal` "," numbers in columns of text are rewritten with a point.
    """
    purpose = f"reading the Parquet file {path}"
    pandas = require("pandas", "pandas", purpose)
    require("pyarrow", "pyarrow", purpose)
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
        strange = {i: kind for i in range(frame.shape[1]) if (kind := _strange(frame.iloc[:, i])) is not None}
        columns = [_cells(frame.iloc[:, i], decimal) for i in range(frame.shape[1])]
    except Exception as error:
        # A damaged file fails in many ways; all of them mean the same.
        raise ValueError(f"data file {path} cannot be read as Parquet ({error})") from None
    if not columns or not columns[0]:
        raise ValueError(f"data file {path} is empty; expected rows of numbers")
    rows = list(enumerate(map(list, zip(*columns, strict=True)), 1))
    index = tuple(str(name) for name in frame.index.names if name is not None)
    return ParquetTable(tuple(map(str, frame.columns)), rows, strange, index)


def _strange(column: Any) -> str | None:
    """Return what is in a column that is neither of numbers nor of text, by the first of its objects; else None."""
    if column.dtype.kind not in "mO":
        return None
    first = next((value for value, gone in zip(column, column.isna(), strict=True) if not gone), None)
    return next((kind for types, kind in _KINDS if isinstance(first, types)), None)


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

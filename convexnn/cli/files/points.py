"""Points of a command: rows of a file, and which of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from convexnn.checks import Floats, as_file, as_matrix


def read_points(path: Path, name: str = "points") -> Floats:
    """Return the rows of an .npy file, or of a text file with commas or blanks between the numbers."""
    as_file(path, f"{name} file")
    try:
        table = _read_array(path) if path.suffix == ".npy" else _read_text(path)
        return as_matrix(np.atleast_2d(table), name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} file {path} cannot be read as rows of numbers ({error})") from None


def read_point(path: Path, row: int) -> Floats:
    """Return one row of a file of points."""
    table = read_points(path)
    if row >= len(table):
        raise ValueError(f"row is {row}; the points file {path} has {len(table)} rows, counted from 0")
    return np.asarray(table[row])


def read_labels(path: Path, count: int) -> list[int]:
    """Return the labels of a file, one for each of `count` points."""
    values = read_points(path, "labels").ravel()
    if len(values) != count:
        raise ValueError(f"labels file {path} has {len(values)} entries; expected {count}, one for each point")
    if (values != np.round(values)).any():
        raise ValueError(f"labels file {path} holds {values[values != np.round(values)][0]:g}; expected whole numbers")
    return [int(value) for value in values]


def parse_rows(text: str, count: int) -> list[int]:
    """Return the rows that a text names: "all", a slice such as 0:100, or numbers with commas between."""
    try:
        if text.strip() == "all":
            return list(range(count))
        if ":" in text:
            ends = [int(part) if part.strip() else None for part in text.split(":")]
            rows = list(range(count)[slice(*ends)])
        else:
            rows = [int(part) for part in text.split(",")]
    except (ValueError, TypeError):
        raise ValueError(f"rows is {text!r}; expected all, a slice such as 0:100, or numbers such as 0,3,5") from None
    bad = next((row for row in rows if not 0 <= row < count), None)
    if bad is not None or not rows:
        what = "no row" if bad is None else str(bad)
        raise ValueError(f"rows {text!r} names {what}; the points file has {count} rows, counted from 0")
    return rows


def _read_array(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file; nothing is held before the file is known to have what its header says."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
            raise ValueError("it is no .npy file")
    try:
        with np.errstate(all="ignore"):
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:
        # A damaged header fails in many ways (tokens, overflows, lengths); all of them mean the same.
        raise ValueError(f"its header does not describe numbers that the file holds: {error}") from None


def _read_text(path: Path) -> Floats:
    """Return the numbers of a text file; an empty cell is an error, never passed over."""
    text = path.read_text(encoding="utf-8-sig")
    lines = [line for line in text.split("\n") if line.partition("#")[0].strip()]
    if not lines:
        raise ValueError("it is empty")
    return np.loadtxt(lines, delimiter="," if any("," in line for line in lines) else None, ndmin=2)


def parse_numbers(text: str, name: str) -> list[float]:
    """Return the numbers of an option's text, with commas between."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} is {text!r}; expected numbers with commas between") from None

"""A Parquet table whose rows are not held: a part of them on the disk, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from convexnn.checks import Floats
from convexnn.datasets.on_disk import rows_on_disk, table_columns


@dataclass(frozen=True, eq=False)
class DiskTable:
    """Features (n, d), as a memory map, and a target (n,) of some of the rows of a table; their names."""

    X: Floats
    y: Floats
    features: tuple[str, ...]
    target: str


@contextmanager
def disk_table(
    path: Path, target: str | None, drop: Iterable[str], folder: Path, part: tuple[int, int] = (0, 1)
) -> Iterator[DiskTable]:
    """Give a table that a folder inside of `folder` holds until the block ends.

    Parameters
    ----------
    path : Path
        A Parquet file; its columns are numbers, and none is missing.
    target : str, optional
        Name of the target's column; default the last of those that are not left out.
    drop : iterable of str
        Names of columns to leave out.
    folder : Path
        Where there is room for 8 bytes a number.
    part : tuple of int, default (0, 1)
        Which of how many equal parts of the rows is meant.

    Raises
    ------
    ValueError
        The file is not such a table, or has no such column, or too few rows.
    OSError
        The folder is none, or cannot be written to.
    """
    names, n_rows = table_columns(path)
    left_out = list(drop)
    for name in [*left_out, *([] if target is None else [target])]:
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}; expected some of: {', '.join(names)}")
    kept = [name for name in names if name not in left_out]
    chosen = target or (kept[-1] if kept else "")
    features = [name for name in kept if name != chosen]
    if not features or chosen not in kept or n_rows < 2 * part[1]:
        raise ValueError(
            f"{path} has {n_rows:,} rows and {len(kept)} columns that are not left out; expected a target, a feature "
            f"and {2 * part[1]} rows or more"
        )
    first, last = (n_rows * place // part[1] for place in (part[0], part[0] + 1))
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; expected one with room for 8 bytes a number")
    with TemporaryDirectory(dir=folder, prefix="convexnn-") as place:
        X = rows_on_disk(path, f"{place}/X.npy", features, first=first, last=last)
        y = rows_on_disk(path, f"{place}/y.npy", [chosen], first=first, last=last)
        yield DiskTable(X, y[:, 0].copy(), tuple(features), chosen)

"""Rows that are larger than the memory: brought to a file of float64, block by block, and read from there as a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_file, as_path, require
from convexnn.files import replacing
from convexnn.tiles import row_tiles

# Numbers of a block: 8 MiB of float64.
BLOCK = 1 << 20


def rows_on_disk(
    source: str | Path | ArrayLike,
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    first: int = 0,
    last: int | None = None,
) -> Floats:
    """Write rows to an ``.npy`` file of float64, block by block, and return them as a read-only memory map.

    Of the rows no more than a block of 8 MiB is held, and of a Parquet file what pyarrow needs for one, some 100 MB.
    Such a map :func:`convexnn.recover` reads in blocks, too, where an array, a map of float32, or one that can be
    written to, would be copied to memory as a whole.

    Parameters
    ----------
    source : str, Path or array_like
        A Parquet file (which takes the package pyarrow), an ``.npy`` file, or an array (n, d), such as a memory map, of
        real numbers of any type.
    path : str or Path
        The file that is written, 8 bytes a number; one that is there is replaced once the new one is whole.
    columns : sequence of str, optional
        Of a Parquet file those that are read, in this order; default all.
    first, last : int, optional
        The first row that is read, from 0, and the one after the last; default all rows.

    Returns
    -------
    numpy.ndarray (last - first, d)
        A memory map, not to be written to.

    Raises
    ------
    TypeError, ValueError
        The source is no table of numbers, a column is not there, or a cell is missing; the message names it.
    OSError
        A file cannot be read or written.
    ImportError
        pyarrow is missing.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from convexnn.datasets import rows_on_disk
    >>> X = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> rows = rows_on_disk(X, tempfile.mkdtemp() + "/X.npy")
    >>> rows.dtype.name, rows.flags.writeable, rows.tolist()
    ('float64', False, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    """
    target, table = as_path(path, "path"), _opened(source, columns)
    end = table.n_rows if last is None else as_count(last, "last", at_least=0)
    if not as_count(first, "first", at_least=0) < end <= table.n_rows:
        raise ValueError(f"rows {first} to {end} are asked for, of {table.n_rows:,}; expected at least one of these")
    with replacing(target) as file:
        shape = {"descr": "<f8", "fortran_order": False, "shape": (end - first, table.n_columns)}
        np.lib.format.write_array_header_1_0(file, shape)
        for block in table.blocks(first, end):
            file.write(np.ascontiguousarray(block, dtype="<f8").data)
    rows: Floats = np.load(target, mmap_mode="r")
    return rows


def table_columns(path: str | Path) -> tuple[list[str], int]:
    """Return the names of a Parquet file's columns and the number of its rows, without reading these."""
    table = _ParquetTable(path, None)
    return table.names, table.n_rows


def _opened(source: str | Path | ArrayLike, columns: Sequence[str] | None) -> _ParquetTable | _ArrayTable:
    if isinstance(source, str | Path) and not str(source).endswith(".npy"):
        return _ParquetTable(source, columns)
    if columns is not None:
        raise ValueError("columns are those of a Parquet file; expected none of them beside an array")
    if not isinstance(source, str | Path):
        return _ArrayTable(_as_array(source))
    place = as_file(source, "source")
    try:
        return _ArrayTable(np.lib.format.open_memmap(place, mode="r"))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{source} cannot be read as rows of numbers ({error})") from None


def _as_array(source: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(source)
    except ValueError as error:
        raise ValueError(f"source cannot be read as rows of numbers ({error})") from None


class _ArrayTable:
    """Rows of an array."""

    def __init__(self, values: NDArray[Any]) -> None:
        if values.ndim != 2 or values.dtype.kind not in "biuf":
            raise ValueError(
                f"source has shape {values.shape} and dtype {values.dtype}; expected rows (n, d) of real numbers"
            )
        self.values, (self.n_rows, self.n_columns) = values, values.shape

    def blocks(self, first: int, last: int) -> Iterator[NDArray[Any]]:
        """Yield the rows from `first` on, before `last`, in blocks."""
        for part in row_tiles(last - first, self.n_columns, BLOCK):
            yield self.values[first + part.start : first + part.stop]


class _ParquetTable:
    """Rows of a Parquet file, all of numbers."""

    def __init__(self, path: str | Path, columns: Sequence[str] | None) -> None:
        parquet = require("pyarrow.parquet", "pyarrow", f"reading the Parquet file {path}")
        place = as_file(path, "source")
        try:
            self.file = parquet.ParquetFile(place, pre_buffer=False, buffer_size=1 << 16)
        except Exception as error:
            # A damaged file fails in many ways; all of them mean the same.
            raise ValueError(f"{path} cannot be read as Parquet ({error})") from None
        self.path, known = path, list(self.file.schema_arrow.names)
        if isinstance(columns, str):
            raise TypeError(f"columns is {columns!r}; expected a sequence of names, such as [{columns!r}]")
        self.names = known if columns is None else list(columns)
        self.n_rows, self.n_columns = int(self.file.metadata.num_rows), len(self.names)
        if unknown := [name for name in self.names if known.count(name) != 1]:
            raise ValueError(f"{path} has no column {unknown[0]!r}, or two; expected some of: {', '.join(known)}")

    def blocks(self, first: int, last: int) -> Iterator[Floats]:
        """Yield the rows from `first` on, before `last`, in blocks; row groups before and after are not read."""
        begins = np.cumsum([0, *(self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups))])
        groups = [i for i, begin in enumerate(begins[:-1]) if begin < last and begins[i + 1] > first]
        row, size = int(begins[groups[0]]), max(1, BLOCK // max(1, self.n_columns))
        for batch in self.file.iter_batches(batch_size=size, row_groups=groups, columns=self.names, use_threads=False):
            part = slice(max(0, first - row), max(0, last - row))
            block = np.empty((len(batch), self.n_columns))
            for place, name in enumerate(self.names):
                block[:, place] = self._numbers(batch.column(name), name, row)
            row += len(batch)
            yield block[part]

    def _numbers(self, column: Any, name: str, row: int) -> NDArray[Any]:
        """Return a column of a block that begins at a row."""
        if column.null_count:
            missing = row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(f"{self.path} has a missing cell in row {missing}, column {name!r}; expected a number")
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{self.path} has cells of type {column.type} in column {name!r}; expected numbers")
        return np.asarray(values)

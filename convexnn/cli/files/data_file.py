"""Data files: a table under a header, or without one, as features and a target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats, as_known
from convexnn.cli.tables.cells import finite, one_spelling
from convexnn.cli.tables.columns import MOST_VALUES, column_kind, refuse_strange, refused_dates, unit_remark
from convexnn.cli.tables.encoding import UNKNOWN, Encoding
from convexnn.cli.tables.missing import WAYS, present_cells, refuse_empty_columns, refuse_missing, rows_kept
from convexnn.cli.tables.numbers import read_numbers
from convexnn.cli.tables.raw_table import RawTable, read_table, shown
from convexnn.tables import counting


@dataclass(frozen=True, eq=False)
class DataFile:
    """A table of rows with a target.

    Attributes
    ----------
    X : ndarray (n, d)
        The features.
    y : ndarray (n,)
        The target: numbers, or labels as text.
    features : tuple of str
        Names of the columns of X; of a column of text, one ``column=value`` for each of its values.
    target : str
        Name of the target's column.
    encoding : Encoding
        How columns became features.
    remarks : tuple of str
        What was done to the table beyond reading it.
    """

    X: Floats
    y: NDArray[Any]
    features: tuple[str, ...]
    target: str
    encoding: Encoding
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table as a model takes them.

    Attributes
    ----------
    X : ndarray (number of rows kept, d)
        The features.
    kept : ndarray (n,) of bool
        Which rows of the table are in X.
    truth : ndarray (number of rows kept,), optional
        The target that was asked for, and
    known : ndarray (number of rows kept,) of bool
        where it has a value.
    remarks : tuple of str
        What was done to the table beyond reading it.
    """

    X: Floats
    kept: Bools
    truth: NDArray[Any] | None
    known: Bools
    remarks: tuple[str, ...] = ()


def read_data(
    path: Path,
    target: str | None = None,
    drop: Iterable[str] = (),
    *,
    missing: str = "fail",
    separator: str | None = None,
    comment: str | None = None,
    decimal: str = ".",
    text: Iterable[str] = (),
    labels: bool = False,
    labels_by: str = "",
) -> DataFile:
    """Return the table of a file: text with commas, semicolons, tabs, bars or blanks between the cells, or Parquet.

    Parameters
    ----------
    path : Path
        The file; text in UTF-8, packed by gzip or not, with or without a header. Blank lines are skipped. A first row
        of numbers is data, but for one that counts three columns or more (0, 1, 2, ...); a remark says so.
    target : str, optional
        The target's column: its name in the header, or its index from 0, or from -1 backwards. Default: the last of
        those that are not left out.
    drop : iterable of str, optional
        Columns to leave out, named as the target; what they hold does not matter.
    missing : {"fail", "drop", "median"}, default "fail"
        Missing cells are an error; or their rows are left out; or features take the median of their column, or its
        most frequent text, and rows without a target are left out.
    separator : str, optional
        What stands between two cells. Default: what a first line ``sep=;`` names, or what the first row has most of
        and the second has too.
    comment : str, optional
        Lines that begin with it are skipped; with "" none is. Default: a row that begins with # is an error.
    decimal : {".", ","}, default "."
        What stands before the decimals. With a comma 1.234,5 is 1234.5: points, blanks and apostrophes stand between
        thousands, and a number such as 1.5 is an error.
    text : iterable of str, optional
        Columns whose numbers are labels, such as postal codes.
    labels : bool, default False
        Whether numbers of the target may be labels, so that text may stand among them.
    labels_by : str
        The option that asks for labels, for errors.

    Raises
    ------
    ValueError
        The file is not such a table, or has no such column, or two of that name; or a cell is not what its column is.
        Lines are counted from 1, as editors do, and columns named by the header, else by their index from 0.

    Notes
    -----
    A column is of numbers where half of its cells or more are; then all must be. Signs of a currency or of percent, and
    commas between thousands, are taken off. Columns of True and False, or yes and no, become 1 and 0; other text
    becomes a feature for each value, dates are refused. A target of text is one of labels, at most 50 unless `labels`;
    where all are yes or no, the most frequent spelling of each stands for the others.
    """
    as_known(missing, "missing", WAYS)
    table = read_table(path, separator, comment, decimal)
    names = table.names
    texts = {table.position(name, "text") for name in text}
    dropped = {table.position(name, "drop") for name in drop}
    kept = [i for i in range(len(names)) if i not in dropped]
    if len(table.rows) < 2 or len(kept) < 2:
        size = f"{counting(len(table.rows), 'row')} of {counting(len(kept), 'column')}"
        raise ValueError(f"data file {path} has {size}; expected at least 2 of each")
    _refuse_unnamed(table, kept)
    chosen = kept[-1] if target is None else table.position(target, "target")
    if chosen in dropped:
        raise ValueError(f"target is {target!r}, which drop leaves out; expected one of the columns that stay")
    if chosen in texts:
        hint = f" (a target of labels: {labels_by})" if labels_by else ""
        raise ValueError(f"text names the target {names[chosen]!r}; expected a feature{hint}")
    features = [i for i in kept if i != chosen]
    # The target stands last, whatever its place in the file.
    told = table.remarks
    table, present, remarks = _without_missing(table, [*features, chosen], missing)
    encoding, said = Encoding.learn(table, features, present[:, :-1], missing, texts)
    X = encoding.encode(table, features, present[:, :-1])
    y, spelt = _in_one_spelling(_target(table, chosen, present[:, -1], labels, labels_by), names[chosen])
    return DataFile(X, y, encoding.features, names[chosen], encoding, (*told, *remarks, *said, *spelt))


def read_rows(
    path: Path,
    encoding: Encoding,
    target: str | None = None,
    *,
    missing: str | None = None,
    unknown: str = "fail",
    separator: str | None = None,
    comment: str | None = None,
    decimal: str = ".",
    truth_as: str = "numbers",
) -> Rows:
    """Return the rows of a file as a model with that `encoding` takes them.

    Columns are found by their names; others do not matter. `missing` is by default what the encoding was learnt with;
    "drop" leaves rows out of X, and a target that is missing is then, or with "median", not known. A value of a text
    column that the encoding does not have is an error, or with `unknown` "zero" zeros. The target is read
    as "numbers", as "labels", which may be numbers, or as "text" as it stands. Else as :func:`read_data`.
    """
    missing = as_known(missing or encoding.missing, "missing", WAYS)
    as_known(unknown, "unknown", UNKNOWN)
    table = read_table(path, separator, comment, decimal)
    positions = _found(table, encoding)
    told = [*table.renamed_remarks([column.name for column in encoding.columns]), *table.header_remarks]
    if not table.rows:
        raise ValueError(f"data file {path} has no rows under its header; expected at least 1")
    chosen = None if target is None else table.position(target, "target")
    present = present_cells(table, positions)
    if missing == "fail":
        refuse_missing(table, positions, present)
    if missing == "median" and not present.all() and not encoding.fills:
        raise ValueError("missing is 'median', and the model keeps no medians; expected fail or drop, or fit it anew")
    kept, said = rows_kept(table, present, missing, None)
    if not kept.any():
        raise ValueError(f"data file {path} has a missing cell in every row; expected a row without (--missing median)")
    table, present = table.where(kept), present[kept]
    truth, known = None, np.ones(len(table.rows), dtype=np.bool_)
    if chosen is not None:
        known = present_cells(table, [chosen])[:, 0]
        if missing == "fail":
            refuse_missing(table, [chosen], known[:, None])
        refuse_empty_columns(table, [chosen], known[:, None])
        truth = _truth(table, chosen, known, truth_as)
    return Rows(
        encoding.encode(table, positions, present, unknown), kept, truth, known, (*told, *([said] if said else []))
    )


def _truth(table: RawTable, position: int, known: Bools, truth_as: str) -> NDArray[Any]:
    if truth_as == "text":
        return np.array(table.column(position))
    return _target(table, position, known, labels=truth_as == "labels")


def _found(table: RawTable, encoding: Encoding) -> list[int]:
    """Return where the columns of an encoding are; the error names those that the table lacks."""
    missing = [column.name for column in encoding.columns if column.name not in table.names]
    if missing:
        kind = "" if table.header or not table.mark else ", and no header"
        raise ValueError(
            f"data file {table.path} has no column {shown([repr(name) for name in missing])}{kind}; expected the "
            "features of the model"
        )
    return [table.names.index(column.name) for column in encoding.columns]


def _refuse_unnamed(table: RawTable, kept: list[int]) -> None:
    """Refuse a column that the header has no name for: often an index, which would be a feature unasked."""
    for i in kept:
        if table.header and not table.header[i]:
            hint = "written with its index? leave" if i == 0 else "leave"
            raise ValueError(
                f"data file {table.path} has an empty cell in line {table.header_line}, column {table.names[i]!r}; "
                f"expected a name ({hint} that out: --drop {table.names[i]})"
            )


def _without_missing(table: RawTable, positions: list[int], missing: str) -> tuple[RawTable, Bools, list[str]]:
    """Return the table of the rows that stay, which of its cells have values, and remarks; the target stands last."""
    present = present_cells(table, positions)
    refuse_empty_columns(table, positions, present)
    if missing == "fail":
        refuse_missing(table, positions, present)
    kept, said = rows_kept(table, present, missing, len(positions) - 1)
    if kept.sum() < 2:
        raise ValueError(
            f"data file {table.path} has {counting(int(kept.sum()), 'row')} without missing cells, of "
            f"{len(kept):,}; expected at least 2 (--missing median, or --drop a column with many)"
        )
    filled = int((~present[kept]).sum())
    remarks = [said] if said else []
    if filled:
        remarks.append(f"{counting(filled, 'missing cell')} filled by medians, text by the most frequent")
    return table.where(kept), present[kept], remarks


def _target(table: RawTable, position: int, present: Bools, labels: bool, labels_by: str = "") -> NDArray[Any]:
    """Return a target: numbers where most cells are, and then all must be; else labels."""
    cells = table.column(position)
    held = [cell for cell, there in zip(cells, present, strict=True) if there]
    kind = column_kind(held)
    refuse_strange(table, position, present)
    if labels and any(finite(cell) is None for cell in held):
        return np.array(cells)
    if kind == "date":
        raise refused_dates(table, position, present)
    if kind == "number":
        hint = f" (text? correct the cell, or if these are labels: {labels_by})" if labels_by else ""
        return read_numbers(table, position, present, even=True, hint=hint).values
    if not labels and (count := len(set(held))) > MOST_VALUES:
        hint = f" ({labels_by}, if these are labels)" if labels_by else ""
        words = f", and {count - 1:,} other labels; expected at most {MOST_VALUES} labels, or numbers{hint}"
        raise table.refusal(int(np.argmax(present)), position, words)
    return np.array(cells)


def _in_one_spelling(y: NDArray[Any], name: str) -> tuple[NDArray[Any], list[str]]:
    """Return a target whose labels yes and no have one spelling each, and a remark where they had more."""
    spelling = one_spelling(y.tolist()) if y.dtype.kind == "U" else {}
    if not spelling:
        unit = unit_remark(y.tolist()) if y.dtype.kind == "U" else ""
        return y, [f"target {name!r} is of labels{unit}"] if unit else []
    stand = sorted(set(spelling.values()))
    said = f"target {name!r} is yes or no in {len(spelling)} spellings, read as {' and '.join(map(repr, stand))}"
    return np.array([spelling[cell] for cell in y.tolist()]), [said]

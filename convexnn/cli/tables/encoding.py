"""The columns of a table together: how they become features, as text that a model keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.cli.tables.columns import CategoryColumn, Column, FlagColumn, NumberColumn, learn_column
from convexnn.cli.tables.missing import WAYS, refuse_empty_columns
from convexnn.cli.tables.raw_table import RawTable

# What may be done about a value of a text column that no row had before.
UNKNOWN = ("fail", "zero")

FORMAT = "convexnn-columns-1"

_KINDS: dict[str, Any] = {kind.kind: kind for kind in (NumberColumn, FlagColumn, CategoryColumn)}


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become features.

    Attributes
    ----------
    columns : tuple of Column
        The columns in the order of their features.
    missing : str
        What was done about missing cells: fail, drop or median.
    """

    columns: tuple[Column, ...]
    missing: str = "fail"

    @classmethod
    def learn(
        cls, table: RawTable, positions: Sequence[int], present: Bools, missing: str, text: Collection[int] = ()
    ) -> tuple[Encoding, tuple[str, ...]]:
        """Return the encoding of some columns of a table, and remarks; `present` says where they have values.

        Columns at the positions `text` are labels whatever they hold.
        """
        refuse_empty_columns(table, positions, present)
        columns = zip(positions, present.T, strict=True)
        learnt = [learn_column(table, position, there, position in text) for position, there in columns]
        _refuse_names_twice(table, [column for column, _ in learnt])
        return cls(tuple(column for column, _ in learnt), missing), tuple(said for _, said in learnt if said)

    @classmethod
    def of_numbers(cls, names: Sequence[str]) -> Encoding:
        """Return the encoding of columns of plain numbers."""
        return cls(tuple(map(NumberColumn, names)))

    @classmethod
    def from_record(cls, record: Any, n_features: int) -> Encoding:
        """Return the encoding of a model with so many features from what it keeps; ValueError if it is none."""
        if not isinstance(record, dict) or record.get("format") != FORMAT or record.get("missing") not in WAYS:
            raise ValueError("its columns are not those of this version")
        listed = record.get("columns")
        if not isinstance(listed, list):
            raise ValueError("its columns are no list")
        encoding = cls(tuple(map(_column, listed)), str(record["missing"]))
        if len(encoding.features) != n_features:
            raise ValueError(f"its columns make {len(encoding.features)} features; expected {n_features}")
        return encoding

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def fills(self) -> bool:
        """Whether every column has a value for missing cells."""
        return all(column.fill is not None for column in self.columns)

    def to_record(self) -> dict[str, Any]:
        """Return the encoding as JSON takes it."""
        columns = [{"kind": column.kind, **asdict(column)} for column in self.columns]
        return {"format": FORMAT, "missing": self.missing, "columns": columns}

    def encode(self, table: RawTable, positions: Sequence[int], present: Bools, unknown: str = "fail") -> Floats:
        """Return the features of a table's rows, (n, number of features)."""
        blocks = zip(self.columns, positions, present.T, strict=True)
        return np.hstack([column.encode(table, position, there, unknown) for column, position, there in blocks])


def _refuse_names_twice(table: RawTable, columns: Sequence[Column]) -> None:
    """Refuse a value of a text column whose feature has the name of another column's, such as ``site=north``."""
    owners = dict[str, str]()
    for column in columns:
        for name in column.features:
            if owners.setdefault(name, column.name) != column.name:
                raise ValueError(
                    f"data file {table.path} has columns {owners[name]!r} and {column.name!r}, which both make a "
                    f"feature {name!r}; expected different names (leave one out: --drop {column.name!r})"
                )


def _column(record: Any) -> Column:
    """Return a column of its record; no field is taken on trust."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str) or record["kind"] not in _KINDS:
        raise ValueError("one of its columns is of no known kind")
    fields = {name: value for name, value in record.items() if name != "kind"}
    if not all(_IS_FIELD.get(name, _is_nothing)(value) for name, value in fields.items()):
        raise ValueError("one of its columns has a field of the wrong kind")
    kind = _KINDS[record["kind"]]
    fill = fields.get("fill")
    if fill is not None and isinstance(fill, str) != (kind is CategoryColumn):
        raise ValueError("one of its columns has a fill of the wrong kind")
    if "values" in fields:
        fields["values"] = tuple(fields["values"])
    try:
        column: Column = kind(**fields)
    except TypeError:
        raise ValueError("one of its columns lacks a field, or has one too many") from None
    return column


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_fill(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, float) and isfinite(value))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_nothing(value: Any) -> bool:
    return False


# By the name of a field, whether a value may be it.
_IS_FIELD: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "sign": _is_text,
    "fill": _is_fill,
    "values": _is_texts,
}

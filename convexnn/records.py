"""Records: results as others take them, as plain values for JSON, as rows for pandas, as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from html import escape
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from convexnn.checks import require

# Lengths that a notebook shows: rows of a table, lines of a text.
MOST_ROWS = 60

# Colours are the page's own, so that light and dark pages are read alike; nothing is loaded from anywhere.
_BOX = "border:1px solid;border-radius:4px;padding:.4em .8em;margin:.3em 0;max-width:100%;overflow-x:auto"
_TABLE = "border-collapse:collapse;color:inherit;font-size:inherit;margin:.4em 0"
_TEXT = "margin:.4em 0;background:none;color:inherit;white-space:pre-wrap"
_CELL = "padding:.1em .6em;border:none;white-space:nowrap;text-align:"


class Record:
    """A result that has a form for JSON and one for notebooks.

    A subclass names the fields that have no place in a record, such as a whole program (`_left_out`), and the
    properties that have one (`_told`).

    Examples
    --------
    >>> import json
    >>> import convexnn as cx
    >>> json.dumps(cx.explain(cx.SparseReLUNetwork([([[1.0, -1.0]], None), ([[2.0]], None)])).to_dict()["outputs"])
    '["y = 2 h0"]'
    """

    _left_out: ClassVar[tuple[str, ...]] = ()
    _told: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as numbers, words, lists and dictionaries that JSON has.

        Arrays are lists, members of enumerations are names, and what is not finite is None.
        """
        names = [item.name for item in fields(self) if item.name not in self._left_out]  # type: ignore[arg-type]
        return {name: plain(getattr(self, name)) for name in (*names, *self._told)}

    def _repr_html_(self) -> str:
        first, _, rest = str(self).partition("\n")
        return html_box(f"{type(self).__name__}: {first}", html_text(rest))


class RowsRecord(Record):
    """A :class:`Record` whose content is a table: a subclass returns its rows from `_rows`, and text from `table`.

    Examples
    --------
    >>> import convexnn as cx
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0]], None), ([[2.0]], None)])
    >>> cx.explain(network).to_frame()["formula"].tolist()
    ['x0 - x1']
    """

    @property
    def table(self) -> Any:
        """The rows as a :class:`convexnn.tables.Table` of text."""
        raise NotImplementedError

    def to_frame(self) -> Any:
        """Return the rows as a pandas DataFrame; pandas must be installed."""
        pandas = require("pandas", "pandas", "to_frame")
        return pandas.DataFrame([plain(row) for row in self._rows()])

    def _repr_html_(self) -> str:
        return html_box(repr(self)[1:-1], self.table.to_html())

    def _rows(self) -> list[dict[str, Any]]:
        raise NotImplementedError


def plain(value: Any) -> Any:
    """Return a value in the words of JSON; see :meth:`Record.to_dict`."""
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Enum):
        # A sentence explains a member and its name is stable; a value that is a word is a name itself.
        return value.name if str(value.value).endswith(".") else value.value
    if isinstance(value, float | np.generic | np.ndarray):
        return _plain_numbers(value)
    if sp.issparse(value):
        found = value.tocoo()
        places = {"rows": found.row.tolist(), "columns": found.col.tolist()}
        return {"shape": list(found.shape), **places, "values": plain(found.data)}
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, Iterable) else str(value)


def _plain_numbers(value: Any) -> Any:
    """Return a number or an array of numbers or words, None in place of what is not finite."""
    if isinstance(value, np.ndarray):
        if (value.dtype.kind == "f" and np.isfinite(value).all()) or value.dtype.kind in "biuSU":
            return value.tolist()
        return [plain(item) for item in value.tolist()] if value.ndim else plain(value.item())
    if isinstance(value, np.generic):
        return plain(value.item())
    return value if isfinite(value) else None


def html_box(title: str, body: str) -> str:
    """Return a box that can be folded: a title, which is escaped, above HTML."""
    head = f"<strong>{escape(title)}</strong>"
    inside = f'<details open><summary style="cursor:pointer">{head}</summary>{body}</details>' if body else head
    return f'<div style="{_BOX}">{inside}</div>'


def html_text(text: str) -> str:
    """Return text as it is, in a fixed width, escaped; nothing for none."""
    lines = text.split("\n")
    if len(lines) > MOST_ROWS:
        lines = [*lines[:MOST_ROWS], f"... {len(lines) - MOST_ROWS} more lines"]
    return f'<pre style="{_TEXT}">{escape(chr(10).join(lines))}</pre>' if text else ""


def html_table(header: Iterable[str], rows: Iterable[Iterable[str]], left: Iterable[bool]) -> str:
    """Return a table of text, escaped; `left` says which columns are left-aligned."""
    sides = ["left" if one else "right" for one in left]
    lines = [_html_row("td", row, sides) for row in rows]
    if len(lines) > MOST_ROWS:
        more = f"... {len(lines) - MOST_ROWS} more rows"
        lines = [*lines[:MOST_ROWS], f'<tr><td colspan="{len(sides)}" style="{_CELL}left">{more}</td></tr>']
    head = _html_row("th", header, sides)
    return f'<table style="{_TABLE}"><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table>'


def _html_row(tag: str, cells: Iterable[str], sides: list[str]) -> str:
    pairs = zip(cells, sides, strict=True)
    return "<tr>" + "".join(f'<{tag} style="{_CELL}{side}">{escape(cell)}</{tag}>' for cell, side in pairs) + "</tr>"

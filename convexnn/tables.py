"""Tables: cells of text under a header, as aligned text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convexnn.checks import require
from convexnn.files import replacing
from convexnn.records import Record, html_table

# What a LaTeX cell must not hold as it is.
# Columns of words.
WORDS = ("proof", "reads", "status", "verdict")

_LATEX = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}"})


@dataclass(frozen=True)
class Table(Record):
    """A table of text.

    Attributes
    ----------
    header : tuple of str
        One title a column. The first is left-aligned, and so are the words of ``proof``, ``reads``, ``status`` and
        ``verdict``; numbers go right.
    rows : tuple of tuple of str
        The cells, one a column; empty where there is nothing to say.

    Examples
    --------
    >>> table = Table(("solver", "seconds"), (("admm", "0.1"), ("fista", "0.4")))
    >>> print(table)
    solver  seconds
    admm        0.1
    fista       0.4
    >>> table.to_markdown().splitlines()[0]
    '| solver | seconds |'
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """Return the table without the columns that are empty in every row."""
        cells = [tuple(row) for row in rows]
        kept = [i for i in range(len(header)) if i == 0 or any(row[i] for row in cells)]
        return cls(tuple(header[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in cells))

    @property
    def left(self) -> tuple[bool, ...]:
        """Which columns are left-aligned."""
        return tuple(index == 0 or title in WORDS for index, title in enumerate(self.header))

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return aligned columns, two blanks between them, the header first."""
        table = (self.header, *self.rows)
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        return "\n".join("  ".join(map(_aligned, row, widths, self.left)).rstrip() for row in table)

    def to_markdown(self) -> str:
        """Return a Markdown table."""
        rule = [":---" if left else "---:" for left in self.left]
        lines = (self.header, rule, *self.rows)
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def to_html(self) -> str:
        """Return an HTML table, its text escaped."""
        return html_table(self.header, self.rows, self.left)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_frame(self) -> Any:
        """Return the cells, which are text, as a pandas DataFrame; pandas must be installed."""
        return require("pandas", "pandas", "to_frame").DataFrame(list(self.rows), columns=list(self.header))

    def to_latex(self) -> str:
        r"""Return a LaTeX tabular with the rules of the package booktabs; powers of ten in math mode."""
        columns = "".join("l" if left else "r" for left in self.left)
        header, *body = [" & ".join(map(_latex, row)) + r" \\" for row in (self.header, *self.rows)]
        frame = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule", *body]
        return "\n".join([*frame, r"\bottomrule", r"\end{tabular}"])


def counting(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 gate``, ``2,000 gates``, ``2 boxes``."""
    many = f"{noun}es" if noun.endswith(("x", "s")) else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a header and rows as CSV, numbers in full precision, None as an empty cell; return the path."""
    with replacing(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return Path(path)


def _aligned(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def _latex(cell: str) -> str:
    """Return a cell with LaTeX's characters escaped; 1.2e-07 becomes $1.2 \\cdot 10^{-7}$."""
    mantissa, exponent, power = cell.partition("e")
    if exponent and _is_number(cell):
        return rf"${mantissa} \cdot 10^{{{int(power)}}}$"
    return f"${cell}$" if cell.startswith("-") and _is_number(cell) else cell.translate(_LATEX).replace("R2", "$R^2$")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

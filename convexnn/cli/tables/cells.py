"""What one cell of a table is: missing, a number with or without signs, yes or no, a date."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

# Cells without a value, in small letters.
MISSING = frozenset(
    {"", "-", "--", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "\\n", "?", "."}
)

# Cells that are 1 or 0 where the whole column is of them, in small letters.
FLAGS = {"true": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "n": 0.0}

# Words and errors that stand for no value, but may be a value of a column of text, in small letters.
NO_VALUE = frozenset(
    {"none", "(null)", "missing", "unknown", "n/d", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"}
)

# Cells longer than this are no numbers with signs, and no dates.
LONGEST = 60

# As ranges of a regular expression.
_CURRENCIES = "$\u00a3\u00a5\u20a0-\u20cf"
_MINUS = "-+\u2212"

_SIGNED = re.compile(
    rf"(?P<minus>[{_MINUS}]?)\s?(?P<before>[{_CURRENCIES}]?)\s?(?P<inner>[{_MINUS}]?)"
    rf"(?P<body>\d{{1,3}}(?:,\d{{3}})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)\s?(?P<after>[{_CURRENCIES}%]?)",
    re.ASCII,
)

# Numbers as they are written elsewhere, or two numbers with a semicolon that was taken for text.
_ELSEWHERE = re.compile(
    rf"\(?[{_MINUS}]?\s?[{_CURRENCIES}]?\s?"
    r"(\d{1,3}([.,' \u00a0\u2009\u202f]\d{3})+([.,]\d+)?|\d{1,2}(,\d{2})+,\d{3}(\.\d+)?|\d+([.,]\d+)?)"
    rf"\s?[{_CURRENCIES}%]?\)?|[-+]?\d+;[-+]?\d+",
    re.ASCII,
)

# Numbers with a decimal comma, and points, blanks or apostrophes between thousands.
_COMMA = re.compile(
    rf"(?P<head>[{_MINUS}]?\s?[{_CURRENCIES}]?\s?[{_MINUS}]?)"
    r"(?P<whole>\d{1,3}(?:[.' \u00a0\u2009\u202f]\d{3})+|\d+)(?:,(?P<rest>\d*))?"
    rf"(?P<tail>(?:[eE][-+]?\d+)?\s?[{_CURRENCIES}%]?)",
    re.ASCII,
)

# A number with a unit behind it, or before it with a blank between: 10 kr, 5kg, USD 10.
_WITH_UNIT = re.compile(
    rf"[{_MINUS}]?(?P<before>[A-Z]{{2,3}}|[Kk]r\.?|Rs\.?)\s[{_MINUS}]?\d+([.,]\d+)*"
    rf"|[{_MINUS}]?\d+([.,]\d+)*\s?(?P<behind>[^\W\d_][^\s\d]{{0,11}}|\u00b0\s?[CFKcfk])"
)

# Units that stand for powers of ten, which differ within a column: 900k, 1.5M.
_POWERS = frozenset({"k", "m", "b", "t", "g", "bn", "mn", "mio", "tn"})

# Share of the cells of a column that one unit has, where it is taken for one.
ONE_UNIT = 0.9

_BREAK = re.compile(r"\s*[\r\n]+\s*")

_TIME = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s?([ap]\.?m\.?)?\s?(z|utc|[-+]\d{2}:?\d{2})?"
_MONTH = (
    r"(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    r"|dec(ember)?)\.?"
)
_WEEKDAY = r"((mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?\.?,?\s)?"
# The last: a year with its month or quarter alone.
_DAY = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    rf"|\d{{1,2}}[-. ]{{1,2}}{_MONTH}[-, ]{{1,2}}(\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}{_MONTH}\d{{4}}"
    rf"|{_MONTH}[- ](\d{{1,2}},?\s)?(\d{{4}}|\d{{2}})"
    r"|(19|20)\d{2}([-/](0[1-9]|1[0-2])|[- ]?q[1-4])|q[1-4][- ]?(19|20)\d{2}"
)
_DATE = re.compile(rf"{_WEEKDAY}({_DAY})((t|,?\s){_TIME})?|{_TIME}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class NumberCell:
    """A cell that is a number once its signs are taken off.

    Attributes
    ----------
    value : float
        The number; of 12 % it is 12.
    sign : str
        A currency sign, a percent sign, or nothing.
    grouped : bool
        Whether commas stand between thousands.
    """

    value: float
    sign: str = ""
    grouped: bool = False


def is_missing(cell: str) -> bool:
    """Whether a cell has no value."""
    return len(cell) <= 4 and cell.casefold() in MISSING


def flag(cell: str) -> float | None:
    """Return 1 for true and yes, 0 for false and no, else None."""
    return FLAGS.get(cell.casefold()) if len(cell) <= LONGEST else None


def one_spelling(cells: Sequence[str]) -> dict[str, str]:
    """Return the spelling that stands for each of cells that are all yes or no: the most frequent of its kind.

    Empty where a cell is something else, or where each is spelt in one way.

    Examples
    --------
    >>> from convexnn.cli.tables.cells import one_spelling
    >>> one_spelling(["yes", "No", "YES", "yes"])
    {'yes': 'yes', 'No': 'No', 'YES': 'yes'}
    """
    counts = Counter(cells)
    kinds = {flag(cell) for cell in counts}
    if None in kinds or len(kinds) == len(counts):
        return {}
    best = {flag(cell): cell for cell, _ in reversed(counts.most_common())}
    return {cell: best[flag(cell)] for cell in counts}


def number_cell(cell: str) -> NumberCell | None:
    """Return what a cell says as a finite number, or None."""
    value = finite(cell)
    if value is not None:
        return NumberCell(value)
    found = _SIGNED.fullmatch(cell) if len(cell) <= LONGEST else None
    if found is None or (found["before"] and found["after"]) or (found["minus"] and found["inner"]):
        return None
    number = float(found["body"].replace(",", ""))
    negative = (found["minus"] or found["inner"]) not in ("", "+")
    return NumberCell(-number if negative else number, found["before"] or found["after"], "," in found["body"])


def finite(cell: str) -> float | None:
    """Return the finite number that a cell is as it stands, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    # Python's own 1_000 is no number of a table.
    return value if isfinite(value) and "_" not in cell else None


def plain_numbers(cells: Iterable[str]) -> list[float] | None:
    """Return cells as finite numbers where all are as they stand, else None; much faster than one by one."""
    held = list(cells)
    try:
        values = list(map(float, held))
    except ValueError:
        return None
    return values if all(map(isfinite, values)) and "_" not in "".join(held) else None


def looks_numeric(cell: str) -> bool:
    """Whether a cell was meant as a number, right or wrong: decimal commas and what is not finite count too."""
    return number_cell(cell) is not None or is_written_elsewhere(cell) or _is_infinite(cell)


def is_written_elsewhere(cell: str) -> bool:
    """Whether a cell is a number with another decimal sign or another way of grouping, as 1.234,5 or 1 234 or (3)."""
    return len(cell) <= LONGEST and _ELSEWHERE.fullmatch(cell) is not None


def pointed(cell: str) -> str:
    """Return a number with a decimal comma as one with a point, and nothing between thousands; other text as it is.

    Examples
    --------
    >>> from convexnn.cli.tables.cells import pointed
    >>> pointed("1.234,50"), pointed("3,5 %"), pointed("north")
    ('1234.50', '3.5 %', 'north')
    """
    found = _COMMA.fullmatch(cell) if len(cell) <= LONGEST else None
    if found is None:
        return cell
    rest = "" if found["rest"] is None else f".{found['rest']}"
    return found["head"] + "".join(filter(str.isdigit, found["whole"])) + rest + found["tail"]


def common_unit(cells: Sequence[str]) -> str | None:
    """Return the unit beside the numbers of a column of text, where nearly all cells have it; else None.

    Examples
    --------
    >>> from convexnn.cli.tables.cells import common_unit
    >>> common_unit(["10 kr", "1,5 kr"]), common_unit(["900k", "1.5M"]), common_unit(["3 kg", "north"])
    ('kr', 'k', None)
    """
    units: Counter[str] = Counter()
    spelt: dict[str, str] = {}
    for cell, count in Counter(cells).items():
        found = _WITH_UNIT.fullmatch(cell) if len(cell) <= LONGEST else None
        if found is not None:
            unit = found["before"] or found["behind"]
            kind = "power of ten" if unit.casefold() in _POWERS else unit
            units[kind] += count
            spelt.setdefault(kind, unit)
    kind, count = units.most_common(1)[0] if units else ("", 0)
    return spelt[kind] if count and count >= ONE_UNIT * len(cells) else None


def in_one_line(text: str) -> str:
    """Return a text with a blank in place of each break between its lines."""
    return _BREAK.sub(" ", text)


def is_date(cell: str) -> bool:
    """Whether a cell looks like a date, a time of day, or both."""
    return len(cell) <= LONGEST and _DATE.fullmatch(cell) is not None


def _is_infinite(cell: str) -> bool:
    try:
        return not isfinite(float(cell))
    except ValueError:
        return False

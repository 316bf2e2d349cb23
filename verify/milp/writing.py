"""Writing: a MILP as a file that any engine reads, in MPS or LP format, every number to its last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import inf
from os import PathLike
from pathlib import Path

import scipy.sparse as sp

from convexnn.files import replacing
from verify.milp.model import Milp

# Terms a line of an LP file; some readers take no long lines.
TERMS = 6

# What an MPS file says of itself.
REMARK = (
    "Written by convexnn. The model asks for a maximum; this file, as MPS files do, for a minimum:",
    "its costs are negated, so the maximum is minus the optimum of this file. One variable is fixed to 1.",
)

# The variable that is fixed to 1.
CONSTANT = "constant"


def write_milp(milp: Milp, names: Sequence[str], path: str | PathLike[str]) -> None:
    """Write `milp` to `path`, as MPS or LP by its ending; `names` are those of the variables.

    Raises
    ------
    ValueError
        Another ending.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise ValueError(f"path {str(path)!r} ends in {target.suffix!r}; expected one of: {', '.join(FORMATS)}")
    with replacing(target, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in FORMATS[target.suffix](milp, names))


def _mps(milp: Milp, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a free MPS file of the minimum of minus the objective.

    That is what every reader takes a file for: an OBJSENSE section is passed over by some (CBC 2.10.8) and an error to
    others (GLPK 5). The constant is the cost of a variable fixed to 1: readers differ in the sign of a right side of
    the objective.
    """
    senses = [_sense(low, high) for low, high in _sides(milp)]
    yield from (f"* {line}" for line in REMARK)
    yield from ("NAME convexnn", "ROWS", " N objective")
    yield from (f" {sense} r{row}" for row, sense in enumerate(senses))
    yield from (f" L c{row}" for row in range(len(milp.conditions)))
    yield "COLUMNS"
    yield from _mps_columns(milp, names)
    yield "RHS"
    for row, (low, high) in enumerate(_sides(milp)):
        if (low, high) != (-inf, inf):
            yield f"    rhs r{row} {_text(low if low > -inf else high)}"
    for row, high in enumerate(milp.conditions.upper.tolist()):
        yield f"    rhs c{row} {_text(high)}"
    yield "RANGES"
    for row, (low, high) in enumerate(_sides(milp)):
        if -inf < low < high < inf:
            yield f"    range r{row} {_text(high - low)}"
    yield "BOUNDS"
    switches = set(milp.conditions.binaries.tolist())
    for index, (name, low, high) in enumerate(zip(names, milp.lower.tolist(), milp.upper.tolist(), strict=True)):
        if index in switches:
            # SCIP calls a variable binary by this line alone.
            yield f" BV bound {name}"
            continue
        yield f" MI bound {name}" if low == -inf else f" LO bound {name} {_text(low)}"
        yield f" PL bound {name}" if high == inf else f" UP bound {name} {_text(high)}"
    yield f" FX bound {CONSTANT} 1.0"
    if len(milp.conditions):
        yield "INDICATORS"
    for row, (binary, at) in enumerate(_switches(milp)):
        yield f" IF c{row} {names[binary]} {at}"
    yield "ENDATA"


def _mps_columns(milp: Milp, names: Sequence[str]) -> Iterator[str]:
    columns, held = milp.rows.tocsc(), milp.conditions.beside(len(milp.cost) - milp.conditions.rows.shape[1])
    conditions = held.rows.tocsc()
    whole = False
    for index, (name, cost, integer) in enumerate(zip(names, milp.cost.tolist(), milp.integer.tolist(), strict=True)):
        if integer != whole:
            whole = integer
            yield f"    marker{index} 'MARKER' '{'INTORG' if whole else 'INTEND'}'"
        # Every column gets a line, for one without any would not exist.
        yield f"    {name} objective {_text(0.0 - cost)}"
        for kind, entries in (("r", columns), ("c", conditions)):
            part = slice(entries.indptr[index], entries.indptr[index + 1])
            for row, value in zip(entries.indices[part].tolist(), entries.data[part].tolist(), strict=True):
                yield f"    {name} {kind}{row} {_text(value)}"
    if whole:
        yield f"    marker{len(names)} 'MARKER' 'INTEND'"
    yield f"    {CONSTANT} objective {_text(0.0 - milp.constant)}"


def _lp(milp: Milp, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of an LP file; a row with two ends that differ is two rows.

    The constant of the objective is that of a variable fixed to 1, for some readers take a bare number for a name.
    """
    yield from ("\\ convexnn", "Maximize")
    terms = [f"{_signed(cost)} {name}" for name, cost in zip(names, milp.cost.tolist(), strict=True)]
    yield from _folded(" objective:", [*terms, f"{_signed(milp.constant)} {CONSTANT}"])
    yield "Subject To"
    for row, (low, high) in enumerate(_sides(milp)):
        terms = _terms(milp.rows, row, names)
        if low == high:
            yield from _folded(f" r{row}:", [*terms, f"= {_text(low)}"])
            continue
        if low > -inf:
            yield from _folded(f" r{row}:", [*terms, f">= {_text(low)}"])
        if high < inf:
            yield from _folded(f" r{row}{'u' if low > -inf else ''}:", [*terms, f"<= {_text(high)}"])
    for row, (binary, at) in enumerate(_switches(milp)):
        side = f"<= {_text(float(milp.conditions.upper[row]))}"
        yield from _folded(f" c{row}: {names[binary]} = {at} ->", [*_terms(milp.conditions.rows, row, names), side])
    yield "Bounds"
    for name, low, high in zip(names, milp.lower.tolist(), milp.upper.tolist(), strict=True):
        yield f" {_text(low)} <= {name} <= {_text(high)}"
    yield f" {CONSTANT} = 1"
    switches = set(milp.conditions.binaries.tolist())
    whole = [index for index, integer in enumerate(milp.integer.tolist()) if integer]
    # What a condition asks about must be called binary.
    for head, chosen in (("General", [i for i in whole if i not in switches]), ("Binary", sorted(switches))):
        if chosen:
            yield from chain([head], _folded("", [names[index] for index in chosen]))
    yield "End"


def _folded(head: str, words: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(words), TERMS):
        yield f"{'' if start else head} {' '.join(words[start : start + TERMS])}"


def _terms(rows: sp.csr_matrix, row: int, names: Sequence[str]) -> list[str]:
    """Return the terms of a row; it needs one, of zero where it has none."""
    part = slice(rows.indptr[row], rows.indptr[row + 1])
    places, values = rows.indices[part].tolist(), rows.data[part].tolist()
    return [f"{_signed(value)} {names[i]}" for i, value in zip(places, values, strict=True)] or [f"0 {names[0]}"]


def _switches(milp: Milp) -> Iterator[tuple[int, int]]:
    return zip(milp.conditions.binaries.tolist(), milp.conditions.at.tolist(), strict=True)


def _sides(milp: Milp) -> Iterator[tuple[float, float]]:
    return zip(milp.row_lower.tolist(), milp.row_upper.tolist(), strict=True)


def _sense(low: float, high: float) -> str:
    if low == high:
        return "E"
    return "N" if (low, high) == (-inf, inf) else "G" if low > -inf else "L"


def _text(value: float) -> str:
    """Return the shortest text that reads as the same float64; infinity as engines read it."""
    return repr(value) if abs(value) < inf else "inf" if value > 0 else "-inf"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {_text(abs(value))}"


FORMATS: dict[str, Callable[[Milp, Sequence[str]], Iterator[str]]] = {".mps": _mps, ".lp": _lp}

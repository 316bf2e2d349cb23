"""Tables of pandas and polars as arrays of numbers, column by column; what is no number is named by its column."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kinds of an object that are real numbers; numpy's own are registered as such, but for its bool.
_NUMBERS = (Real, Decimal, np.bool_)

# What to do about a column that is no number.
ADVICE = {
    "M": "dates: write them as numbers, such as days or a month, or leave the column out",
    "m": "times: write them as numbers, such as X[column].dt.total_seconds(), or leave the column out",
    "c": "complex: take real and imaginary parts",
    "O": "text: a feature for each value, as by pandas.get_dummies or a OneHotEncoder, or leave the column out",
}


def is_frame(values: Any) -> bool:
    """Whether `values` is a table with named columns, of pandas or polars."""
    return hasattr(values, "shape") and hasattr(values, "columns") and hasattr(values, "dtypes")


def frame_array(values: Any, name: str) -> NDArray[Any]:
    """Return the numbers of a table (n, d) as float64; missing ones are NaN.

    Raises
    ------
    TypeError
        A column holds something else; the error names it, and what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> from convexnn.frames import frame_array
    >>> frame_array(pd.DataFrame({"age": [3, 4], "open": [True, False]}), "X").tolist()
    [[3.0, 1.0], [4.0, 0.0]]
    """
    if all(str(kind) in ("float64", "float32", "int64") for kind in values.dtypes):
        return np.asarray(values, dtype=np.float64)
    columns = [_numbers(values, place, name) for place in range(values.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros(values.shape)


def object_numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array of Python objects that are real numbers as float64: such as a frame of floats beside bools holds.

    Missing ones are NaN; a TypeError names the first that is something else.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.frames import object_numbers
    >>> object_numbers(np.array([[1.5, True], [2, None]], dtype=object)).tolist()
    [[1.5, 1.0], [2.0, nan]]
    """
    if not array.ndim:
        raise TypeError("its dtype is object")
    strange = next((cell for cell in array.flat if not (_is_missing(cell) or isinstance(cell, _NUMBERS))), None)
    if strange is not None:
        raise TypeError(f"its dtype is object, with {str(strange)[:40]!r}")
    return np.array([_number(cell) for cell in array.flat], dtype=np.float64).reshape(array.shape)


def refuse_columns(values: Any, name: str) -> None:
    """Raise where two columns of a table have one name, or one holds something else than numbers."""
    counts = Counter(map(str, values.columns))
    twice = [column for column, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{name} has {counts[twice[0]]} columns of the name {twice[0]!r}; expected different names")
    frame_array(values, name)


def _numbers(values: Any, place: int, name: str) -> NDArray[Any]:
    """Return a column as float64."""
    column = values.iloc[:, place] if hasattr(values, "iloc") else values[:, place]
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    try:
        if array.dtype.kind in "OUST" or "str" in str(array.dtype):
            return np.array([_number(cell) for cell in array.tolist()], dtype=np.float64)
    except (TypeError, ValueError):
        pass
    first = next((cell for cell in array.tolist() if cell is not None), None)
    kind, column_name = list(values.dtypes)[place], str(list(values.columns)[place])
    advice = ADVICE.get("M" if str(kind).startswith("period") else array.dtype.kind, ADVICE["O"])
    raise TypeError(
        f"{name} has a column {column_name!r} of {kind}, such as {str(first)[:40]!r}; expected numbers ({advice})"
    )


def _number(cell: Any) -> float:
    """Return a cell as a number, NaN where it is missing."""
    return float("nan") if _is_missing(cell) else float(cell)


def _is_missing(cell: Any) -> bool:
    """Whether a cell is none of a number, as pandas, polars or Python say it."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")

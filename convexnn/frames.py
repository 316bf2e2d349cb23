"""Tables of pandas and polars as arrays of numbers, column by column; what is no number is named by its column."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return float("nan")
    return float(cell)

"""Linear functions of arrays whose matrix is found by asking for each entry by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.limits import MOST_ENTRIES, as_size
from verify.reading.graph.values import Value, mapped

# Entries of an array that are asked for one by one.
MOST_ASKED = 1 << 14


def probed(value: Value, function: Callable[[Floats], NDArray[Any]]) -> Value:
    """Return an affine function of an array, by its values at zero and at each unit array.

    Its matrix is what the function computes in float64, column by column.

    Parameters
    ----------
    value : Value
        The array, of at most 2^14 entries.
    function : callable
        Takes an array of that shape and returns one of any shape; it must be affine.

    Raises
    ------
    ValueError
        An array or a matrix that is too large.
    """
    as_size(value.size, "what comes in", MOST_ASKED)
    origin = np.asarray(function(np.zeros(value.shape)), dtype=np.float64)
    as_size(origin.size * value.size, "its matrix", MOST_ENTRIES)
    columns = [_column(value, place, function, origin) for place in range(value.size)]
    return mapped(value, Affine(sp.csr_matrix(sp.hstack(columns, format="csr")), origin.ravel()), origin.shape)


def _column(value: Value, place: int, function: Callable[[Floats], NDArray[Any]], origin: Floats) -> sp.csc_matrix:
    unit = np.zeros(value.size)
    unit[place] = 1.0
    return sp.csc_matrix((np.asarray(function(unit.reshape(value.shape)), dtype=np.float64) - origin).reshape(-1, 1))

"""Monotone features: what the caller says of them, a number each or by name, as signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from convexnn.checks import Floats


def as_monotonic(given: Any, n_features: int, names: Sequence[str] | None) -> Floats | None:
    """Return -1, 0 or 1 for each feature (d,), of as many numbers, or of a dict or Series by names; None for none."""
    if given is None:
        return None
    if isinstance(given, Mapping) or has_names(given):
        values = _by_name(dict(given), n_features, names)
    else:
        values = np.asarray(given, dtype=object)
    if values.shape != (n_features,):
        raise ValueError(
            f"monotonic_cst has shape {values.shape}; expected ({n_features},), -1, 0 or 1 for each feature, "
            "or a dict by their names"
        )
    for value in values:
        if not isinstance(value, Real | np.bool_) or value not in (-1, 0, 1):
            raise ValueError(f"monotonic_cst holds {value!r}; expected -1, 0 or 1 for each feature")
    signs = values.astype(np.float64)
    return signs if signs.any() else None


def has_names(given: Any) -> bool:
    """Whether `given` is a Series of pandas with names, whose order says nothing."""
    return hasattr(given, "to_dict") and hasattr(given, "index") and all(isinstance(name, str) for name in given.index)


def _by_name(given: Mapping[Any, Any], n_features: int, names: Sequence[str] | None) -> Any:
    if names is None:
        raise ValueError(
            "monotonic_cst is a dict, and the features of X have no names; expected X with columns that have names, "
            "or -1, 0 or 1 for each feature"
        )
    places = {name: i for i, name in enumerate(names)}
    values = np.zeros(n_features, dtype=object)
    for name, value in given.items():
        if name not in places:
            raise ValueError(f"monotonic_cst names {name!r}, no feature of X; expected names such as {names[0]!r}")
        values[places[name]] = value
    return values

"""Functions of torch that move entries, or are linear in an array, read by what they make of places or of units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.probing import probed
from verify.reading.graph.values import Value, selected
from verify.reading.torch_modules import arrays

Function = Callable[..., Any]


def moving(function: Function) -> Function:
    """Return the rule of a function whose entries are entries of its first argument, or zeros (flip, roll, unfold)."""

    def rule(value: Value, *args: Any, **options: Any) -> Any:
        """Return what the function makes of an array, or the list of what it makes."""
        places = torch.arange(1, value.size + 1, dtype=torch.float64).reshape(value.shape)
        made = function(places, *args, **options)
        return [_at(value, part) for part in made] if isinstance(made, list | tuple) else _at(value, made)

    return rule


def _at(value: Value, places: Tensor) -> Value:
    as_size(places.numel(), "its result", MOST_PLACES)
    found = places.numpy().astype(np.int64) - 1
    return arrays.taken(value, found) if (found >= 0).all() else selected(value, found)


def linear(function: Function) -> Function:
    """Return the rule of a function that is linear, or affine, in the one argument that is a value."""

    def rule(*given: Any, **options: Any) -> Value:
        """Return what the function makes of a value beside constants."""
        moving = [one for one in _flat(given) if isinstance(one, Value)]
        if len(moving) != 1:
            raise ValueError("it multiplies two values that the network computes; expected constants beside one")
        return probed(moving[0], lambda entries: function(*_put(list(given), entries), **options).numpy())

    return rule


def _flat(given: Any) -> list[Any]:
    if isinstance(given, list | tuple):
        return [one for part in given for one in _flat(part)]
    return [given]


def _put(given: Any, entries: Any) -> Any:
    """Return arguments with the entries in place of the value, and tensors in float64."""
    if isinstance(given, Value):
        return torch.from_numpy(entries)
    if isinstance(given, list | tuple):
        return [_put(one, entries) for one in given]
    return given.detach().double() if isinstance(given, Tensor) and given.is_floating_point() else given

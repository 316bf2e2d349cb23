"""Comparisons, and what is chosen by them: read where the choice is continuous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from verify.reading.graph.piecewise import chosen
from verify.reading.graph.values import Value, combined, scaled
from verify.reading.torch_modules import arrays


@dataclass(frozen=True, eq=False)
class Mask:
    """Where a value is above zero; where it is zero, nothing is known."""

    test: Value


def above(left: Any, right: Any) -> Mask:
    """Return where the left is larger (or as large)."""
    return Mask(combined([arrays.as_value(left), arrays.as_value(right)], [1.0, -1.0]))


def below(left: Any, right: Any) -> Mask:
    """Return where the left is smaller (or as large)."""
    return above(right, left)


def where(condition: Any, yes: Any, no: Any) -> Value:
    """Return one of two values, entry by entry."""
    one, other = arrays.as_value(yes), arrays.as_value(no)
    if isinstance(condition, Mask):
        return chosen(condition.test, one, other)
    share = _share(condition)
    return combined([scaled(one, share), scaled(other, 1.0 - share)], [1.0, 1.0])


def _share(condition: Any) -> Floats:
    if not isinstance(condition, Tensor) or condition.dtype != torch.bool:
        raise ValueError("its condition is no comparison; expected such as x > 0, or a constant of True and False")
    return np.asarray(condition.numpy(), dtype=np.float64)


def filled(array: Any, mask: Any, value: Any) -> Value:
    """Return an array with a number in its place where a mask is true."""
    return where(mask, value, array)


def masked(mask: Mask, value: Any) -> Value:
    """Return the product of a value and a mask as zeros and ones."""
    return where(mask, value, 0.0)

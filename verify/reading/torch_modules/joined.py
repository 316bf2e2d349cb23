"""Modules with several inputs, as modules of one row in which they lie one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any

from torch import nn

from verify.reading.graph.values import Shape


class Joined(nn.Module):
    """Calls a module with the parts of flat rows (n, d), each in the shape of its input."""

    def __init__(self, module: nn.Module, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.module, self.shapes = module, tuple(shapes)

    @property
    def size(self) -> int:
        """How many numbers a row has."""
        return sum(map(prod, self.shapes))

    def forward(self, rows: Any) -> Any:
        """Return what the module makes of the parts of rows."""
        ends = pairwise(accumulate(map(prod, self.shapes), initial=0))
        return self.module(
            *(rows[:, start:end].reshape(-1, *shape) for (start, end), shape in zip(ends, self.shapes, strict=True))
        )


def check_inputs(module: nn.Module, count: int) -> None:
    """Raise ValueError where the forward of a module cannot take so many inputs."""
    try:
        wanted = inspect.signature(module.forward)
        wanted.bind(*[None] * count)
    except TypeError:
        names = list(wanted.parameters)
        raise ValueError(
            f"the forward of the torch module takes the inputs {', '.join(names)}; expected a shape for each, as in "
            "read_network(module, input_shape=[(3,), (2,)])"
        ) from None
    except ValueError:
        return  # no signature to look at

"""Perceptrons of torch, with the weights that torch gives them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from convexnn.checks import require


def perceptron(sizes: Sequence[int], seed: int) -> Any:
    """Return a torch Sequential of Linear and ReLU of these sizes, as torch draws it after this seed.

    What follows draws from torch's generator where this has left it.
    """
    torch = require("torch", "torch", "a network")
    torch.manual_seed(seed)
    layers: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])

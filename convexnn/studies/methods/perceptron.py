"""Perceptrons of torch, with the weights that torch gives them, and how classifiers among them are trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from convexnn.checks import Floats, require
from convexnn.datasets import Labels


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


def train_classifier(
    model: Any, X: Floats, labels: Labels, *, epochs: int, batch_size: int, weight_decay: float = 0.0
) -> None:
    """Train a network in place by Adam, cross-entropy, steps of 1e-3; torch's generator draws the batches."""
    torch = require("torch", "torch", "training")
    rows, classes = torch.tensor(X, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=weight_decay)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(batch_size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(rows[batch]), classes[batch]).backward()
            adam.step()

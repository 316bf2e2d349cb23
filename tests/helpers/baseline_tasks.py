"""What the tests of baselines share: a teacher of three features, its labels, a task, the weights of a result."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexnn.baselines import Baseline
from convexnn.baselines.task import Task, TaskOptions
from convexnn.checks import Floats


def teacher(n: int = 300, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8))
    return X, np.maximum(X[:, 0] - X[:, 1], 0.0) - np.maximum(X[:, 2], 0.0)


def targets(loss: str) -> tuple[Floats, Any]:
    X, y = teacher()
    if loss == "squared":
        return X, np.stack([y, X[:, 3]], axis=1)
    return X, np.select([y > 0.3, y < -0.3], ["above", "below"], "between") if loss == "softmax" else y > 0.0


def task_of(**options: Any) -> Task:
    X, y = teacher()
    usual: dict[str, Any] = {
        "width": 6,
        "depth": 1,
        "loss": "squared",
        "bias": False,
        "weights": "all",
        "output_signs": None,
        "batch_size": 50,
        "lr": 1e-2,
        "seed": 0,
        "device": "cpu",
    }
    return Task.make(X, y, TaskOptions(**{**usual, **options}))


def weights_of(baseline: Baseline) -> list[Floats]:
    return [weight.toarray() for weight, _ in baseline.network.layers]

"""The same call with the same seed gives the same answer, and leaves the caller's threads and generators alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from tests.helpers import zoo
from tests.helpers.recovery_problems import planted
from verify.backends.registry import Backend


@cache
def data() -> tuple[Floats, Floats]:
    X, y, _, _ = planted(0)
    return X, y + 0.1 * np.random.default_rng(0).standard_normal(len(y))


def numbers_of(network: SparseReLUNetwork) -> list[Floats]:
    return [part for weight, bias in network.layers for part in (weight.toarray(), bias)]


def fit(seed: int) -> list[Floats]:
    return numbers_of(cx.fit_network(*data(), 10, epochs=2, patience=1, seed=seed).network)


def labels(seed: int) -> list[Floats]:
    X, y = data()
    return numbers_of(cx.SparseReLUClassifier(epochs=2, random_state=seed).fit(X, y > 0.5).network_)


def search(seed: int) -> list[Floats]:
    return [cx.recover(*data(), 8, 4, n_restarts=1, patience=1, seed=seed).weights]


def budget(seed: int) -> list[Floats]:
    X, y = data()
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 20, seed=seed), budget=8)
    return [cx.solve(program, seed=seed).weights]


def attack(seed: int) -> list[Floats]:
    """Return the proof of branch and bound."""
    region = verify.LinfBall([0.1, -0.2, 0.3], 0.6)
    found = verify.find_adversarial(zoo.network((3, 6, 6, 3), seed=2), region, backend="branching", seed=seed)
    assert found.proof is verify.Proof.BRANCHED
    return [np.array([found.value, found.bound])]


def maximum(seed: int) -> list[Floats]:
    """Return the optimum of an engine."""
    region = verify.LinfBall([0.1, -0.2, 0.3], 0.25)
    found = verify.maximize(zoo.network((3, 6, 6, 3), seed=2), region, 0, backend="scipy", seed=seed)
    assert found.backend == "scipy"
    return [np.array([found.value, found.bound]), found.witness]


CALLS: dict[str, Callable[[int], list[Floats]]] = {
    "fit_network": fit,
    "SparseReLUClassifier": labels,
    "recover": search,
    "solve": budget,
    "find_adversarial": attack,
    "maximize": maximum,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_seed_decides_to_the_last_bit(name: str) -> None:
    first, second = (CALLS[name](3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CALLS)
def test_threads_and_generators_of_the_caller_are_left_alone(name: str) -> None:
    np.random.seed(5)  # noqa: NPY002 (the caller may use it)
    torch.manual_seed(5)
    before, draws = surroundings(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    own, here = torch.get_rng_state(), set(threading.enumerate())
    CALLS[name](0)
    for thread in set(threading.enumerate()) - here:
        # An engine's thread has given its answer, and takes a moment more to end.
        thread.join(10.0)
    assert surroundings() == before
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], draws)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), own)


def surroundings() -> tuple[Any, ...]:
    """Return what a call could change around it: torch's threads and type, NumPy's error handling, our threads."""
    names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
    return torch.get_num_threads(), torch.get_default_dtype(), tuple(sorted(np.geterr().items())), tuple(names)


def test_an_engine_is_asked_for_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    whole = Backend.run

    def seen(self: Backend, milp: Any, request: Any) -> Any:
        asked.append(request.threads)
        return whole(self, milp, request)

    monkeypatch.setattr(Backend, "run", seen)
    maximum(0)
    assert set(asked) == {1}

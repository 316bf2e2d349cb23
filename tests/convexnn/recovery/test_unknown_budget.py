"""Recovery without a budget: the smallest network that explains the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.recovery import unknown_budget
from tests.helpers.recovery_problems import planted


@pytest.mark.parametrize("s", [3, 10, 18])
def test_without_a_budget_an_exact_network_has_the_planted_weights(s: int) -> None:
    X, y, _, _ = planted(1, s=s)
    found = cx.recover(X, y, width=6)
    assert found.status is cx.Status.EXACT
    assert found.nnz == s
    assert found.objective <= 1e-18 * np.mean(y**2)
    assert (np.diff(found.history) <= 0.0).all()


def test_without_a_budget_several_jobs_give_the_serial_answer() -> None:
    X, y, _, _ = planted(1, s=10)
    seen = list[cx.RecoveryProgress]()
    alone, both = (cx.recover(X, y, width=6, n_jobs=jobs, callback=seen.append) for jobs in (1, 2))
    assert np.array_equal(alone.weights, both.weights)
    assert np.array_equal(alone.history, both.history)
    assert len(seen) == len(alone.history) + len(both.history)


def test_without_a_budget_an_interruption_is_one_with_several_jobs_too() -> None:
    X, y, _, _ = planted(1, s=18)

    def stop(progress: cx.RecoveryProgress) -> None:
        raise KeyboardInterrupt

    found = cx.recover(X, y, width=6, n_jobs=2, callback=stop)
    assert found.status is cx.Status.INTERRUPTED
    assert found.nnz


@pytest.mark.parametrize("answered", [0, 1])
def test_without_a_budget_ctrl_c_while_workers_search_returns_what_is_there(
    answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = planted(1, s=18)

    def interrupted(work: Any, arguments: Any, n_jobs: int, *, ordered: bool) -> Iterator[Any]:
        yield from ((place, work(*arguments[place])) for place in range(answered))
        raise KeyboardInterrupt

    monkeypatch.setattr(unknown_budget, "spread", interrupted)
    found = cx.recover(X, y, width=6, n_jobs=2)
    assert found.status is cx.Status.INTERRUPTED
    assert bool(found.nnz) is bool(answered)


def test_without_a_budget_what_larger_ones_have_found_counts_where_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several jobs the first has not ended when time is up; the third has, and explains the data."""
    X, y, _, _ = planted(1, s=18)

    def raced(work: Any, arguments: Any, n_jobs: int, *, ordered: bool) -> Iterator[Any]:
        for place, (*given, deadline, rng) in enumerate(arguments):
            yield place, work(*given, deadline if place == 2 else replace(deadline, left=0.0), rng)

    monkeypatch.setattr(unknown_budget, "spread", raced)
    found = cx.recover(X, y, width=6, n_jobs=2, time_limit=600)
    assert found.status is cx.Status.EXACT
    assert found.nnz == 18
    assert (np.diff(found.history) <= 0.0).all()


def test_no_worker_is_started_where_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(1, s=18)
    monkeypatch.setattr("convexnn.recovery.course.spread", None)
    monkeypatch.setattr(unknown_budget, "spread", None)
    for budget in (None, 18):
        found = cx.recover(X, y, budget, width=6, n_jobs=2, time_limit=0)
        assert found.status is cx.Status.TIME_LIMIT
        assert found.nnz


def test_without_a_budget_noise_ends_the_doubling() -> None:
    X, y, _, _ = planted(0)
    noisy = y + 0.01 * y.std() * np.random.default_rng(9).standard_normal(len(y))
    found = cx.recover(X, noisy, width=4)
    assert found.status is cx.Status.CONVERGED
    assert found.nnz == 10


def test_without_a_budget_what_cannot_be_explained_says_so() -> None:
    """A target that no network of this width explains; at a limit, and interrupted, there is a network all the same."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = np.abs(X[:, 0]) + np.abs(X[:, 1])
    found = cx.recover(X, y, width=1, patience=3)
    assert found.status is cx.Status.SEARCH_ENDED
    assert found.nnz <= 3
    assert cx.recover(X, y, width=1, time_limit=0).status is cx.Status.TIME_LIMIT

    def stop(progress: cx.RecoveryProgress) -> None:
        raise KeyboardInterrupt

    assert cx.recover(X, y, width=1, callback=stop).status is cx.Status.INTERRUPTED

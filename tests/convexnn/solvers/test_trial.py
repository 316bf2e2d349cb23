"""Steps that are assumed on the device and looked at once: what comes of them is what plain iterations come to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn import tiles
from convexnn.checks import Floats, Ints
from convexnn.linear.combination import Combination
from convexnn.solvers.thresholding import dictionary as room
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary
from convexnn.solvers.thresholding.niht import SAFE
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, first_iterate, normalised_step
from convexnn.solvers.thresholding.trial import Step, Tried, try_step
from tests.helpers import zoo

X, Y = zoo.data(60, 6)
GATES = zoo.patterns(X, count=10)


def kept(sizes: Floats, count: int, cap: int | None) -> Ints:
    """Return the largest of sizes (m d,), after the `cap` largest of each gate, by sorting."""
    if cap is not None:
        for block in sizes.reshape(len(GATES), -1):
            block[np.argsort(-block)[cap:]] = -1.0
    return np.sort(np.argsort(-sizes)[:count])


def plain_niht(program: cx.ConvexProgram, iterations: int) -> list[float]:
    """Return the objectives of normalised IHT as its page states it, on dense matrices."""
    A, c, cap = zoo.dense_matrix(program.rows, program.patterns), program.loss.smoothness, program.budget_per_neuron
    A, target = A / np.linalg.norm(A, axis=0), program.targets[:, 0]
    weights = np.zeros(A.shape[1])
    gradient = -len(A) * (A.T @ program.loss.gradient(A @ weights, target))
    support, history = kept(np.abs(gradient), program.budget or 0, cap), list[float]()
    for _ in range(iterations):
        gradient = -len(A) * (A.T @ program.loss.gradient(A @ weights, target))
        along = gradient[support]
        size = along @ along / (c * np.square(A[:, support] @ along).sum())
        while True:
            moved = weights + size * gradient
            chosen, after = kept(np.abs(moved), len(support), cap), np.zeros_like(weights)
            after[chosen] = moved[chosen]
            change = after - weights
            longest = change @ change / (c * np.square(A @ change).sum())
            if np.array_equal(chosen, support) or size <= SAFE * longest:
                break
            size /= 2.0
        weights, support = after, chosen
        history.append(program.loss.value(A @ weights, target))
    return history


@pytest.mark.parametrize("entries", [1 << 17, 1])
@pytest.mark.parametrize("cheap", [0, 10**6])
@pytest.mark.parametrize("cap", [None, 2])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_iterations_are_those_of_dense_matrices(
    loss: str, cap: int | None, cheap: int, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "CHEAP", cheap)
    monkeypatch.setattr(room, "STREAM_ENTRIES", entries)
    target = Y if loss == "squared" else np.sign(Y)
    program = cx.ConvexProgram(X, target, GATES, budget=9, budget_per_neuron=cap, loss=loss)
    found = cx.solve(program, "niht", whiten=False, dtype="float64", max_iterations=30)
    assert np.allclose(found.history, plain_niht(program, 30), rtol=1e-9)


def dictionary() -> Dictionary:
    program = cx.ConvexProgram(X, Y, GATES, budget=9)
    return open_dictionary(program, device="cpu", dtype="float64", memory_limit=1 << 30)


def tried(held: Dictionary, now: SparseIterate, size: float | None = None) -> Tried:
    """Return what a step comes to: of the normalised size, or of another."""
    gradient = held.gradient(held.residual(now.prediction), now.support, len(now.support))
    places = gradient.places(now.support)
    normal = normalised_step(held, now, gradient.values[places])
    mu = normal if size is None else torch.full_like(normal, size)
    found = try_step(Step(held, now, gradient, places, gradient.moved(mu, places, now.weights), mu))
    assert found is not None
    return found


def assert_same(one: Tried, other: Tried) -> None:
    assert (one.size, one.longest) == pytest.approx((other.size, other.longest), rel=1e-12)
    assert np.array_equal(one.after.known, other.after.known)
    assert one.after.support.tolist() == one.after.known.tolist()
    for name in ("weights", "prediction"):
        torch.testing.assert_close(getattr(one.after, name), getattr(other.after, name), rtol=1e-12, atol=1e-12)
    assert one.after.objective == pytest.approx(other.after.objective, rel=1e-12)


def test_what_was_assumed_wrongly_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a support that changes or stays, and of columns that are held or not."""
    held, seen = dictionary(), set[bool]()
    now = first_iterate(held)
    for _ in range(25):
        unasked = tried(held, replace(now, repeats=0))
        seen.add(unasked.after.repeats > 0)
        assumed = tried(held, replace(now, repeats=1))
        assert_same(unasked, assumed)
        assert bool(assumed.after.repeats) == bool(unasked.after.repeats)
        other = replace(now, columns=held.products(now.support, isinstance(now.columns, Combination)))
        assert_same(unasked, tried(held, other))
        now = unasked.after
    assert seen == {True, False}


def test_equal_sizes_are_settled_to_the_first() -> None:
    held = dictionary()
    now = first_iterate(held)
    still = tried(held, replace(now, weights=torch.zeros_like(now.weights)), 0.0)
    assert still.after.known.tolist() == list(range(9))


def test_a_gradient_that_is_not_finite_is_told() -> None:
    held = dictionary()
    now = first_iterate(held)
    gradient = held.gradient(torch.full_like(now.prediction, torch.nan), now.support, 9)
    places = gradient.places(now.support)
    assert try_step(Step(held, now, gradient, places, gradient.moved(1.0, places, now.weights))) is None

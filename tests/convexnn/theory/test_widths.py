"""Widths of which a certificate speaks, against the objective of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.theory import width_needed

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2], 0)
STRENGTH = 0.01


def network_objective(hidden: Any, out: Any) -> float:
    """Return mean loss plus weight decay of a network with weights (m, d) and (m,)."""
    residual = np.maximum(X @ hidden.T, 0) @ out - Y
    return float(np.square(residual).mean() / 2 + STRENGTH / 2 * (np.square(hidden).sum() + np.square(out).sum()))


def balanced(solution: cx.Solution) -> tuple[Any, Any]:
    """Return the balanced network of the nonzero blocks: weights u / ||u||^1/2 and +-||u||^1/2."""
    assert solution.pair is not None
    blocks = [(block, sign) for part, sign in zip(solution.pair, (1, -1), strict=True) for block in part if block.any()]
    sizes = np.sqrt([np.linalg.norm(block) for block, _ in blocks])
    hidden = np.array([block for block, _ in blocks]) / sizes[:, None]
    return hidden, sizes * [sign for _, sign in blocks]


def test_the_width_is_that_of_a_network_with_the_same_objective() -> None:
    best = cx.global_optimum(X, Y, strength=STRENGTH)
    needed, (hidden, out) = width_needed(best), balanced(best)
    assert needed.neurons == best.width == len(hidden) == best.to_network().n_neurons
    assert network_objective(hidden, out) == pytest.approx(needed.upper, rel=1e-9)
    assert needed.lower == best.bound
    spare = np.zeros((4, 3))
    assert network_objective(np.concatenate([hidden, spare]), np.append(out, np.zeros(4))) == pytest.approx(
        needed.upper, rel=1e-9
    )
    assert needed.covers(needed.neurons)
    assert not needed.covers(needed.neurons - 1)
    # Narrower networks, and others, are not below the bound.
    assert network_objective(hidden[1:], out[1:]) >= needed.lower
    assert f"As to widths: {needed}" in best.ending.replace("\n", " ")


@pytest.mark.parametrize("n", [2, 3, 5])
def test_no_more_neurons_than_rows_and_one_are_needed(n: int) -> None:
    rng = np.random.default_rng(n)
    rows, y = rng.standard_normal((n, 3)), rng.standard_normal(n)
    needed = width_needed(cx.global_optimum(rows, y, strength=1e-3))
    assert needed.enough == n + 1
    assert needed.neurons <= needed.enough


def test_outputs_have_neurons_of_their_own() -> None:
    targets = np.column_stack([Y, np.maximum(X[:, 1], 0)])
    best = cx.global_optimum(X, targets, strength=STRENGTH)
    needed = width_needed(best)
    assert needed.enough == 41 * 2
    assert needed.neurons == sum(int(part.any(axis=1).sum()) for part in best.pair or ())


def test_a_certificate_of_some_patterns_speaks_of_networks_with_these() -> None:
    some = cx.solve(
        cx.ConvexProgram(X, Y, cx.sample_patterns(X, 5, seed=0), penalty="group_l1", strength=STRENGTH, cone=True)
    )
    # Networks with other patterns are better than the best with these, so that it does not speak of all.
    needed, best = width_needed(some), width_needed(cx.global_optimum(X, Y, strength=STRENGTH))
    assert best.upper < needed.lower
    assert (needed.patterns, best.patterns) == (len(some.program.patterns), None)
    assert str(needed).startswith(f"of those with the {needed.patterns} patterns held alone: networks of ")
    assert str(best).startswith("networks of ")


@pytest.mark.parametrize("penalty", ["ridge", "feature_l1"])
def test_a_penalty_that_is_no_sum_over_neurons_is_refused(penalty: str) -> None:
    # With a ridge the one optimum has a block for each of the patterns, which may be more than rows and one.
    rows, y = X[:5], Y[:5] + 1.0
    patterns = cx.sample_patterns(rows, 40, seed=0)
    found = cx.solve(cx.ConvexProgram(rows, y, patterns, penalty=penalty, strength=0.1))
    assert penalty != "ridge" or len(found.live) > len(rows) + 1
    with pytest.raises(ValueError, match=f"solution has penalty '{penalty}', no sum of norms of neurons; expected gr"):
        width_needed(found)


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(TypeError, match="solution is a int; expected a Solution from solve or global_optimum"):
        width_needed(3)  # type: ignore[arg-type]
    budget = cx.solve(cx.ConvexProgram(X, Y, cx.sample_patterns(X, 5), budget=4))
    with pytest.raises(ValueError, match="solution has no gap; expected one of a program with a penalty"):
        width_needed(budget)

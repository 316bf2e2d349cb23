"""Gates that a solution does not hold: new, priced as the definition says, and worth what they say."""

from __future__ import annotations

import numpy as np
import pytest

import convexnn as cx
from convexnn.optimum.gates import mask_keys


@pytest.mark.parametrize("cone", [True, False])
@pytest.mark.parametrize("penalty", ["group_l1", "l1"])
def test_priced_gates_are_new_and_lower_the_objective(cone: bool, penalty: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50, 7))
    y = np.maximum(X[:, 0] - X[:, 1], 0.0) - np.maximum(X[:, 2], 0.0)

    def solved(patterns: cx.ActivationPatterns) -> cx.Solution:
        return cx.solve(cx.ConvexProgram(X, y, patterns, penalty=penalty, strength=0.02, cone=cone), tolerance=1e-5)

    solution = solved(cx.sample_patterns(X, 4))
    found = cx.price(solution, 6)
    assert 0 < len(found) <= 6
    assert found.prices[0] > 1.0
    assert "worth adding" in str(found)
    gates = solution.program.patterns.generators
    assert not set(mask_keys(X, gates)) & set(mask_keys(X, found.generators))
    theta = solution.dual
    assert theta is not None
    order = {("group_l1", True): 2, ("l1", True): 1}.get((penalty, cone))
    for gate, price in zip(found.generators, found.prices, strict=True):
        if cone:
            value = abs(np.maximum(X @ gate, 0.0) @ theta[:, 0]) / np.linalg.norm(gate, order)
        else:
            value = np.linalg.norm(((X @ gate >= 0) * theta[:, 0]) @ X, 2 if penalty == "group_l1" else np.inf)
        assert price == pytest.approx(value / 0.02)
    better = solved(cx.sample_patterns(X, generators=np.concatenate([gates, found.generators])))
    assert better.objective < solution.objective


def test_an_optimum_over_all_patterns_misses_nothing() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    best = cx.global_optimum(X, np.abs(X[:, 0]), strength=0.01, tolerance=1e-6)
    assert all(cx.price(best, 5).prices <= 1.001)


def test_programs_without_prices_are_refused() -> None:
    X = np.random.default_rng(0).standard_normal((20, 3))
    patterns = cx.sample_patterns(X, 5)
    ridge = cx.solve(cx.ConvexProgram(X, X[:, 0], patterns, penalty="ridge", strength=0.1))
    with pytest.raises(ValueError, match="penalty is 'ridge': it is paid by the square"):
        cx.price(ridge)
    budget = cx.solve(cx.ConvexProgram(X, X[:, 0], patterns, budget=4), "niht")
    with pytest.raises(ValueError, match="a program with a budget; expected a penalty: group_l1, l1"):
        cx.price(budget)
    with pytest.raises(TypeError, match="solution is a int"):
        cx.price(3)  # type: ignore[arg-type]

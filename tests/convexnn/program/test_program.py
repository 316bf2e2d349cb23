"""Programs, losses and penalties: values, gradients, duals, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.program.penalties import PENALTIES, into_ball
from tests.helpers import zoo

X, Y = zoo.data()
PATTERNS = zoo.patterns(X)

PENALISED = [name for name in PENALTIES if name != "none"]


@pytest.mark.parametrize("penalty", PENALISED)
@pytest.mark.parametrize("seed", range(5))
def test_a_lower_bound_is_below_every_objective(penalty: str, seed: int) -> None:
    program = cx.ConvexProgram(X, Y, PATTERNS, penalty=penalty, strength=0.05)
    A = zoo.dense_matrix(X, PATTERNS)
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(PATTERNS.features.shape) * 0.1
    theta = rng.standard_normal(len(Y)) / len(Y)
    bound = program.lower_bound(theta[:, None], (A.T @ theta).reshape(weights.shape))
    assert bound <= program.objective(A @ weights.ravel(), weights)
    assert bound <= program.objective(np.zeros(len(Y)), 0 * weights)


@pytest.mark.parametrize("penalty", PENALISED)
def test_a_penalty_and_its_conjugate_satisfy_fenchel_young(penalty: str) -> None:
    rng = np.random.default_rng(1)
    room, strength = PENALTIES[penalty], 0.3
    for _ in range(20):
        weights, slope = rng.standard_normal((2, 6, 4))
        slope = slope * into_ball(room.dual_norm(slope), strength)
        left = strength * room.value(weights) + room.conjugate(slope, strength)
        assert left >= (weights * slope).sum() - 1e-12


def test_a_budget_has_no_lower_bound() -> None:
    program = cx.ConvexProgram(X, Y, PATTERNS, budget=3)
    with pytest.raises(TypeError, match="a budget has no dual bound"):
        program.lower_bound(program.targets, PATTERNS.generators)


def test_zero_weights_have_the_loss_of_the_target() -> None:
    program = cx.ConvexProgram(X, Y, PATTERNS, budget=3)
    assert program.objective(np.zeros(len(Y)), 0 * PATTERNS.generators) == pytest.approx(Y @ Y / (2 * len(Y)))


def test_it_reads_well() -> None:
    assert str(cx.ConvexProgram(X, Y, PATTERNS, budget=3)) == (
        "squared loss, at most 3 of 40 weights; 30 rows, 5 features, 8 patterns"
    )
    assert str(cx.ConvexProgram(X, Y, PATTERNS, penalty="l1", strength=0.01)) == (
        "squared loss + 0.01 * l1, 40 weights; 30 rows, 5 features, 8 patterns"
    )


def test_lists_integers_and_torch_tensors_are_taken() -> None:
    import torch

    for given in (X.tolist(), torch.tensor(X)):
        assert np.array_equal(cx.ConvexProgram(given, Y.tolist(), PATTERNS, budget=1).X, X)
    whole = np.rint(3 * X).astype(int)
    assert cx.ConvexProgram(whole, np.arange(30), PATTERNS, budget=1).X.dtype == np.float64


def test_the_callers_arrays_are_copied() -> None:
    rows, target = X.copy(), Y.copy()
    program = cx.ConvexProgram(rows, target, PATTERNS, budget=1)
    rows[:], target[:] = 0.0, 0.0
    assert np.array_equal(program.X, X)
    assert np.array_equal(program.y, Y)
    with pytest.raises(ValueError, match="read-only"):
        program.X[0, 0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"y": []}, ValueError, "y has shape (0,); expected a vector of shape (30,)"),
        ({"y": np.ones(30)}, ValueError, "y is constant (1)"),
        ({"y": Y[:-1]}, ValueError, "y has shape (29,); expected a vector of shape (30,)"),
        ({"y": Y[:-1, None]}, ValueError, "y has shape (29, 1); expected (30, k), one row per row of X"),
        ({"y": Y[:, None, None]}, ValueError, "y has shape (30, 1, 1); expected a vector of shape (30,)"),
        ({"y": np.ones((30, 2))}, ValueError, "y is constant (1)"),
        ({"loss": "logistic"}, ValueError, "y has 30 labels; the logistic loss expects exactly 2 (more: loss='softmax"),
        (
            {"loss": "logistic", "y": Y[:, None] > 0},
            ValueError,
            "y has shape (30, 1); expected a vector of shape (30,)",
        ),
        ({"loss": "softmax", "y": ["a"] * 30}, ValueError, "y has one label (a) alone; expected at least 2"),
        ({"loss": "softmax", "y": np.where(Y > 1, np.nan, 1.0)}, ValueError, "y holds nan; expected a vector"),
        ({"loss": "softmax", "y": [1, "a", None] * 10}, TypeError, "y mixes labels that have no order"),
        ({"cone": True}, ValueError, "cone is True with a budget; expected a penalty"),
        ({"cone": "yes"}, TypeError, "cone is 'yes'; expected True or False"),
        ({"bias": True}, ValueError, "bias is True and the patterns were sampled without one; expected sample_pattern"),
        ({"budget_per_neuron": 0}, ValueError, "budget_per_neuron is 0; expected a whole number of at least 1"),
        (
            {"budget": None, "penalty": "l1", "strength": 1.0, "budget_per_neuron": 2},
            ValueError,
            "budget_per_neuron is 2 without a budget",
        ),
        ({"budget": None, "penalty": "none", "strength": 1.0}, ValueError, "strength is 1.0 without a penalty"),
        ({"y": np.where(Y > 1, np.nan, Y)}, ValueError, "y holds nan at index"),
        ({"y": ["a"] * 30}, TypeError, "y cannot be read as real numbers"),
        ({"y": Y * 1e155}, ValueError, "expected at most 1e50, the largest at least 1e-50"),
        ({"y": Y * 1e-200}, ValueError, "y has entries of size"),
        ({"X": X * 1e155}, ValueError, "X has entries of size"),
        ({"penalty": np.array(["l1"]), "budget": None}, ValueError, "penalty array(['l1'], dtype='<U2') is unknown"),
        ({"X": X[:1]}, ValueError, "X has shape (1, 5); expected at least 2 rows"),
        ({"X": X[:, :4]}, ValueError, "patterns are over 5 features; expected 4"),
        ({"patterns": X}, TypeError, "patterns is a ndarray; expected ActivationPatterns"),
        ({"loss": "hinge"}, ValueError, "loss 'hinge' is unknown; expected one of: squared"),
        ({"budget": 0}, ValueError, "budget is 0; expected a whole number of at least 1"),
        ({"budget": -3}, ValueError, "budget is -3"),
        ({"budget": 2.0}, TypeError, "budget is 2.0; expected a whole number"),
        ({"budget": True}, TypeError, "budget is True; expected a whole number"),
        ({"budget": 41}, ValueError, "budget is 41; expected at most 40, the weights of the program"),
        ({"budget": None}, ValueError, "neither of budget and penalty given"),
        ({"penalty": "l1"}, ValueError, "both of budget and penalty given"),
        (
            {"budget": None, "penalty": "l2", "strength": 1.0},
            ValueError,
            "penalty 'l2' is unknown; expected one of: group_l1",
        ),
        ({"budget": None, "penalty": "l1"}, ValueError, "penalty is 'l1' without strength"),
        ({"budget": None, "penalty": "l1", "strength": -1.0}, ValueError, "strength is -1.0"),
        ({"budget": None, "penalty": "l1", "strength": 0}, ValueError, "strength is 0; expected a number above 0"),
        ({"budget": None, "penalty": "l1", "strength": "1"}, TypeError, "strength is '1'; expected a number"),
        ({"strength": 1.0}, ValueError, "strength is 1.0 without a penalty"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"X": X, "y": Y, "patterns": PATTERNS, "budget": 3}
    with pytest.raises(error) as caught:
        cx.ConvexProgram(**good | arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)

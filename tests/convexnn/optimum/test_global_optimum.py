"""The optimum over all patterns: against enumeration, its bound against networks, limits, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.checks import Floats
from convexnn.optimum.bounds import level_for, proven_bound
from convexnn.optimum.gates import mask_keys, new_gates
from convexnn.optimum.result import OptimumProgress


def data(n: int, d: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Return rows and a target of two neurons with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal(d), 0.0) - np.maximum(X @ rng.standard_normal(d), 0.0)
    return X, y + 0.1 * rng.standard_normal(n)


def target_of(loss: str, y: Floats) -> Any:
    """Return the numbers, or labels of their size."""
    return {"squared": y, "logistic": y > np.median(y), "softmax": np.digitize(y, np.quantile(y, [0.3, 0.6]))}[loss]


# Rows, inputs, loss, penalty, cone, bias, outputs.
PROBLEMS = [
    (25, 1, "squared", "group_l1", True, True, 1),
    (60, 2, "squared", "group_l1", True, False, 1),
    (30, 3, "squared", "group_l1", True, False, 1),
    (20, 2, "squared", "group_l1", True, True, 2),
    (25, 3, "squared", "l1", True, False, 1),
    (25, 2, "logistic", "group_l1", True, False, 1),
    (20, 3, "logistic", "l1", True, False, 1),
    (40, 1, "squared", "group_l1", False, True, 1),
    (40, 2, "squared", "group_l1", False, False, 1),
    (10, 3, "squared", "l1", False, False, 1),
    (30, 2, "logistic", "group_l1", False, False, 2),
    (12, 2, "softmax", "group_l1", False, False, 3),
]


@pytest.mark.parametrize(("n", "d", "loss", "penalty", "cone", "bias", "outputs"), PROBLEMS)
def test_the_optimum_is_that_of_all_enumerated_patterns(
    n: int, d: int, loss: str, penalty: str, cone: bool, bias: bool, outputs: int
) -> None:
    X, numbers = data(n, d, seed=n + d)
    y = target_of(loss, numbers)
    if loss == "squared" and outputs == 2:
        y = np.column_stack([y, X[:, 0] ** 2])
    every = cx.sample_patterns(X, kind="enumerate", bias=bias)
    largest = cx.strength_max(cx.ConvexProgram(X, y, every, loss=loss, penalty=penalty, strength=1.0, cone=cone))
    program = cx.ConvexProgram(X, y, every, loss=loss, penalty=penalty, strength=0.1 * largest, cone=cone)
    # First-order solvers, all there is for these, take long for more.
    tolerance = 1e-3 if loss == "softmax" else 1e-7 if cone else 1e-6
    reference = cx.solve(program, tolerance=0.1 * tolerance)
    found = cx.global_optimum(
        X, y, strength=0.1 * largest, loss=loss, penalty=penalty, cone=cone, bias=bias, tolerance=tolerance
    )
    scale = program.zero_loss
    assert found.status is cx.Status.CONVERGED, str(found)
    assert found.gap is not None
    assert reference.gap is not None
    assert found.gap <= tolerance * scale
    assert abs(found.objective - reference.objective) <= found.gap + reference.gap + 1e-12 * scale
    assert found.bound <= reference.objective + 1e-13 * scale
    assert len(found.program.patterns) < len(every) or len(every) < 10


def test_the_bound_is_below_every_network() -> None:
    X, y = data(50, 3)
    found = cx.global_optimum(X, y, strength=0.02)
    rng = np.random.default_rng(1)
    for width in (1, 3, 10):
        for _ in range(50):
            hidden, out = rng.standard_normal((width, 3)), 0.3 * rng.standard_normal(width)
            paid = 0.02 * np.linalg.norm(hidden, axis=1) @ np.abs(out)
            loss = np.square(np.maximum(X @ hidden.T, 0.0) @ out - y).mean() / 2
            assert found.bound <= loss + paid
    network = found.to_network()
    np.testing.assert_allclose(network.predict(X).ravel(), found.predict(X), atol=1e-9)
    assert "to all patterns" in str(found)
    assert found.gap_of_patterns is not None
    assert found.gap is not None
    assert found.gap_of_patterns <= found.gap


def test_sampled_gates_are_above_it() -> None:
    X, y = data(80, 4)
    found = cx.global_optimum(X, y, strength=0.01)
    patterns = cx.sample_patterns(X, 40)
    sampled = cx.solve(cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.01, cone=True))
    assert found.objective < 0.95 * sampled.objective
    assert sampled.gap_of_patterns is None
    assert len(found.program.patterns) < 40


@pytest.mark.parametrize("cone", [True, False])
@pytest.mark.parametrize("penalty", ["group_l1", "l1"])
def test_strong_penalties_leave_nothing(cone: bool, penalty: str) -> None:
    X, y = data(30, 2)
    every = cx.sample_patterns(X, kind="enumerate")
    largest = cx.strength_max(cx.ConvexProgram(X, y, every, penalty=penalty, strength=1.0, cone=cone))
    found = cx.global_optimum(X, y, strength=1.001 * largest, penalty=penalty, cone=cone)
    assert (found.nnz, found.gap, found.status) == (0, 0.0, cx.Status.CONVERGED)
    assert "zero weights are optimal" in str(found)
    assert found.objective == found.program.zero_loss


@pytest.mark.parametrize("kind", ["repeated", "zero rows", "few rows", "zero column"])
def test_degenerate_data(kind: str) -> None:
    X, y = data(12, 3, seed=3)
    if kind == "repeated":
        X[1], X[2] = X[0], -2.0 * X[0]
    elif kind == "zero rows":
        X[:2] = 0.0
    elif kind == "few rows":
        X, y = X[:2], y[:2]
    else:
        X[:, 1] = 0.0
    found = cx.global_optimum(X, y, strength=0.01, tolerance=1e-4)
    assert found.status is cx.Status.CONVERGED, str(found)


@pytest.mark.parametrize("power", [-8, 8])
def test_units_change_nothing(power: int) -> None:
    X, y = data(30, 2)
    unit = 10.0**power
    plain = cx.global_optimum(X, y, strength=0.02, tolerance=1e-5)
    scaled = cx.global_optimum(unit * X, y, strength=0.02 * unit, tolerance=1e-5)
    assert scaled.status is cx.Status.CONVERGED
    assert scaled.objective == pytest.approx(plain.objective, abs=2e-5 * plain.program.zero_loss)


def test_what_cannot_be_proven_is_not_said() -> None:
    X, y = data(40, 13)
    found = cx.global_optimum(X, y, strength=0.2, tolerance=1e-3)
    assert found.status is cx.Status.SEARCH_ENDED
    assert "more than 12 inputs" in found.ending
    assert found.gap is not None
    assert found.gap > 1e-3 * found.program.zero_loss
    X, y = data(60, 6)
    gated = cx.global_optimum(X, y, strength=0.1, cone=False, tolerance=1e-2)
    assert gated.status is cx.Status.SEARCH_ENDED
    assert "too many patterns to list" in gated.ending


def test_no_time_leaves_a_network_and_a_bound() -> None:
    X, y = data(60, 3)
    found = cx.global_optimum(X, y, strength=0.01, time_limit=0.0)
    assert found.status is cx.Status.TIME_LIMIT
    assert 0.0 <= found.bound <= found.objective <= found.program.zero_loss
    with pytest.raises(ValueError, match="time_limit is -1"):
        cx.global_optimum(X, y, strength=0.01, time_limit=-1)


def test_an_interruption_keeps_the_best() -> None:
    X, y = data(60, 3)
    seen: list[OptimumProgress] = []

    def stop(progress: OptimumProgress) -> None:
        seen.append(progress)
        if progress.iteration == 3:
            raise KeyboardInterrupt

    found = cx.global_optimum(X, y, strength=0.01, callback=stop)
    assert found.status is cx.Status.INTERRUPTED
    assert seen[-1].best == min(progress.objective for progress in seen)
    # The same but for rounding where neurons of one gate are one.
    assert found.objective == pytest.approx(seen[-1].best)
    assert found.bound <= found.objective
    assert found.rounds == tuple(seen)
    assert list(found.history) == [progress.best for progress in seen]


def test_the_run_is_drawn() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    X, y = data(40, 2)
    axes = cx.global_optimum(X, y, strength=0.01).plot()
    assert [line.get_label() for line in axes.lines] == ["objective of the network", "proven bound, any network"]
    import matplotlib.pyplot as plt

    plt.close(axes.figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "ridge"}, "penalty is 'ridge': it is paid by the square"),
        ({"penalty": "feature_l1"}, "penalty is 'feature_l1': its groups run over all neurons"),
        ({"penalty": "none"}, "penalty is 'none': nothing is paid for a neuron"),
        ({"penalty": "l2"}, "penalty 'l2' is unknown"),
        ({"strength": 0.0}, "strength is 0.0; expected a number above 0"),
        ({"strength": None}, "strength is None; expected a number above 0"),
        ({"tolerance": 0}, "tolerance is 0; expected a number above 0"),
        ({"loss": "hinge"}, "loss 'hinge' is unknown"),
    ],
)
def test_bad_input_is_one_line(options: dict[str, Any], message: str) -> None:
    X, y = data(10, 2)
    with pytest.raises(ValueError, match=message) as caught:
        cx.global_optimum(X, y, **({"strength": 0.1} | options))
    assert "\n" not in str(caught.value)


def test_the_bound_falls_as_prices_rise_and_the_level_meets_it() -> None:
    X, y = data(40, 2)
    found = cx.global_optimum(X, y, strength=0.02, tolerance=1e-7)
    theta = found.dual
    assert theta is not None
    bounds = [proven_bound(found.program, theta, most) for most in (0.02, 0.021, 0.03, 1.0)]
    assert bounds == sorted(bounds, reverse=True)
    level = level_for(found.program, theta, bounds[2])
    assert level is not None
    assert level == pytest.approx(0.03)
    assert proven_bound(found.program, theta, level) >= bounds[2]
    assert level_for(found.program, theta, found.objective * 1.01) is None


def test_new_gates_have_new_patterns_and_directions() -> None:
    rng = np.random.default_rng(0)
    rows, gates = rng.standard_normal((15, 3)), rng.standard_normal((40, 3))
    held = set(mask_keys(rows, gates[:10]))
    candidates = np.concatenate([2.0 * gates[:10], gates[10:], gates[10:], np.zeros((1, 3))])
    fresh = new_gates(rows, candidates, held, 12)
    assert 0 < len(fresh) <= 12
    keys = mask_keys(rows, fresh)
    assert len(set(keys)) == len(keys)
    assert not held & set(keys)
    cosines = fresh @ fresh.T - np.eye(len(fresh))
    assert cosines.max() <= 0.98 + 1e-12


def test_a_solver_that_stops_short_is_helped() -> None:
    # The interior point method ends at a gap of 1e-6 here, and at first this was all there was.
    rng = np.random.default_rng(124)
    rng.integers(1, 4), rng.integers(2), rng.integers(5, 21)
    X = rng.standard_normal((18, 3))
    y = np.maximum(X @ rng.standard_normal(3), 0.0) - np.maximum(X @ rng.standard_normal(3), 0.0)
    y += 0.1 * rng.standard_normal(18)
    found = cx.global_optimum(X, y, strength=0.07816221421796091, penalty="l1", tolerance=1e-7)
    assert found.status is cx.Status.CONVERGED

"""Theory against enumeration, definitions, finite differences and other people's fits."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any, cast

import numpy as np
import pytest

import convexnn as cx
from convexnn import theory
from convexnn.checks import Floats
from convexnn.theory import constants
from convexnn.theory.supports import design, eigenvalues
from convexnn.theory.supports.curvature import hessians
from convexnn.theory.supports.fits import fit_supports
from tests.helpers import zoo
from tests.helpers.zoo import LOSS_OUTPUTS
from tests.helpers.zoo import smooth_program as program

X, Y = zoo.data(40, 4)
KINDS, ORDERS = ("gaussian", "sparse"), (None, 1)


def small(seed: int) -> cx.ConvexProgram:
    """Return a squared-loss program with at most 10 weights, with a ridge in every third."""
    rng = np.random.default_rng(seed)
    n, d, gates, outputs = rng.integers([6, 1, 1, 1], [30, 4, 4, 3])
    rows = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d)
    target = rng.standard_normal((n, outputs))
    patterns = cx.sample_patterns(rows, int(gates), kind=KINDS[seed % 2], order=ORDERS[seed % 2], seed=rng)
    while len(patterns) * d * outputs > 10:
        patterns = cx.sample_patterns(rows, generators=patterns.generators[:-1])
    budget = int(rng.integers(1, patterns.features.sum() * outputs + 1))
    ridge: dict[str, Any] = {} if seed % 3 else {"penalty": "ridge", "strength": float(rng.uniform(0.01, 1.0))}
    return cx.ConvexProgram(rows, target, patterns, budget=budget, **ridge)


def hessian_of(asked: cx.ConvexProgram) -> Floats:
    """Return the Hessian of a squared-loss program over the weights that exist, outputs fastest."""
    A = zoo.dense_matrix(asked.rows, asked.patterns)[:, asked.patterns.features.ravel()]
    return np.kron(A.T @ A / len(A), np.eye(asked.n_outputs)) + (asked.strength or 0.0) * np.eye(
        A.shape[1] * asked.n_outputs
    )


def truth(asked: cx.ConvexProgram) -> tuple[float, float]:
    """Return alpha_2s and L_2s by the eigenvalues of every set of at most 2s weights."""
    hessian = hessian_of(asked)
    assert asked.budget is not None
    most = min(2 * asked.budget, len(hessian))
    sets = [list(chosen) for size in range(1, most + 1) for chosen in combinations(range(len(hessian)), size)]
    spectra = [np.linalg.eigvalsh(hessian[np.ix_(chosen, chosen)]) for chosen in sets]
    return min(values[0] for values in spectra), max(values[-1] for values in spectra)


class TestConstants:
    @pytest.mark.parametrize("seed", range(200))
    def test_the_truth_lies_between_the_estimate_and_the_safe_bound(self, seed: int) -> None:
        asked = small(seed)
        alpha, smooth = truth(asked)
        safe, exact = (theory.restricted_smoothness(asked, method=method) for method in ("safe", "exact"))
        drawn = theory.restricted_smoothness(asked, method="monte_carlo", n_samples=50, seed=seed)
        # The estimate is a difference of gradients: it loses what they have in common.
        slack = 1e-9 * smooth
        assert exact.value == pytest.approx(smooth, rel=1e-12)
        assert safe.value >= exact.value
        assert safe.value >= smooth
        assert smooth >= drawn.value - slack
        low, middle = (theory.restricted_strong_convexity(asked, method=method) for method in ("safe", "exact"))
        above = theory.restricted_strong_convexity(asked, method="monte_carlo", n_samples=50, seed=seed)
        assert middle.value == pytest.approx(alpha, rel=1e-9, abs=slack)
        assert low.value - slack <= alpha <= above.value + slack

    @pytest.mark.parametrize("seed", range(200))
    def test_every_bound_is_one(self, seed: int) -> None:
        part = design.smooth_part(small(seed))
        assert part.gram is not None
        for size in range(1, part.n_columns + 1):
            low, high = eigenvalues.set_extremes(part.gram, size)
            assert set(eigenvalues.upper_bounds(part, size)) >= {"column norms", "gates", "Gram rows", "all columns"}
            assert min(eigenvalues.upper_bounds(part, size).values()) >= high
            assert max(eigenvalues.lower_bounds(part, size).values()) <= max(low, 0.0) + 1e-12 * high

    def test_rounding_is_outward(self) -> None:
        """For one entry the constant is the largest mean square of a column, here in rational arithmetic."""
        for seed in range(50):
            rows = np.random.default_rng(seed).standard_normal((7, 1)) / 3.0
            exact = sum(Fraction(value) ** 2 for value in rows[:, 0]) / 7
            gates = cx.sample_patterns(np.abs(rows), generators=[[1.0]])
            part = design.Design(cx.ConvexProgram(np.abs(rows), rows[:, 0], gates, budget=1))
            assert all(Fraction(bound) >= exact for bound in eigenvalues.upper_bounds(part, 1).values())

    def test_bounds_without_held_columns_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = program(budget=2)
        exact = theory.restricted_smoothness(asked, method="exact").value
        monkeypatch.setattr(design, "HELD_ENTRIES", 0)
        safe = theory.restricted_smoothness(asked)
        assert safe.by in ("column norms", "gates")
        assert safe.value >= exact
        assert theory.restricted_strong_convexity(asked).value == 0.0
        with pytest.raises(ValueError, match="method is 'exact' for 4 of 32 columns"):
            theory.restricted_smoothness(asked, method="exact")

    @pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
    @pytest.mark.parametrize("sparsity", [1, 2, 5])
    def test_no_point_is_more_curved_than_the_safe_bound(self, loss: str, outputs: int, sparsity: int) -> None:
        asked, rng = program(loss, outputs), np.random.default_rng(0)
        part, safe = design.smooth_part(asked), theory.restricted_smoothness(asked, sparsity).value
        alpha = theory.restricted_strong_convexity(asked, sparsity).value
        assert theory.restricted_smoothness(asked, sparsity, "monte_carlo", n_samples=200).value <= safe
        assert theory.restricted_strong_convexity(asked, sparsity, "monte_carlo", n_samples=200).value >= alpha
        for scale in (0.0, 0.3, 3.0):
            chosen = np.sort(rng.choice(part.size, 2 * sparsity, replace=False))
            values = np.zeros(part.size)
            values[chosen] = scale * rng.standard_normal(2 * sparsity)
            predictions = part.predict(values.reshape(part.n_columns, -1))
            curved = hessians(loss, part.columns(chosen // outputs)[None], (chosen % outputs)[None], predictions[None])[
                0
            ]
            spectrum = np.linalg.eigvalsh(curved) + part.strength
            assert alpha - 1e-12 <= spectrum[0]
            assert spectrum[-1] <= safe

    def test_the_logistic_bound_is_attained_at_zero(self) -> None:
        asked = program("logistic", budget=1)
        part = design.smooth_part(asked)
        assert part.gram is not None
        expected = 0.25 * eigenvalues.set_extremes(part.gram, 2)[1]
        assert theory.restricted_smoothness(asked, method="exact").value == pytest.approx(expected, rel=1e-14)
        assert theory.restricted_smoothness(asked).value == pytest.approx(expected, rel=1e-9)

    def test_the_softmax_bound_is_attained_by_two_classes_at_zero(self) -> None:
        asked = program("softmax", 2)
        part = design.smooth_part(asked)
        columns, outputs = np.repeat(np.arange(part.n_columns), 2), np.tile([0, 1], part.n_columns)
        curved = hessians("softmax", part.columns(columns)[None], outputs[None], np.zeros((1, 40, 2)))[0]
        safe = theory.restricted_smoothness(asked, part.n_columns).value
        assert safe == pytest.approx(np.linalg.eigvalsh(curved)[-1] + 0.05, rel=1e-9)

    def test_many_entries_of_a_softmax_are_not_split(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = program("softmax", 3)
        split = theory.restricted_smoothness(asked, 2).value
        monkeypatch.setattr(constants, "MOST_SPLIT", 3)
        assert theory.restricted_smoothness(asked, 2).value >= split

    def test_the_step_is_one_over_the_constant(self) -> None:
        asked = program(budget=2)
        assert theory.step_size(asked) == 1.0 / theory.restricted_smoothness(asked).value
        drawn = theory.restricted_smoothness(asked, method="monte_carlo", n_samples=9, seed=4)
        assert theory.step_size(asked, method="monte_carlo", n_samples=9, seed=4) == 1.0 / float(drawn)

    def test_it_reads_well(self) -> None:
        asked = program(budget=2)
        assert str(theory.restricted_smoothness(asked, method="exact")).startswith("L_4 = ")
        assert "(1,000 pairs)" in str(theory.restricted_smoothness(asked, method="monte_carlo"))
        assert str(theory.restricted_strong_convexity(asked)).startswith("alpha_4 >= ")


@pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
@pytest.mark.parametrize(("kind", "bias"), [("gaussian", True), ("sparse", False)])
def test_the_gradient_is_that_of_the_objective(
    loss: str, outputs: int, kind: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, rng = program(loss, outputs, kind=kind, bias=bias), np.random.default_rng(0)
    part = design.smooth_part(asked)
    values, along = rng.standard_normal(
        (2, part.n_columns, part.gradient(np.zeros((part.n_columns, asked.n_outputs))).shape[1])
    )
    slope = (part.objective(values + 1e-5 * along) - part.objective(values - 1e-5 * along)) / 2e-5
    assert float((part.gradient(values) * along).sum()) == pytest.approx(slope, rel=1e-6)
    weights = part.weights(values)
    assert np.array_equal(part.values(weights), values)
    prediction = part.predict(values)
    assert part.objective(values) == pytest.approx(asked.objective(prediction, asked.neurons(weights[None])), rel=1e-12)
    held, squares = part.gradient(values), part.squares
    monkeypatch.setattr(design, "HELD_ENTRIES", 0)
    streamed = design.smooth_part(asked)
    assert np.allclose(streamed.gradient(values), held, rtol=1e-12, atol=1e-14)
    assert part.matrix is not None
    assert np.allclose(np.square(part.matrix).mean(axis=0), squares, rtol=1e-12)


def is_stable(asked: cx.ConvexProgram, weights: Floats, step: float, sparsity: int) -> bool:
    """Return whether weights are in H_s(weights - step grad f), by trying every set of s entries."""
    part = design.smooth_part(asked)
    values = part.values(weights)
    moved = (values - step * part.gradient(values)).ravel()
    cap, owner = asked.budget_per_neuron, np.repeat(np.arange(len(asked.patterns)), 4)
    sets = [list(chosen) for size in range(sparsity + 1) for chosen in combinations(range(len(moved)), size)]
    sets = [chosen for chosen in sets if cap is None or np.bincount(owner[chosen], minlength=1).max(initial=0) <= cap]
    kept = max(float(np.square(moved[chosen]).sum()) for chosen in sets)
    own = np.flatnonzero(values.ravel())
    return np.square(moved[own]).sum() >= kept - 1e-10 and np.allclose(moved[own], values.ravel()[own], atol=1e-7)


class TestStability:
    @pytest.mark.parametrize("cap", [None, 1, 2])
    @pytest.mark.parametrize("seed", range(10))
    def test_it_is_what_the_definition_says(self, seed: int, cap: int | None) -> None:
        rng = np.random.default_rng(seed)
        gates = cx.sample_patterns(X, 2, seed=seed)
        asked = cx.ConvexProgram(X, Y, gates, budget=3, budget_per_neuron=cap)
        part, verdicts = design.smooth_part(asked), set()
        for chosen in combinations(range(8), int(rng.integers(1, 4))):
            if cap is not None and np.bincount(np.array(chosen) // 4).max() > cap:
                continue
            values = np.zeros(8)
            values[list(chosen)] = fit_supports(part, np.array([chosen])).weights[0]
            for step in (0.01, theory.step_size(asked), 2.0):
                found = theory.ht_stability(asked, part.weights(values[:, None]), step)
                assert found.stable == is_stable(asked, part.weights(values[:, None]), step, 3)
                assert found.stable == (step <= found.largest_step)
                verdicts.add(found.stable)
        assert False in verdicts or cap == 1

    def test_known_points(self) -> None:
        """On f = 1/2 ||w - t||^2 with t = (3, 2, 1): any pair fitted is stable up to the step |w| / |t| of the rest."""
        rows = np.sqrt(3.0) * np.eye(3)
        gates = cx.sample_patterns(rows, generators=[[1.0, 1.0, 1.0]])
        asked = cx.ConvexProgram(rows, np.sqrt(3.0) * np.array([3.0, 2.0, 1.0]), gates, budget=2)
        worst = theory.ht_stability(asked, [[0.0, 2.0, 1.0]], 0.3)
        assert worst.stable
        assert worst.least == 1.0
        assert worst.largest_step == pytest.approx(1 / 3)
        assert worst.slope_off == pytest.approx(3.0)
        assert not theory.ht_stability(asked, [[0.0, 2.0, 1.0]], 0.4).stable
        assert theory.ht_stability(asked, [[3.0, 2.0, 0.0]]).stable
        assert not theory.ht_stability(asked, [[3.0, 2.1, 0.0]]).stable
        assert theory.ht_stability(asked, [[3.0, 2.1, 0.0]], tolerance=0.11).stable
        assert not theory.ht_stability(asked, [[3.0, 0.0, 0.0]]).stable, "a free entry has a slope"
        assert not theory.ht_stability(asked, np.zeros((1, 3))).stable
        whole = theory.ht_stability(asked, [[3.0, 2.0, 1.0]], sparsity=3)
        assert whole.stable
        assert whole.largest_step == np.inf
        assert "any step keeps the support" in str(whole)
        assert str(worst).startswith("HT-stable to 1e-08 at step 0.3: 2 of 2 nonzeros, the least 1;")

    def test_a_solution_is_taken(self) -> None:
        asked = program(budget=3)
        solution = cx.solve(asked, "htp")
        assert theory.ht_stability(asked, solution).slope_on <= 1e-9


def test_epsilon_is_the_distance_of_objectives() -> None:
    asked = program("softmax", 3, budget=4, penalty="ridge", strength=0.05)
    weights = cx.solve(asked).weights
    dense = cx.solve(program("softmax", 3))
    found = theory.epsilon_optimality(asked, weights, dense.objective)
    again = theory.epsilon_optimality(asked, weights, dense.weights)
    assert found.objective == pytest.approx(cx.solve(asked).objective, rel=1e-12)
    assert again.epsilon == pytest.approx(found.epsilon, rel=1e-9)
    assert found.epsilon == found.objective - found.reference > 0.0
    assert "above the reference" in str(found)
    assert theory.epsilon_optimality(asked, weights, weights).epsilon == 0.0
    assert theory.epsilon_optimality(asked, weights, 0).relative == np.inf


class TestCoverage:
    @pytest.mark.parametrize("kind", ["gaussian", "single", "enumerate"])
    def test_it_is_what_the_definition_says(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "convexnn.theory.coverage.gate_tiles", lambda n, m: [slice(i, min(i + 3, m)) for i in range(0, m, 3)]
        )
        gates = cx.sample_patterns(X, kind=kind, **zoo.FEW[kind])
        active = gates.masks(X)
        found = theory.separation_and_coverage(gates, X)
        apart = {(i, j): (active[:, i] != active[:, j]).mean() for i, j in combinations(range(len(gates)), 2)}
        assert found.coverage == active.mean(axis=0).min() == active[:, found.least_active].mean()
        assert found.separation == min(apart.values())
        assert found.nearest is not None
        assert apart[found.nearest] == found.separation
        assert "coverage epsilon" in str(found)

    def test_one_pattern_has_no_neighbour(self) -> None:
        found = theory.separation_and_coverage(theory.linear_patterns(X), X)
        assert (found.coverage, found.separation, found.nearest) == (1.0, 1.0, None)


class TestSpectrum:
    @pytest.mark.parametrize("unit", [False, True])
    def test_it_lies_within_that_of_all_supports(self, unit: bool) -> None:
        asked = program(budget=3)
        found = theory.restricted_spectrum(asked, n_supports=50, unit_columns=unit)
        A = zoo.dense_matrix(X, asked.patterns)
        A = A / np.sqrt(np.square(A).mean(axis=0)) if unit else A
        low, high = eigenvalues.set_extremes(A.T @ A / 40, 3)
        assert low <= found.alpha <= np.median(found.lowest) <= np.median(found.highest) <= found.beta <= high
        assert found.condition == found.beta / found.alpha
        assert ("unit columns" in str(found)) == unit

    def test_more_columns_than_rows_depend(self) -> None:
        few = cx.ConvexProgram(X[:6], Y[:6], cx.sample_patterns(X[:6], 3, seed=0), budget=8)
        found = theory.restricted_spectrum(few)
        assert found.alpha == 0.0
        assert found.condition == np.inf


def test_a_linear_model_is_one_pattern() -> None:
    rows = X * np.array([1e-8, 1.0, 0.0, 1e8])
    gates = theory.linear_patterns(rows)
    assert gates.masks(1e3 * rows).all()
    assert gates.features.tolist() == [[True] * 5]
    assert cx.ConvexProgram(rows, np.arange(40) % 3, gates, loss="softmax", budget=15).n_weights == 15


GOOD = program(budget=3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: theory.restricted_smoothness(cast(Any, X)),
            TypeError,
            "program is a ndarray; expected a ConvexProgram",
        ),
        (lambda: theory.restricted_smoothness(GOOD, 0), ValueError, "sparsity is 0; expected a whole number"),
        (lambda: theory.restricted_smoothness(GOOD, 33), ValueError, "sparsity is 33; expected at most 32"),
        (lambda: theory.restricted_smoothness(GOOD, cast(Any, 2.0)), TypeError, "sparsity is 2.0"),
        (lambda: theory.restricted_smoothness(program()), ValueError, "sparsity is None and the program has no budget"),
        (lambda: theory.restricted_smoothness(GOOD, method="sure"), ValueError, "method 'sure' is unknown"),
        (lambda: theory.restricted_smoothness(GOOD, method="monte_carlo", n_samples=0), ValueError, "n_samples is 0"),
        (lambda: theory.restricted_smoothness(GOOD, method="monte_carlo", scale=0), ValueError, "scale is 0"),
        (lambda: theory.restricted_smoothness(GOOD, method="monte_carlo", seed=-1), ValueError, "seed is -1"),
        (
            lambda: theory.restricted_smoothness(program("softmax", 3), 2, "exact"),
            ValueError,
            "method is 'exact' with the softmax loss",
        ),
        (
            lambda: theory.restricted_smoothness(program(penalty="l1", strength=1.0, cone=True), 2),
            ValueError,
            "program has cone=True",
        ),
        (lambda: theory.ht_stability(GOOD, np.ones((8, 4))), ValueError, "weights has 32 nonzeros; expected at most 3"),
        (lambda: theory.ht_stability(GOOD, np.ones(32)), ValueError, "weights has shape (32,); expected an array of"),
        (lambda: theory.ht_stability(GOOD, np.ones((4, 8))), ValueError, "weights have shape (4, 8); expected (8, 4)"),
        (lambda: theory.ht_stability(GOOD, np.full((8, 4), np.nan)), ValueError, "weights holds nan"),
        (lambda: theory.ht_stability(GOOD, np.zeros((8, 4)), 0.0), ValueError, "step is 0; expected a number above 0"),
        (lambda: theory.ht_stability(GOOD, np.zeros((8, 4)), tolerance=-1), ValueError, "tolerance is -1"),
        (
            lambda: theory.ht_stability(program(penalty="l1", strength=1.0), np.zeros((8, 4)), sparsity=2),
            ValueError,
            "program has penalty 'l1'",
        ),
        (
            lambda: theory.ht_stability(program(kind="single", budget=8), np.ones((8, 4)), 1.0),
            ValueError,
            "weights has a weight on feature 1, which pattern 0 does not own",
        ),
        (lambda: theory.epsilon_optimality(GOOD, np.zeros((8, 4)), -1.0), ValueError, "reference is -1.0"),
        (lambda: theory.epsilon_optimality(GOOD, np.zeros((8, 4)), "best"), TypeError, "reference cannot be read"),
        (lambda: theory.separation_and_coverage(cast(Any, X), X), TypeError, "patterns is a ndarray"),
        (lambda: theory.separation_and_coverage(GOOD.patterns, X[:, :2]), ValueError, "X has 2 features; expected 4"),
        (lambda: theory.restricted_spectrum(GOOD, n_supports=0), ValueError, "n_supports is 0"),
        (lambda: theory.restricted_spectrum(GOOD, unit_columns=cast(Any, 1)), TypeError, "unit_columns is 1"),
        (lambda: theory.linear_patterns(X[0]), ValueError, "X has shape (4,); expected an array of shape (n, d)"),
    ],
)
def test_bad_input_is_one_clear_line(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)

"""Fits on many supports, the optimum over all of them, and verdicts, against finite differences and others' fits."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge

import convexnn as cx
from convexnn import theory
from convexnn.checks import Floats
from convexnn.program.losses import LOSSES
from convexnn.theory import enumeration
from convexnn.theory.supports import design, separable
from convexnn.theory.supports.curvature import _HESSIANS, hessians
from convexnn.theory.supports.fits import fit_supports
from tests.helpers import zoo
from tests.helpers.zoo import LOSS_OUTPUTS
from tests.helpers.zoo import smooth_program as program

X, Y = zoo.data(40, 4)


@pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
def test_hessians_are_those_of_the_gradients(loss: str, outputs: int) -> None:
    part, rng = design.smooth_part(program(loss, outputs)), np.random.default_rng(1)
    chosen = np.sort(rng.choice(part.size, 5, replace=False))

    def slope(entries: Floats) -> tuple[Floats, Floats]:
        values = np.zeros(part.size)
        values[chosen] = entries
        pages = values.reshape(part.n_columns, -1)
        return (part.gradient(pages) - part.strength * pages).ravel()[chosen], part.predict(pages)

    point = rng.standard_normal(5)
    columns, acting = part.columns(chosen // outputs)[None], (chosen % outputs)[None]
    curved = hessians(loss, columns, acting, slope(point)[1][None])[0]
    for i, unit in enumerate(np.eye(5)):
        assert np.allclose(curved[i], (slope(point + 1e-5 * unit)[0] - slope(point - 1e-5 * unit)[0]) / 2e-5, atol=1e-8)
    assert set(_HESSIANS) == set(LOSSES)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("units", [(1e-8, 1.0), (1e8, 1.0), (1.0, 1e-20), (1e-12, 1e-12)])
def test_the_optimum_over_supports_does_not_depend_on_units(loss: str, units: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, 2))
    numbers = np.maximum(rows[:, 0], 0) + 0.3 * rng.standard_normal(20) + 0.5
    target = numbers if loss == "squared" else np.digitize(numbers, np.quantile(numbers, [0.3, 0.6]))
    target = np.minimum(target, 1) if loss == "logistic" else target

    def optimum(unit: float, unit_of_target: float) -> float:
        y = target * unit_of_target if loss == "squared" else target
        # The gates of both are those of the features as they are, beside a bias that has no unit.
        generators = np.array([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.1]]) / np.array([unit, unit, 1.0])
        patterns = cx.sample_patterns(rows * unit, generators=generators, bias=True)
        asked = cx.ConvexProgram(rows * unit, y, patterns, loss=loss, budget=2)
        return theory.enumerated_optimum(asked).objective / asked.zero_loss

    # Weights that no row is separated by lie far out: their ridge vanishes to some 1e-8.
    assert np.isclose(optimum(*units), optimum(1.0, 1.0), rtol=1e-9 if loss == "squared" else 1e-6)


class TestFits:
    def test_squared_fits_are_those_of_ridge_regression(self) -> None:
        part = design.smooth_part(program())
        supports = np.array([[0, 3, 5], [1, 2, 30], [7, 8, 31]])
        fits = fit_supports(part, supports)
        for support, weights, slope in zip(supports, fits.weights, fits.slopes, strict=True):
            model = Ridge(alpha=0.05 * 40, fit_intercept=False, solver="cholesky").fit(part.columns(support), Y)
            assert np.allclose(weights, model.coef_, rtol=1e-9)
            assert slope <= 1e-12

    @pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
    def test_label_fits_are_those_of_logistic_regression(self, loss: str, outputs: int) -> None:
        asked = program(loss, outputs, penalty="ridge", strength=0.02)
        part = design.smooth_part(asked)
        chosen = np.array([0, 4, 9])
        support = (chosen[:, None] * asked.n_outputs + np.arange(asked.n_outputs)).ravel()
        fits = fit_supports(part, support[None])
        model = LogisticRegression(C=1 / (0.02 * 40), fit_intercept=False, tol=1e-10, max_iter=10_000)
        model.fit(part.columns(chosen), zoo.target(loss, outputs, X, Y))
        expected = model.coef_.T.ravel() if outputs > 1 else model.coef_[0]
        assert np.allclose(fits.weights[0], expected, atol=1e-6)
        assert fits.slopes[0] <= 1e-11

    @pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
    def test_dependent_and_empty_columns_are_fitted_too(self, loss: str, outputs: int) -> None:
        part = design.smooth_part(program(loss, outputs, budget=1))
        support = np.arange(part.size)[None, : 20 * outputs]
        fits = fit_supports(part, support, strength=0.0 if loss == "squared" else 1e-3, tolerance=1e-9)
        assert fits.slopes[0] <= 1e-9

    def test_many_fits_are_made_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        part = design.smooth_part(program("softmax", 3))
        supports = np.array(list(combinations(range(9), 3)))
        whole = fit_supports(part, supports)
        monkeypatch.setattr("convexnn.theory.supports.fits.TILE_ENTRIES", 1000)
        parts = fit_supports(part, supports)
        assert np.allclose(parts.weights, whole.weights, atol=1e-9)
        assert np.allclose(parts.objectives, whole.objectives, rtol=1e-12)


class TestEnumeratedOptimum:
    def test_it_is_that_of_least_squares_on_every_support(self) -> None:
        asked = program(kind="single", budget=3)
        found = theory.enumerated_optimum(asked)
        A = zoo.dense_matrix(X, asked.patterns)[:, asked.patterns.features.ravel()]
        assert found.objective == pytest.approx(zoo.best_subset(A, Y, 3), rel=1e-10)
        assert found.n_supports == len(list(combinations(range(A.shape[1]), 3)))
        assert np.array_equal(np.flatnonzero(found.weights), found.support)
        assert np.allclose(
            design.smooth_part(asked)
            .gradient(design.smooth_part(asked).values(found.weights))
            .ravel()[[list(np.flatnonzero(asked.patterns.features)).index(i) for i in found.support]],
            0.0,
            atol=1e-10,
        )
        assert "optimum" in str(found)

    def test_the_budget_of_a_neuron_is_kept(self) -> None:
        gates = cx.sample_patterns(X, 2, seed=0)
        asked = cx.ConvexProgram(X, Y, gates, budget=5, budget_per_neuron=2)
        found = theory.enumerated_optimum(asked)
        assert found.n_supports == 6 * 6
        assert (np.count_nonzero(found.weights, axis=1) == 2).all()
        alike = [
            list(one) + [4 + i for i in two] for one in combinations(range(4), 2) for two in combinations(range(4), 2)
        ]
        A = zoo.dense_matrix(X, gates)
        assert found.objective == pytest.approx(min(zoo.best_subset(A[:, chosen], Y, 4) for chosen in alike), rel=1e-10)

    def test_an_infimum_is_approached(self) -> None:
        """Setosa is separable from the others: the infimum on Iris is that of the other two classes alone."""
        rows, labels = load_iris(return_X_y=True)
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        asked = cx.ConvexProgram(rows, labels, theory.linear_patterns(rows), loss="softmax", budget=15)
        found = theory.enumerated_optimum(asked)
        model = LogisticRegression(C=1e9, tol=1e-12, max_iter=100_000).fit(rows[50:], labels[50:])
        scores = model.decision_function(rows[50:]) * np.where(labels[50:] == 2, 1.0, -1.0)
        assert found.objective == pytest.approx(np.logaddexp(0.0, -scores).sum() / 150, abs=1e-6)
        assert not found.attained
        assert "infimum" in str(found)

    def test_too_many_supports_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(enumeration, "MOST_SUPPORTS", 100)
        with pytest.raises(ValueError, match=r"sparsity is 3 of 32 weights, .* supports; expected at most 100"):
            theory.enumerated_optimum(program(budget=3))


class TestSeparable:
    @pytest.mark.parametrize("loss", ["logistic", "softmax"])
    def test_it_says_whether_labels_can_be_separated(self, loss: str) -> None:
        line = np.linspace(-1.0, 1.0, 12)[:, None]
        gates = theory.linear_patterns(line)
        for labels, expected in (
            (line[:, 0] > 0.2, True),
            (np.arange(12) % 2, False),
            (np.where(np.arange(12) < 6, 0, np.arange(12) % 2), False),
        ):
            asked = cx.ConvexProgram(line, labels, gates, loss=loss, budget=1)
            assert separable.separates(design.smooth_part(asked)) is expected

    def test_one_class_of_three_is_enough(self) -> None:
        line = np.linspace(-1.0, 1.0, 30)[:, None]
        labels = np.where(np.arange(30) < 10, 0, 1 + np.arange(30) % 2)
        asked = cx.ConvexProgram(line, labels, theory.linear_patterns(line), loss="softmax", budget=1)
        assert separable.separates(design.smooth_part(asked)) is True

    def test_what_is_too_large_is_not_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(separable, "MOST_ENTRIES", 10)
        asked = program("softmax", 3, budget=2)
        assert separable.separates(design.smooth_part(asked)) is None
        assert verdicts(theory.assumptions(asked))["a minimiser on each support"] is None


def verdicts(found: theory.Assumptions) -> dict[str, bool | None]:
    return {assumption.name: assumption.holds for assumption in (*found.recovery, *found.convergence)}


class TestAssumptions:
    def test_orthogonal_columns_leave_room(self) -> None:
        """With Z^T Z = n I beta / alpha is 1, and the 32 entries that s = 1 is relaxed to are fewer than 65 weights."""
        normal = np.random.default_rng(0).standard_normal((2000, 64))
        rows = np.linalg.qr(np.column_stack([np.ones(2000), normal]))[0][:, 1:] * np.sqrt(2000)
        found = theory.assumptions(cx.ConvexProgram(rows, rows[:, 3], theory.linear_patterns(rows), budget=1))
        expected = dict.fromkeys(verdicts(found), True) | {"i.i.d. Gaussian data": None, "planted weights": None}
        assert verdicts(found) == expected
        assert "applies if these hold, which cannot be checked: i.i.d. Gaussian data, planted weights\n" in str(found)
        assert "(arXiv 2404.18414) applies\n" in str(found)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda rows: rows + 0.5, "a mean that is not 0"),
            (lambda rows: rows * [1.0, 1.0, 1.0, 2.0], "variances that differ"),
            (lambda rows: rows @ (np.eye(4) + 0.5), "features that correlate"),
            (lambda rows: np.sign(rows) * rows**2, "tails that are not Gaussian"),
        ],
    )
    def test_data_can_contradict_gaussian_ones(self, change: Any, words: str) -> None:
        rows = np.random.default_rng(0).standard_normal((500, 4))
        for data, holds in ((rows, None), (change(rows), False)):
            asked = cx.ConvexProgram(data, data[:, 0] ** 2, cx.sample_patterns(data, 3, seed=0), budget=2)
            assert verdicts(theory.assumptions(asked))["i.i.d. Gaussian data"] is holds
        assert words in str(theory.assumptions(asked))

    def test_few_rows_and_a_constant_feature(self) -> None:
        few = cx.ConvexProgram(X[:15], Y[:15], cx.sample_patterns(X[:15], 2, seed=0), budget=1)
        assert "15 rows say too little" in str(theory.assumptions(few))
        rows = X * [1.0, 0.0, 1.0, 1.0]
        constant = cx.ConvexProgram(rows, Y, cx.sample_patterns(rows, 2, seed=0), budget=1)
        assert "Feature 1 is constant" in str(theory.assumptions(constant))

    def test_labels_that_separate_have_no_minimiser_without_a_ridge(self) -> None:
        rows, labels = load_iris(return_X_y=True)
        gates = theory.linear_patterns(rows)
        plain = cx.ConvexProgram(rows, labels, gates, loss="softmax", budget=5)
        ridge = cx.ConvexProgram(rows, labels, gates, loss="softmax", budget=5, penalty="ridge", strength=0.01)
        assert verdicts(theory.assumptions(plain))["a minimiser on each support"] is False
        assert "take a ridge" in str(theory.assumptions(plain))
        assert verdicts(theory.assumptions(ridge))["a minimiser on each support"] is True
        assert verdicts(theory.assumptions(ridge))["a linear rate (alpha_2s > 0)"] is True
        assert verdicts(theory.assumptions(ridge))["i.i.d. Gaussian data"] is False
        assert verdicts(theory.assumptions(plain, 8))["s at most half of the weights"] is False

    def test_dependent_columns_fail(self) -> None:
        gates = cx.sample_patterns(X, generators=np.vstack([np.eye(4)[:1], -np.eye(4)[:1], np.ones((1, 4))]))
        gates.features[:] = True
        twice = cx.ConvexProgram(X[:6], Y[:6], gates, budget=6)
        assert verdicts(theory.assumptions(twice))["alpha > 0 on all supports"] is False

    def test_a_penalty_without_a_gradient_fails(self) -> None:
        lasso = program(penalty="l1", strength=0.1)
        assert verdicts(theory.assumptions(lasso, 3))["restricted smoothness"] is False

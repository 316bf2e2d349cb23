"""The estimators: scikit-learn's own checks in full, networks on raw features, files, and bad input in one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import convexnn as cx
from convexnn.estimators.defaults import network_size, noise_deviation, noise_ridge
from convexnn.estimators.scaling import Scaling, constant_network, to_raw, to_scaled
from convexnn.fitting.fit_network import fit_network
from convexnn.network import SparseReLUNetwork
from convexnn.program.losses import LOSSES
from convexnn.solution import Status
from convexnn.solvers.common.deadline import Deadline

Regressor: Any = partial(cx.SparseReLURegressor, random_state=0)
Classifier: Any = partial(cx.SparseReLUClassifier, random_state=0)


# Both compare with rows that are repeated and shuffled: batches are drawn by the rows' places. That weights are as good
# as repetitions in the same order is tested in test_weights.py.
ORDER = {
    f"check_sample_weight_equivalence_on_{kind}_data": "the search depends on the order of rows"
    for kind in ("dense", "sparse")
}


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [cx.SparseReLURegressor(epochs=12), cx.SparseReLUClassifier(epochs=12)],
    expected_failed_checks=lambda estimator: ORDER,
)
def test_the_checks_of_scikit_learn_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def weights(network: SparseReLUNetwork) -> int:
    return sum(int(weight.nnz) for weight, _ in network.layers)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Features of very different size, one of them constant, and a target of a sparse network."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6)) * [1.0, 1e-6, 1e6, 10.0, 1.0, 0.0] + [0.0, 1.0, -1e7, 3.0, 0.0, 5.0]
    return X, 1e4 + 50.0 * np.maximum(X[:, 0] + (X[:, 2] + 1e7) / 1e6, 0.0)


class TestScaling:
    @pytest.mark.parametrize("shift", [True, False])
    def test_a_network_computes_the_same_on_raw_features(self, shift: bool) -> None:
        rng = np.random.default_rng(1)
        X = rng.normal(3.0, 2.0, (40, 4))
        X[:, 2] = 7.0
        Y = rng.normal(-5.0, 9.0, (40, 2))
        inputs, outputs = Scaling.of(X, shift), Scaling.of(Y, shift)
        rows = inputs.apply(X)
        first = sp.random_array((5, rows.shape[1]), density=0.5, rng=rng)
        scaled = SparseReLUNetwork([(first, rng.standard_normal(5)), (rng.standard_normal((2, 5)), None)])
        raw = to_raw(scaled, inputs, outputs)
        expected = scaled.predict(rows) * outputs.deviations + outputs.centres
        np.testing.assert_allclose(raw.predict(X), expected, rtol=1e-12)
        assert weights(raw) == weights(scaled)
        assert raw.layers[0][0].shape == (5, 4)
        back = to_scaled(raw, inputs, outputs)
        for (weight, bias), (other, shifted) in zip(back.layers, scaled.layers, strict=True):
            np.testing.assert_allclose(weight.toarray(), other.toarray(), atol=1e-12)
            np.testing.assert_allclose(bias, shifted, atol=1e-12)

    def test_columns_of_any_size_come_out_alike(self) -> None:
        column = np.random.default_rng(0).standard_normal(50)
        X = column[:, None] * [1.0, 1e-200, 1e200]
        rows = Scaling.of(X).apply(X)
        np.testing.assert_allclose(rows.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(rows.std(axis=0), 1.0)

    def test_a_column_that_varies_by_rounding_alone_is_left_out(self) -> None:
        X = np.array([[0.1 + 0.2, 1.0], [0.3, 2.0]])
        assert Scaling.of(X).varies.tolist() == [False, True]

    def test_without_a_shift_a_constant_column_stays_and_zeros_go(self) -> None:
        assert Scaling.of(np.array([[2.0, 0.0], [2.0, 0.0]]), shift=False).varies.tolist() == [True, False]

    def test_a_constant_network_is_constant(self) -> None:
        network = constant_network(3, np.array([1.5, -2.0]))
        np.testing.assert_array_equal(network.predict(np.eye(3)), [[1.5, -2.0]] * 3)
        assert weights(network) == 0


class TestDefaults:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ((None, None, 1, 331, 10, 1), (48, 13)),  # 4 for each of 10 inputs, 1 output and one more
            ((None, None, 1, 10_000, 10, 1), (48, 13)),
            ((None, None, 1, 1347, 64, 10), (300, 32)),
            ((None, None, 1, 1347, 64, 10, True), (337, 34)),  # 4.5 for each
            ((None, None, 1, 100, 10, 1, True), (25, 9)),  # a weight for every 4 rows
            ((None, None, 1, 20, 5, 3), (30, 10)),  # 10 for each output
            ((None, None, 1, 175, 38, 1), (87, 17)),  # a weight for every 2 rows
            ((10**9, 7, 1, 50, 4, 2), (42, 7)),  # clamped to all weights: 7 * (4 + 2)
            ((10**9, 3, 2, 50, 4, 1), (24, 3)),  # 3 * 4 + 3 * 3 + 3 * 1
            ((3, None, 2, 50, 4, 1), (3, 4)),
        ],
    )
    def test_budget_and_width(self, data: Any, expected: tuple[int, int]) -> None:
        assert network_size(*data) == expected

    def test_the_noise_of_the_squared_loss_is_the_deviation_of_the_residual(self) -> None:
        rng = np.random.default_rng(0)
        target, outputs = rng.standard_normal((2, 500))
        expected = np.sqrt(np.square(outputs - target).sum() / 480)
        assert noise_deviation(LOSSES["squared"], outputs, target, 20) == pytest.approx(expected)

    def test_the_noise_of_labels_at_the_truth_is_that_of_coins(self) -> None:
        rng = np.random.default_rng(0)
        logits = np.full(100_000, 1.0)
        p = 1.0 / (1.0 + np.exp(-1.0))
        target = np.where(rng.uniform(size=logits.size) < p, 1.0, -1.0)
        assert noise_deviation(LOSSES["logistic"], logits, target) == pytest.approx(np.sqrt(p * (1.0 - p)), rel=0.01)

    def test_the_ridge_is_half_of_what_noise_correlates_at_most(self) -> None:
        rng = np.random.default_rng(0)
        X, noise = rng.standard_normal((400, 50)), rng.standard_normal((400, 200))
        largest = np.abs(X.T @ noise / 400).max(axis=0)
        assert 0.3 * np.median(largest) < noise_ridge(1.0, 400, 50) < 0.7 * np.median(largest)


class TestRegressor:
    def test_it_learns_whatever_the_units(self, table: tuple[np.ndarray, np.ndarray]) -> None:
        X, y = table
        model = Regressor(budget=20).fit(X, y)
        assert model.score(X, y) > 0.98
        assert weights(model.network_) <= 20
        np.testing.assert_array_equal(model.network_.predict(X), model.predict(X))

    def test_the_units_change_no_weight_but_their_own(self, table: tuple[np.ndarray, np.ndarray]) -> None:
        X, y = table
        model, other = Regressor(budget=20).fit(X, y), Regressor(budget=20).fit(X * 8.0, y * 4.0)
        np.testing.assert_allclose(4.0 * model.predict(X), other.predict(8.0 * X), rtol=1e-6)

    def test_one_interruption_ends_the_fit_even_while_the_noise_is_sought(
        self, table: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passes: list[float] = []

        def run_epoch(self: Any, problem: Any, steps: int, generator: Any) -> float:
            passes.append(0.0)
            raise KeyboardInterrupt

        monkeypatch.setattr("convexnn.fitting.training._Trainer.run_epoch", run_epoch)
        model = Regressor(budget=20).fit(*table)
        assert len(passes) == 1
        assert model.status_ is Status.INTERRUPTED
        assert weights(model.network_) <= 20

    def test_a_constant_target_is_fitted_by_a_constant(self) -> None:
        X = np.random.default_rng(0).standard_normal((20, 3))
        for bias in (True, False):
            np.testing.assert_array_equal(Regressor(bias=bias).fit(X, np.full(20, 4.5)).predict(X[:5]), np.full(5, 4.5))

    def test_constant_features_give_the_mean(self) -> None:
        assert Regressor().fit(np.ones((6, 2)), np.arange(6.0)).predict(np.ones((1, 2))) == pytest.approx(2.5)

    def test_several_outputs_one_of_them_constant(self) -> None:
        X = np.random.default_rng(0).standard_normal((200, 4))
        Y = np.column_stack([np.maximum(X[:, 0], 0.0), np.full(200, -3.0), X[:, 1]])
        for bias in (True, False):
            model = Regressor(budget=20, bias=bias).fit(X, Y)
            assert model.network_.n_outputs == 3
            np.testing.assert_array_equal(model.predict(X)[:, 1], -3.0)
            assert model.score(X, Y) > 0.9

    def test_without_biases_the_network_has_none(self, table: tuple[np.ndarray, np.ndarray]) -> None:
        X, y = table
        model = Regressor(budget=20, bias=False).fit(X, y)
        assert all((bias == 0.0).all() for _, bias in model.network_.layers)
        assert model.network_.nnz <= 20

    def test_two_hidden_layers(self) -> None:
        X = np.random.default_rng(0).standard_normal((300, 3))
        y = np.abs(np.abs(X[:, 0]) - 1.0)
        model = Regressor(budget=60, width=20, depth=2).fit(X, y)
        assert len(model.network_.layers) == 3
        assert weights(model.network_) <= 60
        assert model.score(X, y) > 0.8

    def test_a_signal_is_not_taken_for_noise_with_two_hidden_layers(self) -> None:
        # Once, short fits under the ridge of a target of pure noise stayed at zero for such a network.
        X = np.random.default_rng(0).standard_normal((300, 3))
        y = np.abs(np.abs(X[:, 0]) - 1.0)
        for seed in (0, 3):
            assert Regressor(budget=60, width=10, depth=2, random_state=seed).fit(X, y).ridge_ < 0.02

    def test_a_search_finds_the_network_behind_a_clean_target(self) -> None:
        X = np.random.default_rng(0).normal(2.0, 3.0, (200, 6))
        y = 7.0 + 3.0 * np.maximum(X[:, 0] - X[:, 1], 0.0) - np.maximum(X[:, 2], 0.0)
        model = Regressor(budget=6, width=3, ridge=0.0, patience=20).fit(X, y)
        np.testing.assert_allclose(model.predict(X), y, atol=1e-8)

    def test_a_ridge_given_is_the_engines_own(self) -> None:
        X = np.random.default_rng(0).standard_normal((100, 3))
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        y = np.maximum(X[:, 0], 0.0)
        y = (y - y.mean()) / y.std()
        model = Regressor(budget=6, width=3, ridge=0.01, epochs=104).fit(X, y)
        seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
        engine = fit_network(X, y, 6, 3, bias=True, ridge=0.01, epochs=104, patience=0, seed=seed)
        np.testing.assert_allclose(model.predict(X), engine.predict(X), atol=1e-5)
        assert model.ridge_ == 0.01

    def test_random_state_decides(self) -> None:
        X, y = load_diabetes(return_X_y=True)
        one, same = (Regressor(epochs=20).fit(X, y).predict(X) for _ in range(2))
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, Regressor(epochs=20, random_state=1).fit(X, y).predict(X))

    def test_it_keeps_up_with_least_squares_on_noisy_data(self) -> None:
        X, y = load_diabetes(return_X_y=True)
        X, fresh, y, truth = train_test_split(X, y, random_state=0)
        assert Regressor().fit(X, y).score(fresh, truth) > LinearRegression().fit(X, y).score(fresh, truth) - 0.03

    def test_a_warm_start_begins_at_the_network_before(self) -> None:
        X, y = load_diabetes(return_X_y=True)
        model = Regressor(budget=30, width=10, warm_start=True).fit(X, y)
        before = model.score(X, y)
        model.set_params(budget=20).fit(X, y)
        assert weights(model.network_) <= 20
        assert model.score(X, y) > before - 0.1
        # Other features: there is nothing to begin at.
        assert model.fit(X[:, :5], y).n_features_in_ == 5


class TestClassifier:
    def test_two_classes_of_text(self) -> None:
        data = load_breast_cancer()
        labels = data.target_names[data.target]
        model = Classifier().fit(data.data, labels)
        assert model.classes_.tolist() == ["benign", "malignant"]
        assert model.network_.n_outputs == 1
        logits, shares = model.decision_function(data.data), model.predict_proba(data.data)
        np.testing.assert_allclose(shares[:, 1], 1.0 / (1.0 + np.exp(-logits)))
        np.testing.assert_array_equal(model.predict(data.data) == "malignant", logits > 0.0)
        assert model.score(data.data, labels) > 0.95

    def test_three_classes(self) -> None:
        X, y = load_wine(return_X_y=True)
        model = Classifier().fit(X, y)
        logits, shares = model.decision_function(X), model.predict_proba(X)
        assert logits.shape == shares.shape == (len(X), 3)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        np.testing.assert_array_equal(model.predict(X), shares.argmax(axis=1))
        assert model.score(X, y) > 0.95

    def test_constant_features_give_the_shares_of_the_classes(self) -> None:
        model = Classifier().fit(np.ones((6, 2)), [0, 1, 1, 1, 2, 2])
        np.testing.assert_allclose(model.predict_proba(np.ones((1, 2))), [[1 / 6, 3 / 6, 2 / 6]])
        model = Classifier().fit(np.ones((4, 2)), [0, 1, 1, 1])
        np.testing.assert_allclose(model.predict_proba(np.ones((1, 2))), [[0.25, 0.75]])

    @pytest.mark.parametrize("labels", [[True, False], [3, -7], [0.5, 2.0], ["no", "yes"]])
    def test_labels_come_back_as_they_were(self, labels: list[Any]) -> None:
        X = np.random.default_rng(0).standard_normal((60, 2))
        if labels == [0.5, 2.0]:
            with pytest.raises(ValueError, match="continuous"):
                Classifier().fit(X, np.array(labels)[(X[:, 0] > 0).astype(int)])
            return
        y = np.array(labels)[(X[:, 0] > 0).astype(int)]
        assert Classifier(epochs=10).fit(X, y).predict(X).dtype == y.dtype


class TestTogether:
    def test_pipeline_grid_search_and_clone(self) -> None:
        X, y = load_iris(return_X_y=True)
        pipeline = make_pipeline(MinMaxScaler(), Classifier(epochs=30))
        search = GridSearchCV(pipeline, {"sparsereluclassifier__budget": [12, 30]}, cv=3).fit(X, y)
        assert search.best_score_ > 0.85
        assert clone(search.best_estimator_)[-1].get_params() == search.best_estimator_[-1].get_params()

    def test_names_of_features_are_kept(self) -> None:
        frame = load_wine(as_frame=True)
        model = Classifier(epochs=10).fit(frame.data, frame.target)
        assert model.feature_names_in_.tolist() == frame.feature_names
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame.data[frame.data.columns[::-1]])

    def test_a_time_limit_of_nothing_still_gives_a_network(self) -> None:
        X, y = load_diabetes(return_X_y=True)
        assert np.isfinite(Regressor(time_limit=0.0).fit(X, y).predict(X)).all()

    def test_a_fit_without_time_is_one_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fits, whole = list[float](), cx.fit_network

        def counted(*given: Any, **more: Any) -> Any:
            fits.append(more["ridge"])
            return whole(*given, **more)

        monkeypatch.setattr("convexnn.estimators.network_fitter.fit_network", counted)
        X = np.random.default_rng(0).standard_normal((50, 3))
        model = cx.SparseReLURegressor(time_limit=0, random_state=0).fit(X, np.maximum(X[:, 0], 0.0))
        assert fits == [model.ridge_]
        assert model.ridge_ > 0.0

    def test_the_noise_of_labels_is_not_sought_in_polished_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Once, such fits told rows apart that they had seen, and the ridge was too weak."""
        fits, whole = list[tuple[bool, bool]](), cx.fit_network

        def counted(*given: Any, **more: Any) -> Any:
            fits.append((more["polish"], more["linear"]))
            return whole(*given, **more)

        monkeypatch.setattr("convexnn.estimators.network_fitter.fit_network", counted)
        X = np.random.default_rng(0).standard_normal((60, 3))
        Classifier(epochs=4).fit(X, X[:, 0] > 0.0)
        assert fits[:2] == [(False, False)] * 2
        assert set(fits[2:]) == {(True, True)}
        fits.clear()
        Regressor(epochs=4).fit(X, X[:, 0])
        assert fits[:2] == [(True, False)] * 2
        assert set(fits[2:]) == {(True, True)}

    @pytest.mark.parametrize("seed", range(3))
    def test_a_fit_without_time_is_no_worse_than_a_constant(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """On noise, where the few steps before the clock is asked lead away from it."""
        monkeypatch.setattr(Deadline, "is_over", lambda clock: clock.time_limit is not None)
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((60, 20)), rng.standard_normal(60)
        assert Regressor(30, time_limit=0.0, random_state=seed).fit(X, y).score(X, y) >= -1e-12
        for labels in (np.arange(60) % 10 // 9, np.minimum(np.arange(60) % 10, 2)):
            model = Classifier(30, time_limit=0.0, random_state=seed).fit(X, labels)
            shares = np.bincount(labels) / 60
            assert log_loss(labels, model.predict_proba(X)) <= log_loss(labels, np.tile(shares, (60, 1))) + 1e-12


class TestFiles:
    def test_a_regressor_survives(self, tmp_path: Path) -> None:
        X, y = load_diabetes(return_X_y=True, as_frame=True)
        model = Regressor(budget=10, random_state=np.random.RandomState(0), epochs=10).fit(X, y)
        loaded = cx.SparseReLURegressor.load(model.save(tmp_path / "model.npz"))
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.feature_names_in_.tolist() == list(X.columns)
        assert loaded.get_params() == {**model.get_params(), "random_state": None}
        # The same file as a network.
        network = cx.SparseReLUNetwork.load(tmp_path / "model.npz")
        np.testing.assert_array_equal(network.predict(X.to_numpy()), model.predict(X))

    @pytest.mark.parametrize(
        "labels", [np.array(["a", "b"]), np.array(["a", "b"], dtype=object), np.array([4, 9]), np.array([False, True])]
    )
    def test_a_classifier_survives(self, labels: np.ndarray, tmp_path: Path) -> None:
        X = np.random.default_rng(0).standard_normal((60, 2))
        model = Classifier(epochs=10).fit(X, labels[(X[:, 0] > 0).astype(int)])
        loaded = cx.SparseReLUClassifier.load(model.save(tmp_path / "model.npz"))
        assert loaded.classes_.dtype == model.classes_.dtype
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.score(X, model.predict(X)) == 1.0

    def test_what_is_not_such_a_file_is_refused(self, tmp_path: Path) -> None:
        X, y = load_diabetes(return_X_y=True)
        model = Regressor(budget=10, epochs=10).fit(X, y)
        path = model.save(tmp_path / "model.npz")
        with pytest.raises(ValueError, match="holds a SparseReLURegressor; expected a SparseReLUClassifier"):
            cx.SparseReLUClassifier.load(path)
        with pytest.raises(ValueError, match="holds a network alone; expected an estimator, written by its save"):
            cx.SparseReLURegressor.load(model.network_.save(tmp_path / "network.npz"))
        (tmp_path / "text").write_text("hello")
        with pytest.raises(ValueError, match="is not an estimator saved by convexnn"):
            cx.SparseReLURegressor.load(tmp_path / "text")
        with pytest.raises(OSError, match="cannot be read"):
            cx.SparseReLURegressor.load(tmp_path / "nothing")


ROWS = np.random.default_rng(0).standard_normal((12, 3))
HALVES = np.arange(12) % 2


@pytest.mark.parametrize(
    ("fit", "error", "words"),
    [
        (lambda: Classifier().fit(ROWS, np.ones(12)), ValueError, "y has one class (1.0) alone; expected at least 2"),
        (lambda: Classifier().fit(ROWS, ["a", 1] * 6), ValueError, "y mixes labels of types int, str; expected labels"),
        (
            lambda: Classifier().fit(ROWS, np.array(["a", None] * 6, dtype=object)),
            ValueError,
            "y mixes labels of types NoneType, str",
        ),
        (lambda: Classifier().fit(ROWS, [str(i) for i in range(12)]), ValueError, "y has 12 classes in 12 rows"),
        (lambda: Classifier(budget=2).fit(ROWS, HALVES + (ROWS[:, 0] > 0)), ValueError, "budget is 2; expected at"),
        (lambda: Regressor(budget=2).fit(ROWS, ROWS), ValueError, "budget is 2; expected at least 3, one weight for"),
        (lambda: Regressor(budget=0).fit(ROWS, HALVES), ValueError, "budget is 0; expected a whole number"),
        (lambda: Regressor(budget=2.5).fit(ROWS, HALVES), TypeError, "budget is 2.5; expected a whole number"),
        (lambda: Regressor(depth=0).fit(ROWS, HALVES), ValueError, "depth is 0; expected a whole number of at least 1"),
        (lambda: Regressor(width=0).fit(ROWS, HALVES), ValueError, "width is 0; expected a whole number of at least 1"),
        (lambda: Regressor(bias="yes").fit(ROWS, HALVES), TypeError, "bias is 'yes'; expected True or False"),
        (lambda: Regressor(ridge=-1.0).fit(ROWS, HALVES), ValueError, "ridge is -1.0; expected a finite number"),
        (lambda: Regressor(warm_start=2).fit(ROWS, HALVES), TypeError, "warm_start is 2; expected True or False"),
        (lambda: Regressor(time_limit=-1.0).fit(ROWS, HALVES), ValueError, "time_limit is -1.0; expected a"),
        (
            lambda: Regressor().fit(sp.csr_array((10**5, 10**4)), np.zeros(10**5)),
            ValueError,
            "X is sparse, and takes 7.45 GiB as a dense 100000 x 10000 array; expected at most 1 GiB",
        ),
        (lambda: Regressor(verbose=-1).fit(ROWS, HALVES), ValueError, "verbose is -1; expected a whole number"),
        (
            lambda: Regressor().fit(ROWS, HALVES, -np.ones(12)),
            ValueError,
            "sample_weight holds -1; expected numbers of at least 0",
        ),
        (
            lambda: Regressor().fit(ROWS, HALVES, np.eye(12)[0]),
            ValueError,
            "sample_weight is zero on all rows but one; expected weights above zero on at least 2",
        ),
        (lambda: Regressor().fit(ROWS, HALVES, np.ones(5)), ValueError, "sample_weight has shape (5,); expected a"),
        (lambda: Classifier(class_weight="even").fit(ROWS, HALVES), ValueError, "class_weight is 'even'; expected a"),
        (lambda: Classifier(class_weight={0: -1.0}).fit(ROWS, HALVES), ValueError, "class_weight is -1.0; expected a"),
        (lambda: Classifier(class_weight={0: 0.0}).fit(ROWS, HALVES), ValueError, "class_weight gives 0 the weight 0;"),
        (
            lambda: Classifier(class_weight={"0": 2.0}).fit(ROWS, HALVES),
            ValueError,
            "class_weight has a weight for '0'; expected labels of y, such as 0",
        ),
        (lambda: Regressor().fit(ROWS, HALVES).predict(ROWS[:, :2]), ValueError, "X has 2 features, but"),
        (
            lambda: Regressor().fit(ROWS, np.arange(len(ROWS)).astype("M8[D]")),
            TypeError,
            "y holds dates, such as '1970-01-01'; expected numbers: write them as days",
        ),
        (lambda: Regressor().fit(ROWS, np.arange(len(ROWS)).astype("m8[s]")), TypeError, "y holds times, such as '0 s"),
        (
            lambda: Regressor().fit(ROWS, [date(2026, 1, 1 + day) for day in range(len(ROWS))]),
            TypeError,
            "y holds dates, such as '2026-01-01'; expected numbers",
        ),
        (lambda: Regressor().fit(ROWS[:0], np.array([], "M8[D]")), ValueError, "Found array with 0 sample(s)"),
        (
            lambda: Regressor().fit(ROWS, [None, *[datetime(2024, 1, 1)] * (len(ROWS) - 1)]),
            TypeError,
            "y holds dates, such as '2024-01-01 00:00:00'; expected numbers: write them as days",
        ),
        (
            lambda: Regressor().fit(ROWS, [timedelta(hours=1)] * len(ROWS)),
            TypeError,
            "y holds times, such as '1:00:00'; expected numbers: write them as seconds",
        ),
        (lambda: Regressor().fit(np.ma.masked_less(ROWS, 0), HALVES), TypeError, "X has masked entries; expected an"),
        (lambda: Regressor().fit(ROWS, np.ma.masked_less(HALVES, 1)), TypeError, "y has masked entries; expected an"),
        (
            lambda: Regressor(time_limit=0).fit(ROWS, HALVES).predict(np.ma.masked_less(ROWS, 0)),
            TypeError,
            "X has masked entries; expected an",
        ),
        (
            lambda: Classifier(width=10**9).fit(ROWS, HALVES),
            ValueError,
            "width is 1000000000, of layers with 4,000,000,000 weights; expected at most 268,435,456 weights",
        ),
    ],
)
def test_bad_input_is_one_clear_line(fit: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        fit()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_warm_start_does_not_begin_at_the_network_of_other_classes() -> None:
    options: dict[str, Any] = {"budget": 6, "epochs": 5, "ridge": 0.01, "random_state": 0}
    first, then = np.array(["a", "b"])[HALVES], np.array(["d", "c"])[HALVES]
    warm = Classifier(warm_start=True, **options).fit(ROWS, first).fit(ROWS, then)
    assert warm.network_ == Classifier(**options).fit(ROWS, then).network_


def test_labels_of_a_series_are_taken() -> None:
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(["u", "v"] * 6)
    assert set(Classifier(epochs=5).fit(ROWS, labels).classes_) == {"u", "v"}

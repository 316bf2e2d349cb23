"""Reading scikit-learn's estimators: held against themselves, and refused where they compute something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, LinearSVR

import verify
from convexnn import SparseReLUClassifier, SparseReLURegressor
from convexnn.checks import Floats

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((60, 4))
FRESH = 3.0 * RNG.standard_normal((200, 4))

# Half fitted is enough: what is read does not depend on how good it is.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(kind: type, targets: Any, rows: Any = ROWS, **options: Any) -> Any:
    return kind(max_iter=20, random_state=0, **options).fit(rows, targets)


def numbers(n_outputs: int = 1) -> Floats:
    values = np.column_stack([np.abs(ROWS[:, 0]) - ROWS[:, 1] * column for column in range(1, n_outputs + 1)])
    return values[:, 0] if n_outputs == 1 else values


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("hidden", [(), (5,), (6, 3), (4, 4, 4)], ids=str)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_regressor_keeps_its_function(activation: str, hidden: tuple[int, ...], n_outputs: int) -> None:
    model = fitted(MLPRegressor, numbers(n_outputs), activation=activation, hidden_layer_sizes=hidden)
    network = verify.read_network(model)
    assert np.allclose(network.predict(FRESH), model.predict(FRESH), atol=1e-9)
    assert len(network.layers) == (1 + len(hidden) if activation == "relu" else 1)


def test_a_regressor_of_single_precision_is_read() -> None:
    model = fitted(MLPRegressor, numbers().astype(np.float32), ROWS.astype(np.float32))
    assert model.coefs_[0].dtype == np.float32
    assert np.allclose(verify.read_network(model).predict(FRESH), model.predict(FRESH), atol=1e-4)


@pytest.mark.parametrize("hidden", [(), (5,), (6, 3)], ids=str)
def test_a_classifier_of_two_classes_has_one_logit(hidden: tuple[int, ...]) -> None:
    model = fitted(MLPClassifier, np.where(ROWS[:, 0] > 0.0, "yes", "no"), hidden_layer_sizes=hidden)
    scores = verify.read_network(model).predict(FRESH)
    assert scores.shape == (200,)
    assert np.allclose(1.0 / (1.0 + np.exp(-scores)), model.predict_proba(FRESH)[:, 1], atol=1e-12)
    assert np.array_equal(model.classes_[(scores > 0.0).astype(int)], model.predict(FRESH))


def test_a_classifier_of_several_classes_has_a_score_each() -> None:
    labels = np.array(["c", "a", "b"])[np.abs(ROWS[:, :3]).argmax(axis=1)]
    model = fitted(MLPClassifier, labels, hidden_layer_sizes=(6,))
    scores = verify.read_network(model).predict(FRESH)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), model.predict_proba(FRESH), atol=1e-12)
    assert np.array_equal(model.classes_[scores.argmax(axis=1)], model.predict(FRESH))


def test_a_witness_against_a_classifier_is_one() -> None:
    model = fitted(MLPClassifier, (np.abs(ROWS[:, 0]) > 0.7).astype(int), hidden_layer_sizes=(8,))
    point = ROWS[model.predict_proba(ROWS)[:, 1].argmax()]
    answer = verify.find_adversarial(model, verify.LinfBall(point, 3.0))
    assert answer.status is verify.Verdict.COUNTEREXAMPLE
    assert answer.witness is not None
    assert model.predict(answer.witness[None])[0] == 0


def test_names_of_columns_raise_no_warning() -> None:
    model = fitted(MLPRegressor, numbers())
    model.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    assert verify.read_network(model).n_inputs == 4


class Doubled(MLPRegressor):  # type: ignore[misc]
    def predict(self, X: Floats) -> Floats:
        return np.asarray(2.0 * super().predict(X))


def patched() -> MLPRegressor:
    model = fitted(MLPRegressor, numbers())
    # Another function only far from all rows that a comparison would try.
    before = model.predict
    model.predict = lambda X: np.where(np.abs(X).max(axis=1) < 1e4, before(X), 0.0)
    return model


def changed(**attributes: Any) -> MLPRegressor:
    model = fitted(MLPRegressor, numbers())
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def broken(layer: int, kind: str, value: float) -> MLPRegressor:
    model = fitted(MLPRegressor, numbers())
    getattr(model, kind)[layer].flat[0] = value
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLPRegressor(), "the MLPRegressor is not fitted; expected one after fit"),
        (
            lambda: fitted(MLPRegressor, numbers(), activation="tanh"),
            "has activation 'tanh'; expected 'relu' or 'identity'",
        ),
        (
            lambda: fitted(MLPClassifier, ROWS[:, :2] > 0.0),
            "the MLPClassifier gives 2 labels a row; expected one label a row",
        ),
        (
            lambda: fitted(Doubled, numbers()),
            "the Doubled has a method predict of its own; expected that of MLPRegressor",
        ),
        (patched, "the MLPRegressor has a method predict of its own"),
        (lambda: changed(out_activation_="exp"), "has outputs through 'exp'; expected identity, logistic or softmax"),
        (lambda: changed(out_activation_="logistic"), "the MLPRegressor differs from its weights by"),
        (
            lambda: broken(0, "coefs_", np.nan),
            "layer 0 of the MLPRegressor cannot be read: it has a weight or bias that is",
        ),
        (
            lambda: broken(1, "intercepts_", np.inf),
            "layer 1 of the MLPRegressor cannot be read: it has a weight or bias that",
        ),
    ],
)
def test_a_perceptron_that_is_no_relu_network_is_refused(make: Callable[[], Any], words: str) -> None:
    model = make()
    with pytest.raises(ValueError, match=re.escape(words)):
        verify.read_network(model)


@pytest.mark.parametrize("model", [KNeighborsRegressor(), StandardScaler()], ids=["neighbours", "scaler"])
def test_other_estimators_are_refused(model: Any) -> None:
    with pytest.raises(TypeError, match=r"network is a \w+; expected a fitted MLPRegressor or MLPClassifier"):
        verify.read_network(model)


def scores(model: Any, rows: Any) -> Floats:
    """Return what an estimator answers for rows, (n, k): scores, or numbers."""
    answers = model.decision_function(rows) if hasattr(model, "decision_function") else model.predict(rows)
    return np.asarray(answers, dtype=np.float64).reshape(len(rows), -1)


RAW = ROWS * [1.0, 20.0, 0.1, 3.0] + [0.0, 5.0, 9.0, -4.0]
TWO, THREE = np.where(ROWS[:, 0] > 0.0, "yes", "no"), np.digitize(ROWS[:, 0], [-0.5, 0.5])
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5, 4), "max_iter": 20, "random_state": 0}

LINEAR = {
    "least squares": (LinearRegression(), numbers()),
    "two targets": (Ridge(), numbers(2)),
    "lasso": (Lasso(0.01), numbers()),
    "without an intercept": (LinearRegression(fit_intercept=False), numbers()),
    "gradient descent": (SGDRegressor(random_state=0), numbers()),
    "support vectors": (LinearSVR(), numbers()),
    "two classes": (LogisticRegression(), TWO),
    "three classes": (LogisticRegression(), THREE),
    "ridge of classes": (RidgeClassifier(), THREE),
    "a hinge": (LinearSVC(), THREE),
    "a hinge by gradient descent": (SGDClassifier(random_state=0), TWO),
    "a linear kernel": (SVC(kernel="linear"), TWO),
    "discriminants": (LinearDiscriminantAnalysis(), THREE),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_model_keeps_its_scores(name: str) -> None:
    model, target = LINEAR[name]
    model.fit(ROWS, target)
    network = verify.read_network(model)
    assert np.allclose(network.activations(FRESH)[-1], scores(model, FRESH), atol=1e-9)
    assert len(network.layers) == 1


STEPS = {
    "standard": StandardScaler(),
    "centred alone": StandardScaler(with_std=False),
    "min-max": MinMaxScaler((-1.0, 1.0)),
    "min-max, clipped": MinMaxScaler(clip=True),
    "max-abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "components": PCA(2),
    "whitened components": PCA(3, whiten=True),
    "singular vectors": TruncatedSVD(2),
    "chosen features": SelectKBest(f_regression, k=2),
    "features that vary": VarianceThreshold(0.5),
    "nothing": "passthrough",
    "an identity": FunctionTransformer(),
    "steps in steps": make_pipeline(StandardScaler(), PCA(2)),
    "columns": ColumnTransformer([("a", StandardScaler(), [2, 0]), ("b", "drop", [1])], remainder="passthrough"),
    "side by side": FeatureUnion([("a", StandardScaler()), ("b", PCA(1))]),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_pipeline_is_read_in_raw_units(name: str) -> None:
    model = make_pipeline(STEPS[name], MLPRegressor(**SMALL)).fit(RAW, numbers())
    rows = FRESH * [1.0, 20.0, 0.1, 3.0] + [0.0, 5.0, 9.0, -4.0]
    assert np.allclose(verify.read_network(model).predict(rows), model.predict(rows), atol=1e-8)


def test_columns_are_chosen_by_their_names() -> None:
    frame = pd.DataFrame(RAW, columns=["age", "income", "rooms", "year"][: RAW.shape[1]])
    chosen = ColumnTransformer([("a", StandardScaler(), ["rooms", "age"])], remainder="passthrough")
    model = make_pipeline(chosen, SimpleImputer(), MLPRegressor(**SMALL)).fit(frame, numbers())
    assert np.allclose(verify.read_network(model).predict(RAW), model.predict(frame), atol=1e-8)


def test_an_imputer_that_tells_what_was_missing_is_refused() -> None:
    model = make_pipeline(SimpleImputer(missing_values=-1.0), MLPRegressor(**SMALL)).fit(RAW, numbers())
    with pytest.raises(ValueError, match=r"'simpleimputer'.*fills other cells than NaN"):
        verify.read_network(model)


def test_what_stands_around_an_estimator_is_read() -> None:
    inner = make_pipeline(StandardScaler(), MLPRegressor(**SMALL))
    for scaler in (StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), None):
        model = TransformedTargetRegressor(inner, transformer=scaler).fit(ROWS, 10.0 * numbers() + 3.0)
        assert np.allclose(verify.read_network(model).predict(FRESH), model.predict(FRESH), atol=1e-9)
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=2)
    search.fit(ROWS, numbers())
    assert np.allclose(verify.read_network(search).predict(FRESH), search.predict(FRESH), atol=1e-9)


def test_our_own_estimators_are_read_alone_and_behind_scalers() -> None:
    regressor = SparseReLURegressor(budget=20, epochs=2, random_state=0).fit(RAW, numbers())
    assert np.array_equal(verify.read_network(regressor).predict(RAW), regressor.predict(RAW))
    classifier = SparseReLUClassifier(budget=20, epochs=2, random_state=0)
    for model in (classifier, make_pipeline(StandardScaler(), classifier)):
        model.fit(RAW, THREE)
        assert np.allclose(verify.read_network(model).predict(RAW), model.decision_function(RAW), atol=1e-9)
    with pytest.raises(ValueError, match="the SparseReLUClassifier is not fitted; expected one after fit"):
        verify.read_network(SparseReLUClassifier())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_pipeline(Normalizer(), Ridge()), "step 'normalizer' is a Normalizer; expected an affine"),
        (lambda: make_pipeline(FunctionTransformer(np.tanh), Ridge()), "it has a function of its own"),
        (
            lambda: TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.exp, check_inverse=False),
            "the targets are transformed by a FunctionTransformer",
        ),
        (lambda: SVC(), "network is a SVC; expected a fitted MLPRegressor"),
        (lambda: PoissonRegressor(), "the PoissonRegressor differs from its weights"),
    ],
)
def test_what_is_not_affine_is_refused(make: Callable[[], Any], words: str) -> None:
    model = make().fit(ROWS, THREE)
    with pytest.raises((TypeError, ValueError), match=re.escape(words)) as caught:
        verify.read_network(model)
    assert "\n" not in str(caught.value)


class Shifted(StandardScaler):  # type: ignore[misc]
    def transform(self, X: Any, copy: Any = None) -> Any:
        return super().transform(X) + np.where(np.abs(X) > 1e4, 1.0, 0.0)


def test_a_scaler_with_code_of_its_own_is_refused() -> None:
    model = make_pipeline(Shifted(), Ridge()).fit(ROWS, numbers())
    with pytest.raises(ValueError, match="the Shifted has a method transform of its own; expected that of StandardSc"):
        verify.read_network(model)


@pytest.mark.parametrize("model", [LinearRegression(), make_pipeline(StandardScaler(), Ridge())], ids=["one", "steps"])
def test_what_is_not_fitted_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="is not fitted; expected one after fit"):
        verify.read_network(model)


def test_weights_that_change_after_reading_do_not_change_the_network() -> None:
    model = fitted(MLPRegressor, numbers())
    network = verify.read_network(model)
    before = network.predict(FRESH)
    for array in [*model.coefs_, *model.intercepts_]:
        array[:] = 0.0
    assert np.array_equal(network.predict(FRESH), before)

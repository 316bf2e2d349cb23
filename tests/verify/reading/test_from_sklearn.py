"""Reading scikit-learn's perceptrons: held against the estimators, and refused where they compute something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

import verify
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


def test_weights_that_change_after_reading_do_not_change_the_network() -> None:
    model = fitted(MLPRegressor, numbers())
    network = verify.read_network(model)
    before = network.predict(FRESH)
    for array in [*model.coefs_, *model.intercepts_]:
        array[:] = 0.0
    assert np.array_equal(network.predict(FRESH), before)

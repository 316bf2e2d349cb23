"""Budget paths: scores of networks that never saw the rows, choices among them, interruption, the picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import KFold

import convexnn as cx
from convexnn.estimators.budget_path import BudgetPath, BudgetStep

# What is wrong on purpose is none of the type checker's business.
budget_path: Any = cx.budget_path
Regressor: Any = partial(cx.SparseReLURegressor, random_state=0, epochs=15)
Classifier: Any = partial(cx.SparseReLUClassifier, random_state=0, epochs=15)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).standard_normal((240, 5))
    return X, np.maximum(X[:, 0] - X[:, 1], 0.0) + 0.1 * X[:, 2]


@pytest.fixture(scope="module")
def path(data: tuple[np.ndarray, np.ndarray]) -> BudgetPath:
    return cx.budget_path(Regressor(), *data, [20, 4, 9, 9], cv=3)


def made(means: list[float], budgets: list[int] | None = None) -> BudgetPath:
    """Return a path of given validation scores, each of two folds at a distance of 0.1."""
    counts = budgets or [2**i for i in range(len(means))]
    model = Regressor(epochs=2).fit(np.eye(3), np.arange(3.0))
    steps = [BudgetStep(b, (1.0, 1.0), (m - 0.05, m + 0.05), model) for b, m in zip(counts, means, strict=True)]
    return BudgetPath(tuple(steps), "R2", True)


def test_the_path_holds_what_was_asked(path: BudgetPath) -> None:
    assert path.budgets.tolist() == [4, 9, 20]
    assert path.train_scores.shape == path.validation_scores.shape == (3, 3)
    assert path.complete
    assert len(path) == 3
    for step, network in zip(path.steps, path.networks, strict=True):
        assert sum(weight.nnz for weight, _ in network.layers) <= step.budget
        assert step.estimator.budget == step.budget
        assert step.estimator.warm_start is False


def test_scores_are_those_of_rows_that_the_network_never_saw(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    folds = KFold(4)
    path = cx.budget_path(Regressor(width=6), X, y, [15], cv=folds)
    for (train, test), seen, unseen in zip(
        folds.split(X), path.train_scores[0], path.validation_scores[0], strict=True
    ):
        alone = Regressor(budget=15, width=6).fit(X[train], y[train])
        assert alone.score(X[train], y[train]) == pytest.approx(seen)
        assert alone.score(X[test], y[test]) == pytest.approx(unseen)


def test_a_warm_path_begins_each_network_at_the_one_before(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    path = cx.budget_path(Regressor(width=6), X, y, [8, 20], cv=0.3)
    model = Regressor(width=6, warm_start=True)
    for budget, step in zip([20, 8], path.steps[::-1], strict=True):
        model.set_params(budget=budget).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), step.estimator.predict(X))
    cold = cx.budget_path(Regressor(width=6), X, y, [8, 20], cv=0.3, warm=False)
    np.testing.assert_array_equal(cold.steps[0].estimator.predict(X), Regressor(width=6, budget=8).fit(X, y).predict(X))


def test_choices_follow_from_the_mean_validation_scores() -> None:
    path = made([0.5, 0.895, 0.9, 0.905, 0.905, 0.9])
    assert path.best.budget == 8
    assert [path.smallest_within(points).budget for points in (0.0, 0.6, 1.1, 50.0)] == [8, 4, 2, 1]
    with pytest.raises(ValueError, match=r"points is -1; expected a finite number of at least 0"):
        path.smallest_within(-1)


def test_the_table_marks_the_best(path: BudgetPath) -> None:
    lines = str(path).splitlines()
    assert lines[0] == "budget path: R2, 3 folds"
    assert lines[1].split() == ["budget", "weights", "neurons", "train", "validation", "spread"]
    assert [line.split()[0] for line in lines if line.endswith("best")] == [str(path.best.budget)]
    assert repr(path) == "<budget path: 3 budgets, R2>"


def test_labels_and_other_scores() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    path = cx.budget_path(Classifier(epochs=10), X, y, [40], cv=0.25, scoring="neg_log_loss")
    assert path.scoring == "neg_log_loss"
    assert (path.validation_scores < 0.0).all()
    assert cx.budget_path(Classifier(epochs=5), X, y, [40], cv=2).scoring == "accuracy"


def test_budgets_of_its_own() -> None:
    X, y = load_diabetes(return_X_y=True)
    assert cx.budget_path(Regressor(epochs=2), X, y, cv=0.2).budgets.tolist() == [4, 6, 9, 15, 23, 37, 60, 96]
    assert cx.budget_path(Regressor(epochs=2, budget=12), X, y, cv=0.2).budgets.tolist() == [2, 3, 5, 8, 12]


def test_an_interruption_keeps_the_budgets_that_are_done(data: tuple[np.ndarray, np.ndarray]) -> None:
    seen: list[int] = []

    def stop(step: BudgetStep) -> None:
        seen.append(step.budget)
        if len(seen) == 2:
            raise KeyboardInterrupt

    path = cx.budget_path(Regressor(epochs=2), *data, [5, 10, 20], cv=0.3, callback=stop)
    assert seen == [20, 10]
    assert path.budgets.tolist() == [10, 20]
    assert not path.complete
    assert "; interrupted" in str(path)


def test_an_interruption_within_a_fit_ends_the_path(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[float] = []

    def run_epoch(self: Any, problem: Any, steps: int, generator: Any) -> float:
        passes.append(0.0)
        if len(passes) == 8:
            raise KeyboardInterrupt
        return 1.0

    # Three fits of two passes a budget: the eighth is of the second budget.
    monkeypatch.setattr("convexnn.fitting.training._Trainer.run_epoch", run_epoch)
    path = cx.budget_path(Regressor(epochs=2, ridge=0.0), *data, [5, 10, 20], cv=2)
    assert path.budgets.tolist() == [20]
    assert not path.complete
    assert len(passes) == 8


def test_a_path_without_budgets_says_so() -> None:
    empty = BudgetPath((), "R2", False)
    assert "interrupted before the first" in str(empty)
    with pytest.raises(ValueError, match="the path has no budgets"):
        _ = empty.best


def test_the_picture_shows_scores_and_choices() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    path = made([0.5, 0.895, 0.9])
    ax = path.plot(points=1.0)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), path.validation_scores.mean(axis=1))
    assert [text.get_text() for text in ax.get_legend().get_texts()][2:] == ["best: 4", "smallest within 1 point: 2"]
    assert path.plot(ax=ax) is ax
    pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda X, y: budget_path(KFold(), X, y), TypeError, "estimator is KFold; expected a SparseReLURegressor"),
        (lambda X, y: budget_path(Regressor(), X, y, []), ValueError, "budgets is empty; expected at least one"),
        (lambda X, y: budget_path(Regressor(), X, y, 5), TypeError, "budgets is 5; expected whole numbers"),
        (lambda X, y: budget_path(Regressor(), X, y, [2.5]), TypeError, "budgets is 2.5; expected a whole number"),
        (lambda X, y: budget_path(Regressor(), X, y, [5], cv=1.5), ValueError, "cv is 1.5; expected a number of"),
        (lambda X, y: budget_path(Regressor(budget=0), X, y), ValueError, "budget is 0; expected a whole number"),
        (lambda X, y: budget_path(Regressor(), X[:, 0], y), ValueError, r"X has shape \(240,\); expected \(n, d\)"),
        (lambda X, y: budget_path(Regressor(), X, y, [5], scoring=["r2"]), TypeError, "scoring is .*; expected the"),
        (lambda X, y: budget_path(Regressor(), X, y, [5], warm=1), TypeError, "warm is 1; expected True or False"),
    ],
)
def test_bad_input_is_one_clear_line(
    call: Callable[..., Any], error: type[Exception], words: str, data: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(error, match=words):
        call(*data)

"""Budget paths: the score of an estimator against the number of weights, so that a user picks the budget by looking."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_callback, as_count, as_flag, as_nonnegative, require
from convexnn.network import SparseReLUNetwork
from convexnn.records import Record, RowsRecord
from convexnn.solution import Status
from convexnn.tables import Table, counting
from convexnn.workers import as_jobs, spread

if TYPE_CHECKING:
    from convexnn.estimators.base import SparseReLUEstimator

# Budgets where none are given: from the largest down, each this much smaller.
N_BUDGETS, SHRINK = 8, 1.6


@dataclass(frozen=True)
class BudgetStep(Record):
    """One budget of a path.

    Attributes
    ----------
    budget : int
        Most weights.
    train_scores, validation_scores : tuple of float
        One a fold, on the rows that the fold's network saw and on those that it did not.
    estimator : SparseReLURegressor or SparseReLUClassifier
        Fitted to all rows.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((80, 3))
    >>> model = cx.SparseReLURegressor(epochs=5, random_state=0)
    >>> step = cx.budget_path(model, X, np.maximum(X[:, 0], 0), budgets=[4], cv=2).best
    >>> step.budget, len(step.validation_scores), step.estimator.network_.n_inputs
    (4, 2, 3)
    """

    _left_out = ("estimator",)
    _told = ("network",)

    budget: int
    train_scores: tuple[float, ...]
    validation_scores: tuple[float, ...]
    estimator: Any

    @property
    def network(self) -> SparseReLUNetwork:
        """The network fitted to all rows."""
        network: SparseReLUNetwork = self.estimator.network_
        return network


@dataclass(frozen=True, eq=False, repr=False)
class BudgetPath(RowsRecord):
    """Scores and networks at several budgets.

    Attributes
    ----------
    steps : tuple of BudgetStep
        One a budget, rising; fewer than asked for after an interruption.
    scoring : str
        What the scores are: larger is better.
    complete : bool
        Whether every budget was fitted: False after an interruption.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((80, 3))
    >>> model = cx.SparseReLURegressor(epochs=5, random_state=0)
    >>> path = cx.budget_path(model, X, np.maximum(X[:, 0], 0), budgets=[2, 6], cv=2)
    >>> path.budgets.tolist(), path.validation_scores.shape, path.best.budget in (2, 6)
    ([2, 6], (2, 2), True)
    """

    steps: tuple[BudgetStep, ...]
    scoring: str
    complete: bool

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def budgets(self) -> NDArray[np.int64]:
        """The budgets (p,), rising."""
        return np.array([step.budget for step in self.steps], dtype=np.int64)

    @property
    def train_scores(self) -> Floats:
        """Scores on the rows fitted (p, folds)."""
        return np.array([step.train_scores for step in self.steps])

    @property
    def validation_scores(self) -> Floats:
        """Scores on the rows held out (p, folds)."""
        return np.array([step.validation_scores for step in self.steps])

    @property
    def networks(self) -> tuple[SparseReLUNetwork, ...]:
        """The networks fitted to all rows, one a budget."""
        return tuple(step.network for step in self.steps)

    @property
    def best(self) -> BudgetStep:
        """The step of the highest mean validation score; of equal ones that of the smallest budget."""
        return self.smallest_within(0.0)

    def smallest_within(self, points: float) -> BudgetStep:
        """Return the step of the smallest budget whose mean validation score is that of the best less `points` / 100.

        Parameters
        ----------
        points : float
            Hundredths of the score, at least 0: ``smallest_within(1)`` gives away one percent of accuracy, or 0.01 of
            R2.

        Raises
        ------
        ValueError
            The path was interrupted before the first budget was fitted; or `points` is below 0.
        """
        if not self.steps:
            raise ValueError("the path has no budgets: it was interrupted before the first was fitted")
        means = self.validation_scores.mean(axis=1)
        enough = means >= means.max() - as_nonnegative(points, "points") / 100.0
        return self.steps[int(np.argmax(enough))]

    @property
    def table(self) -> Table:
        """One row a budget, for ``table.to_markdown()`` and ``table.to_latex()``."""
        header = ("budget", "weights", "neurons", "train", "validation", "spread", "")
        marked = self.best.budget if self.steps else None
        return Table.of(header, [_cells(step, "best" if step.budget == marked else "") for step in self.steps])

    def _rows(self) -> list[dict[str, Any]]:
        return [_row(step) for step in self.steps]

    def plot(self, ax: Any = None, points: float = 1.0) -> Any:
        """Draw the scores against the budget and return the matplotlib axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; default new axes.
        points : float, default 1
            Of :meth:`smallest_within`, which is marked.
        """
        if ax is None:
            pyplot = require("matplotlib.pyplot", "matplotlib", "plot")
            ax = pyplot.subplots(layout="constrained")[1]
        chosen, best = self.smallest_within(points), self.best
        budgets, means = self.budgets, self.validation_scores.mean(axis=1)
        spread = self.validation_scores.std(axis=1)
        ax.plot(budgets, self.train_scores.mean(axis=1), "--", color="0.5", label="training rows")
        ax.plot(budgets, means, "o-", color="C0", label="validation rows")
        if self.validation_scores.shape[1] > 1:
            ax.fill_between(budgets, means - spread, means + spread, color="C0", alpha=0.15, linewidth=0)
        within = f"smallest within {points:g} point{'s' * (points != 1)}"
        for step, colour, word in ((best, "C2", "best"), (chosen, "C1", within)):
            ax.axvline(step.budget, color=colour, linestyle=":", label=f"{word}: {step.budget}")
        ax.set_xscale("log")
        ax.set_xticks(budgets, [str(budget) for budget in budgets])
        ax.minorticks_off()
        ax.set_xlabel("most weights")
        ax.set_ylabel(self.scoring)
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"<budget path: {counting(len(self), 'budget')}, {self.scoring}>"

    def __str__(self) -> str:
        if not self.steps:
            return "budget path: interrupted before the first budget was fitted"
        folds = counting(self.validation_scores.shape[1], "fold")
        end = "" if self.complete else "; interrupted"
        return f"budget path: {self.scoring}, {folds}{end}\n{self.table.to_text()}"


def budget_path(
    estimator: SparseReLUEstimator,
    X: ArrayLike,
    y: ArrayLike,
    budgets: Iterable[int] | None = None,
    *,
    cv: Any = 5,
    scoring: Any = None,
    warm: bool = True,
    callback: Callable[[BudgetStep], None] | None = None,
    n_jobs: int | None = None,
) -> BudgetPath:
    """Fit an estimator at several budgets and score each on rows that it has not seen.

    Parameters
    ----------
    estimator : SparseReLURegressor or SparseReLUClassifier
        Its own budget plays no part, except that it is the largest where `budgets` are left out; it is not fitted
        itself. Its width, where it has none, is that of the largest budget all along.
    X : array_like (n, d)
        The data.
    y : array_like (n,) or (n, k)
        The target, as the estimator takes it.
    budgets : iterable of int, optional
        In any order. Default: 8, from the estimator's own, or its default's double, down by a factor of 1.6 each.
    cv : int, float or splitter, default 5
        Number of folds; or the share of the rows, above 0 and below 1, held out once (stratified for labels; by the
        estimator's ``random_state``); or whatever scikit-learn's ``check_cv`` takes.
    scoring : str or callable, optional
        A scorer of scikit-learn, such as ``"neg_log_loss"``; default the estimator's own: R2, or accuracy.
    warm : bool, default True
        Whether each network begins at that of the next larger budget.
    callback : callable, optional
        Called with each :class:`BudgetStep`, from the largest budget down; KeyboardInterrupt in it ends the path.
    n_jobs : int, optional
        Fits at a time, a process each, -1 for one a core; default what ``joblib.parallel_config`` says around this
        call (so that Dask or Ray may serve), or one. Folds are spread, budgets follow one another. Where workers have
        as many threads as this process (``OMP_NUM_THREADS=1``), the path is that of one job to the last bit, unless a
        time limit cuts in.

    Returns
    -------
    BudgetPath
        After an interruption, with the budgets that were done until then.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.
    OSError
        A fit killed its worker process, or the cluster has gone.

    Examples
    --------
    >>> import numpy as np, convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0)
    >>> path = cx.budget_path(cx.SparseReLURegressor(random_state=0), X, y, [3, 12], cv=0.3)
    >>> path.validation_scores.shape, path.best.validation_scores[0] > 0.9
    ((2, 1), True)
    """
    descending = _descending_budgets(_checked(estimator), X, y, budgets)
    told, folds, (name, scorer) = as_callback(callback), _folds(estimator, X, y, cv), _scorer(estimator, scoring)
    prototype = _path_estimator(estimator, descending[0], as_flag(warm, "warm"))
    folded = [_FoldEstimator(prototype, X, y, fold) for fold in (None, *folds)]
    steps: list[BudgetStep] = []
    try:
        for budget in descending:
            fitted = dict(spread(_FoldEstimator.fitted, [(one, budget) for one in folded], as_jobs(n_jobs)))
            folded = [fitted[place] for place in range(len(folded))]
            train, validation = zip(*(one.scores(scorer) for one in folded[1:]), strict=True)
            whole = deepcopy(folded[0].estimator).set_params(warm_start=estimator.warm_start)
            steps.append(BudgetStep(budget, train, validation, whole))
            if told is not None:
                told(steps[-1])
    except KeyboardInterrupt:
        pass  # what has been fitted is the answer, and says that it is not complete
    return BudgetPath(tuple(steps[::-1]), name, len(steps) == len(descending))


class _FoldEstimator:
    """One estimator on its way down the budgets: on the rows of a fold, or on all rows where the fold is None."""

    def __init__(self, estimator: SparseReLUEstimator, X: Any, y: Any, fold: Any) -> None:
        from sklearn.base import clone
        from sklearn.utils import _safe_indexing

        self.estimator: Any = clone(estimator)
        self.parts = [(X, y)] if fold is None else [(_safe_indexing(X, i), _safe_indexing(y, i)) for i in fold]

    def fitted(self, budget: int) -> _FoldEstimator:
        """Return this one, fitted; an interruption, which a fit answers with what it has, goes on to the path."""
        self.estimator.set_params(budget=budget).fit(*self.parts[0])
        if self.estimator.status_ is Status.INTERRUPTED:
            raise KeyboardInterrupt
        return self

    def scores(self, scorer: Any) -> tuple[float, float]:
        """Return the scores on the rows fitted and on those held out."""
        seen, unseen = self.parts
        return float(scorer(self.estimator, *seen)), float(scorer(self.estimator, *unseen))


def _checked(estimator: Any) -> Any:
    """Return the estimator if it is one of ours."""
    from convexnn.estimators.base import SparseReLUEstimator

    if not isinstance(estimator, SparseReLUEstimator):
        expected = "expected a SparseReLURegressor or a SparseReLUClassifier"
        raise TypeError(f"estimator is {type(estimator).__name__}; {expected}, not fitted yet or fitted")
    return estimator


def _path_estimator(estimator: Any, largest: int, warm: bool) -> Any:
    """Return an unfitted copy that keeps its width, and its network where asked for, on the way down the budgets."""
    from sklearn.base import clone

    from convexnn.estimators.defaults import default_width

    width = default_width(largest) if estimator.width is None else estimator.width
    return clone(estimator).set_params(width=width, warm_start=warm)


def _descending_budgets(estimator: Any, X: ArrayLike, y: ArrayLike, budgets: Iterable[int] | None) -> list[int]:
    """Return the budgets, the largest first."""
    if budgets is not None:
        if not isinstance(budgets, Iterable):
            raise TypeError(f"budgets is {budgets!r}; expected whole numbers of at least 1")
        descending = sorted({as_count(budget, "budgets") for budget in budgets}, reverse=True)
        if not descending:
            raise ValueError("budgets is empty; expected at least one whole number")
        return descending
    # numpy takes a sparse matrix for a scalar.
    shape = getattr(X, "shape", None) or np.shape(X)
    if len(shape) != 2:
        raise ValueError(f"X has shape {shape}; expected (n, d)")
    n_rows, n_inputs = shape
    n_outputs = _n_outputs(estimator, y)
    sizes = (estimator.depth, n_rows, n_inputs, n_outputs)
    from sklearn.base import is_classifier

    from convexnn.estimators.defaults import network_size

    if estimator.budget is None:
        largest = 2 * network_size(None, estimator.width, *sizes, labels=is_classifier(estimator))[0]
    else:
        largest = as_count(estimator.budget, "budget")
    steps = {round(largest / SHRINK**i) for i in range(N_BUDGETS)}
    return sorted({max(step, n_outputs, estimator.depth + 1) for step in steps}, reverse=True)


def _n_outputs(estimator: Any, y: ArrayLike) -> int:
    """Return how many outputs the network will have."""
    from sklearn.base import is_classifier

    if not is_classifier(estimator):
        return 1 if np.ndim(y) == 1 else np.shape(y)[1]
    n_classes = len(np.unique(np.asarray(y)))
    return 1 if n_classes == 2 else n_classes


def _folds(estimator: Any, X: ArrayLike, y: ArrayLike, cv: Any) -> list[Any]:
    """Return pairs of row indices: fitted, held out."""
    from sklearn import model_selection
    from sklearn.base import is_classifier

    labels = is_classifier(estimator)
    if not isinstance(cv, float):
        return list(model_selection.check_cv(cv, y, classifier=labels).split(X, y))
    if not 0.0 < cv < 1.0:
        raise ValueError(f"cv is {cv}; expected a number of folds, or a share of the rows above 0 and below 1")
    kind = model_selection.StratifiedShuffleSplit if labels else model_selection.ShuffleSplit
    return list(kind(1, test_size=cv, random_state=estimator.random_state).split(X, y))


def _scorer(estimator: Any, scoring: Any) -> tuple[str, Any]:
    """Return the scorer and its name."""
    from sklearn.base import is_classifier
    from sklearn.metrics import check_scoring

    if not (scoring is None or isinstance(scoring, str) or callable(scoring)):
        raise TypeError(f"scoring is {scoring!r}; expected the name of one scorer of scikit-learn, or a callable")
    own = "accuracy" if is_classifier(estimator) else "R2"
    name = own if scoring is None else scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    return name, check_scoring(estimator, scoring=scoring)


def _row(step: BudgetStep) -> dict[str, Any]:
    network, scores = step.network, step.validation_scores
    sizes = {"weights": sum(weight.nnz for weight, _ in network.layers), "neurons": network.n_neurons}
    means = {"train_score": np.mean(step.train_scores), "validation_score": np.mean(scores)}
    return {"budget": step.budget, **sizes, **means, "validation_std": np.std(scores)}


def _cells(step: BudgetStep, mark: str) -> tuple[str, ...]:
    network = step.network
    weights = sum(weight.nnz for weight, _ in network.layers)
    validation = np.array(step.validation_scores)
    return (
        f"{step.budget}",
        f"{weights}",
        f"{network.n_neurons}",
        f"{np.mean(step.train_scores):.4f}",
        f"{validation.mean():.4f}",
        f"{validation.std():.4f}" if len(validation) > 1 else "",
        mark,
    )

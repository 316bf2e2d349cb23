"""The classifier: labels from a sparse ReLU network, under scikit-learn's contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from convexnn.checks import Floats, as_nonnegative
from convexnn.estimators.base import SparseReLUEstimator
from convexnn.estimators.scaling import Scaling
from convexnn.fitting.fit_network import as_weights


class SparseReLUClassifier(ClassifierMixin, SparseReLUEstimator):  # type: ignore[misc]
    """A sparse ReLU network as a classifier of scikit-learn: one logit for two classes, one for each of more.

    Parameters
    ----------
    budget, width, depth, bias, ridge, epochs, batch_size, n_restarts, patience, time_limit, random_state, device
        As in :class:`SparseReLURegressor`; a class counts as an output, two classes as one; `patience` has no effect.
        The default `ridge` is held against rows held out where there are two classes of 50 rows or more and no margin.
    margin : float, default 0
        How far each feature may move, in the units of X, without the label changing: as in
        :func:`convexnn.fit_network`. One number for all features, so bring them to one scale where they differ.
    warm_start : bool, default False
        As in :class:`SparseReLURegressor`, where the classes are those of the fit before.
    monotonic_cst : array_like (d,) or dict, optional
        As in :class:`SparseReLURegressor`, of the logit and so of the probability of ``classes_[1]``; for two classes.
    class_weight : dict, "balanced" or None, default None
        What the rows of a class count more than others, ``{label: weight}`` (1 where a label is left out); "balanced"
        lets all classes count alike.
    verbose : int, default 0
        As in :class:`SparseReLURegressor`.

    Attributes
    ----------
    classes_ : ndarray (k,)
        The labels, sorted.
    network_ : SparseReLUNetwork
        The network, on raw features; its outputs are logits: one, positive for ``classes_[1]``, or k.
    n_features_in_, feature_names_in_, budget_, width_, ridge_, status_, n_iter_, loss_curve_, feature_importances_
        As in :class:`SparseReLURegressor`.

    Raises
    ------
    TypeError, ValueError
        By ``fit``, as in :class:`SparseReLURegressor`; also where y has one class alone, mixes text and numbers, or
        has as many classes as rows.

    Notes
    -----
    The loss is the logistic one, or the softmax cross-entropy. Probabilities are those of the logits; they are not
    calibrated.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((300, 4))
    >>> y = np.where(np.abs(X[:, 0]) > 0.7, "far", "near")
    >>> model = SparseReLUClassifier(budget=8, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.predict([[3.0, 0.0, 0.0, 0.0]])
    (True, array(['far'], dtype='<U4'))
    """

    def __init__(
        self,
        budget: int | None = None,
        width: int | None = None,
        depth: int = 1,
        *,
        bias: bool = True,
        ridge: float | None = None,
        margin: float = 0.0,
        epochs: int | None = None,
        batch_size: int | None = None,
        n_restarts: int = 1,
        patience: int = 0,
        time_limit: float | None = None,
        warm_start: bool = False,
        monotonic_cst: Any = None,
        class_weight: dict[Any, float] | str | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            budget,
            width,
            depth,
            bias=bias,
            ridge=ridge,
            epochs=epochs,
            batch_size=batch_size,
            n_restarts=n_restarts,
            patience=patience,
            time_limit=time_limit,
            warm_start=warm_start,
            monotonic_cst=monotonic_cst,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.margin = margin
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the network to X (n, d) and labels y (n,); return the estimator.

        X and `sample_weight` are as in :meth:`SparseReLURegressor.fit`; classes are those of rows that count.
        """
        _refuse_mixed(y)
        rows, labels, weights = self._data(X, y, sample_weight)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        before, (self.classes_, index) = getattr(self, "classes_", None), np.unique(labels, return_inverse=True)
        if before is not None and not np.array_equal(before, self.classes_):
            # Its outputs spoke of other classes: it is no start for these.
            self.__dict__.pop("network_", None)
        _refuse_counts(self.classes_, len(rows))
        k = len(self.classes_)
        weights = self._weights(index, weights)
        shares = np.log(np.bincount(index, weights) / len(rows))
        constant = shares[1:] - shares[:1] if k == 2 else shares
        self._learn(rows, index, "logistic" if k == 2 else "softmax", Scaling.unit(len(constant)), constant, weights)
        return self

    def _weights(self, index: NDArray[Any], weights: Floats | None) -> Floats | None:
        """Return the weights of rows times those of their classes, at a mean of 1; None where all count alike."""
        if self.class_weight is None:
            return weights
        if not (isinstance(self.class_weight, dict) or self.class_weight == "balanced"):
            raise ValueError(f"class_weight is {self.class_weight!r}; expected a dict, 'balanced' or None")
        own = _class_weights(self.class_weight, self.classes_, index, weights)
        return as_weights(own[index] * (1.0 if weights is None else weights), len(index))[1]

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return the logits for X (n, d): (n,) for two classes, positive for ``classes_[1]``, else (n, k)."""
        check_is_fitted(self)
        return self._outputs(X)

    def _options(self, inputs: Scaling) -> dict[str, Any]:
        return {"margin": as_nonnegative(self.margin, "margin") / inputs.kept.deviations}

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return the probabilities of ``classes_`` for X (n, d): (n, k), rows of sum 1."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            return np.column_stack([expit(-logits), expit(logits)])
        return np.asarray(softmax(logits, axis=1))

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Return the logarithms of :meth:`predict_proba` (n, k), exact where probabilities are 0 to rounding."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            return np.column_stack([log_expit(-logits), log_expit(logits)])
        return np.asarray(log_softmax(logits, axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the labels for X (n, d): (n,), the class of the largest logit."""
        logits = self.decision_function(X)
        index = (logits > 0.0).astype(np.intp) if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_[index])


def _refuse_mixed(y: Any) -> None:
    """Raise where labels are text and others are not: numpy would turn all of them into text, or fail to sort them."""
    if isinstance(y, list | tuple) or getattr(getattr(y, "dtype", None), "kind", "") == "O":
        kinds = sorted({type(label).__name__ for label in y if not isinstance(label, list | tuple | np.ndarray)})
        texts = [kind for kind in kinds if kind in ("str", "str_")]
        if texts and len(texts) < len(kinds):
            raise ValueError(f"y mixes labels of types {', '.join(kinds)}; expected labels of one type")


def _class_weights(given: Any, classes: NDArray[Any], index: NDArray[Any], weights: Floats | None) -> Floats:
    """Return the weight of each class (k,): those given, or n / (k n_c), n_c the weight of the rows of class c."""
    if isinstance(given, dict):
        names = classes.tolist()
        # A class may be missing in a fold; where a class has no weight besides, its name is likely to be the mistake.
        strange = [label for label in given if label not in names]
        if strange and any(name not in given for name in names):
            raise ValueError(
                f"class_weight has a weight for {strange[0]!r}; expected labels of y, such as {names[0]!r}"
            )
        own = np.array([as_nonnegative(given.get(name, 1.0), "class_weight") for name in names])
    else:
        counts = np.bincount(index, weights)
        own = counts.sum() / (len(classes) * counts)
    if not own.all():
        raise ValueError(f"class_weight gives {classes[own == 0.0][0]} the weight 0; expected more than 0")
    return np.asarray(own, dtype=np.float64)


def _refuse_counts(classes: NDArray[Any], n_rows: int) -> None:
    if len(classes) < 2:
        raise ValueError(f"y has one class ({classes[0]}) alone; expected at least 2 classes")
    if len(classes) >= n_rows:
        raise ValueError(f"y has {len(classes)} classes in {n_rows} rows; expected fewer classes than rows")

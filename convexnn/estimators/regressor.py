"""The regressor: numbers from a sparse ReLU network, under scikit-learn's contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from convexnn.checks import Floats, as_flag
from convexnn.estimators.base import SparseReLUEstimator
from convexnn.estimators.scaling import Scaling


class SparseReLURegressor(RegressorMixin, SparseReLUEstimator):  # type: ignore[misc]
    """A sparse ReLU network as a regressor of scikit-learn.

    Parameters
    ----------
    budget : int, optional
        Most nonzero weights, of all layers together; biases come on top. Default: one for every 2 target values, at
        most 4 for each feature and output and one more, at least 10 for each output (labels: one for every 4, at most
        4.5). A budget beyond the weights that there are is clamped.
    width : int, optional
        Most neurons of each hidden layer; default 1.8 times the root of the budget, at most 100.
    depth : int, default 1
        Number of hidden layers.
    bias : bool, default True
        Whether neurons and outputs have biases. With them features and target are brought to mean 0 and deviation 1
        inside, without them they are divided by their root mean square.
    ridge : float, optional
        Strength of half the squares of all weights, on scaled features and targets. Default: the noise that the fit
        leaves times sqrt(ln(d) / n) / 2, found in two shorter fits, times what predicts rows held out best, 1/3 to 3:
        that tells misfit from noise, in short fits to two thirds of the rows (from 30 rows on). 0 fits without.
    epochs, batch_size : int, optional
        Of :func:`convexnn.fit_network`.
    n_restarts : int, default 1
        Starts, of which the best is kept.
    patience : int, default 0
        Of the search that :func:`convexnn.fit_network` adds for numbers; 0 trains alone. The search, 20 say, finds
        networks behind clean targets exactly; with noise it takes seconds and fits the noise.
    time_limit : float, optional
        Seconds after which the best network so far is taken; default none, the fit stops by its own rule.
    warm_start : bool, default False
        Whether ``fit`` begins at the network of the fit before, as a path over budgets does.
    monotonic_cst : array_like (d,) or dict, optional
        Features in which the output never falls (1), or never rises (-1), whatever the others are; 0 for any. Or
        ``{name: 1}``, or a Series, where X has names, 0 for those left out. For one target, and without a search. It is
        built in: with one hidden layer w_ij v_i has that sign or is 0 for every neuron i, in deeper ones every path
        from the feature to the output has it, and ``network_.slope_bounds()`` proves it for all inputs.
    verbose : int, default 0
        1 for messages on the fit, at level INFO of ``logging.getLogger("convexnn")``; 2 for one of every pass. They go
        to standard error where logging is not set up.
    random_state : int or numpy.random.RandomState, optional
        As everywhere in scikit-learn: a whole number makes fits repeatable.
    device : str, default "cpu"
        A torch device, such as ``cuda``.

    Attributes
    ----------
    network_ : SparseReLUNetwork
        The network, on raw features and in the units of y: as many weights as were found on scaled ones, and biases.
    n_features_in_, feature_names_in_
        Number of features, and their names where X had any.
    budget_, width_, ridge_
        What was used.
    status_ : Status
        How the fit ended.
    n_iter_, loss_curve_ : int, ndarray (e,)
        Passes e over the rows in the last fit, and the mean loss over each, on a scaled target.
    feature_importances_ : ndarray (d,)
        sum |W_L| ... |W_1| over the paths from a feature to the outputs, on scaled features and target, as shares of
        sum 1: for one hidden layer sum_j |v_j| |w_ji| times the feature's deviation. Zeros for a constant network.

    Raises
    ------
    TypeError, ValueError
        By ``fit``: an argument is of the wrong type, shape or range; X has gaps, or is sparse and too large as
        an array; the budget does not reach every output.

    Notes
    -----
    A constant target is fitted by a constant. The default ridge is that of the scaled lasso (Sun and Zhang 2012), since
    a ridge on both layers of a ReLU network is a group lasso on its neurons.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(5.0, 2.0, (300, 6))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0)
    >>> model = SparseReLURegressor(budget=12, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, sum(weight.nnz for weight, _ in model.network_.layers) <= 12
    (True, True)
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the network to X (n, d) and numbers y (n,) or (n, k); return the estimator.

        X may be a scipy.sparse matrix that takes at most 1 GiB as an array. `sample_weight` (n,), at least 0, says how
        much each row counts in the mean loss and in the ridge that follows from the noise. Whole numbers of 8 at most
        on average are counts: the fit is that of rows repeated as often, in their order. Others have no scale.
        """
        rows, target, weights = self._data(X, y, sample_weight, multi_output=True, y_numeric=True)
        values = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        scaling = Scaling.of(values, as_flag(self.bias, "bias"), weights)
        means = np.average(values, axis=0, weights=weights)
        outputs = _without_constants(scaling, values)
        self._learn(rows, outputs.apply(values), "squared", outputs, means, weights)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Return the outputs for X (n, d): (n,) with one output, else (n, k)."""
        check_is_fitted(self)
        return self._outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _without_constants(scaling: Scaling, values: Floats) -> Scaling:
    """Return the scaling that leaves out the constant outputs: they are their means, with biases or without."""
    constant = np.ptp(values, axis=0) == 0.0
    centres = np.where(constant, values.mean(axis=0), scaling.centres)
    return Scaling(centres, scaling.deviations, scaling.varies & ~constant)

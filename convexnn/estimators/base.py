"""What regressor and classifier share: parameters, the fit on scaled data, and the network on raw features."""

from __future__ import annotations

import os
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from convexnn.checks import Floats, as_count, as_flag, as_nonnegative, refuse_masked
from convexnn.estimators.defaults import network_size, passes
from convexnn.estimators.files import read_estimator, write_estimator
from convexnn.estimators.monotonic import as_monotonic
from convexnn.estimators.network_fitter import NetworkFitter
from convexnn.estimators.progress import Report, as_verbosity, reporting
from convexnn.estimators.rows import by_tiles, counted_rows, dense
from convexnn.estimators.scaling import Scaling, constant_network, to_raw, to_scaled
from convexnn.fitting.result import NetworkFit
from convexnn.frames import is_frame, refuse_columns
from convexnn.network import SparseReLUNetwork
from convexnn.solution import Status
from convexnn.solvers.common.deadline import Deadline, seconds_to_import


class SparseReLUEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part; see :class:`SparseReLURegressor` and :class:`SparseReLUClassifier`."""

    def __init__(
        self,
        budget: int | None = None,
        width: int | None = None,
        depth: int = 1,
        *,
        bias: bool = True,
        ridge: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        n_restarts: int = 1,
        patience: int = 0,
        time_limit: float | None = None,
        warm_start: bool = False,
        monotonic_cst: Any = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        self.budget = budget
        self.width = width
        self.depth = depth
        self.bias = bias
        self.ridge = ridge
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_restarts = n_restarts
        self.patience = patience
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.monotonic_cst = monotonic_cst
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted estimator to an ``.npz`` file without pickle; return its path.

        The file holds the network, exact to the last bit, the names of features and classes, how the command line made
        features of the columns of a table (``columns_``, where it was fitted there), the features' importance, and the
        parameters (a ``random_state`` that is not a whole number becomes None, as do weights of classes that are no
        text).
        :meth:`convexnn.SparseReLUNetwork.load` and ``verify.read_network`` read it too, as the network alone.
        """
        return write_estimator(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an estimator that :meth:`save` wrote; no code of the file is ever run.

        Raises
        ------
        OSError
            The file cannot be opened.
        ValueError
            The file is no estimator of this class.
        """
        return read_estimator(cls, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _data(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, **checks: Any
    ) -> tuple[Floats, NDArray[Any], Floats | None]:
        """Return rows and target of a fit as they count, and the weights (n,) that are left, None for none."""
        for values, name in ((X, "X"), (y, "y")):
            refuse_masked(values, name, "an array")
        if is_frame(X):
            refuse_columns(X, "X")
        if checks.get("y_numeric"):
            _refuse_dates(y)
        rows, target = validate_data(self, X, y, dtype=np.float64, accept_sparse="csr", ensure_min_samples=2, **checks)
        if sample_weight is None:
            return dense(rows), target, None
        index, weights = counted_rows(sample_weight, rows.shape[0])
        return dense(rows[index]), target[index], weights

    def _outputs(self, X: Any) -> Floats:
        """Return the network's outputs for X (n, d): (n,) or (n, k)."""
        refuse_masked(X, "X", "an array")
        rows = validate_data(self, X, dtype=np.float64, accept_sparse="csr", reset=False)
        return by_tiles(self._network.predict, rows)

    @property
    def _network(self) -> SparseReLUNetwork:
        network: SparseReLUNetwork = self.network_
        return network

    def _learn(
        self,
        X: Floats,
        y: NDArray[Any],
        loss: str,
        outputs: Scaling,
        constant: Floats,
        weights: Floats | None,
    ) -> None:
        """Fit to rows (n, d) and a target in the units of `loss`; set ``network_`` and what was chosen.

        Where there is nothing to learn, or nothing to learn it from, the outputs are the `constant` (k,).
        """
        # They were those of the table of a fit before.
        self.__dict__.pop("columns_", None)
        inputs = Scaling.of(X, as_flag(self.bias, "bias"), weights)
        n_inputs, n_outputs = max(int(inputs.varies.sum()), 1), max(int(outputs.varies.sum()), 1)
        sizes = (self.depth, len(X), n_inputs, n_outputs)
        self.budget_, self.width_ = network_size(self.budget, self.width, *sizes, labels=loss != "squared")
        if not (inputs.varies.any() and outputs.varies.any()):
            self.network_ = constant_network(X.shape[1], constant)
            # A target that does not vary is met; features that do not vary leave nothing better than the constant.
            self.status_ = Status.CONVERGED if outputs.varies.any() else Status.EXACT
            self.ridge_, self.n_iter_, self.loss_curve_ = 0.0, 0, np.zeros(0)
            self.feature_importances_ = np.zeros(X.shape[1])
            return
        options = {"start": self._start(inputs, outputs), "sample_weight": weights, **self._options(inputs)}
        signs = self._monotonic(X.shape[1], len(constant))
        options["monotonic_cst"] = None if signs is None else signs[inputs.varies]
        fit = self._fitted(inputs.apply(X), y, loss, options)
        self.network_ = to_raw(fit.network, inputs, outputs)
        self.status_, self.n_iter_, self.loss_curve_ = fit.status, len(fit.history), fit.history
        self.feature_importances_ = inputs.selection.T @ importances(fit.network)

    def _start(self, inputs: Scaling, outputs: Scaling) -> SparseReLUNetwork | None:
        """Return the network of the fit before on scaled data, where it is asked for and fits in."""
        before = getattr(self, "network_", None) if as_flag(self.warm_start, "warm_start") else None
        if before is None:
            return None
        sizes = (len(inputs.varies), *[self.width_] * self.depth, len(outputs.varies))
        same_ends = (before.n_inputs, before.n_outputs) == (sizes[0], sizes[-1])
        small_enough = len(before.sizes) == len(sizes) and max(before.sizes[1:-1]) <= self.width_
        return to_scaled(before, inputs, outputs) if same_ends and small_enough else None

    def _monotonic(self, n_features: int, n_outputs: int) -> Floats | None:
        """Return the signs of the slopes in the features (d,), where any is to have one."""
        signs = as_monotonic(self.monotonic_cst, n_features, getattr(self, "feature_names_in_", None))
        if signs is not None and n_outputs > 1:
            what = f"{n_outputs} classes" if hasattr(self, "classes_") else f"{n_outputs} targets"
            raise ValueError(f"monotonic_cst is for one output, and y has {what}; expected one target, or two classes")
        return signs

    def _options(self, inputs: Scaling) -> dict[str, Any]:
        """Return further options of `fit_network`, for features as they are scaled."""
        return {}

    def _fitted(self, rows: Floats, y: NDArray[Any], loss: str, options: dict[str, Any]) -> NetworkFit:
        """Return the fit with the ridge given, or with one that follows from the noise; set ``ridge_``."""
        verbosity = as_verbosity(self.verbose)
        with reporting(verbosity) as report:
            fitter = self._fitter(rows, y, loss, options, report, verbosity)
            given = None if self.ridge is None else as_nonnegative(self.ridge, "ridge")
            self.ridge_, interrupted = fitter.find_ridge() if given is None else (given, None)
            return interrupted or fitter.fit(self.ridge_, n_restarts=self.n_restarts, patience=self.patience)

    def _fitter(
        self,
        rows: Floats,
        y: NDArray[Any],
        loss: str,
        options: dict[str, Any],
        report: Report,
        verbosity: int,
    ) -> NetworkFitter:
        """Return the fits with everything but the ridge."""
        batch = None if self.batch_size is None else as_count(self.batch_size, "batch_size")
        seconds_to_import("torch")  # before the clock is started
        return NetworkFitter(
            rows,
            y,
            loss,
            passes(len(rows), batch) if self.epochs is None else as_count(self.epochs, "epochs"),
            Deadline(None if self.time_limit is None else as_nonnegative(self.time_limit, "time_limit")),
            {
                "budget": self.budget_,
                "width": self.width_,
                "depth": self.depth,
                "bias": self.bias,
                "batch_size": batch,
                **options,
                "seed": int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
                "device": self.device,
            },
            report,
            verbosity,
        )


# Dates and times, as arrays of numpy and as objects, such as those of pandas, and what they are as numbers.
_DATES: tuple[tuple[tuple[type, ...], str, str], ...] = (
    ((np.datetime64, date), "dates", "days"),
    ((np.timedelta64, timedelta, time), "times", "seconds"),
)


def _refuse_dates(y: Any) -> None:
    """Raise where numbers to predict are dates or times: scikit-learn would take them as counts of a unit unknown."""
    if is_frame(y):
        refuse_columns(y, "y")
        return
    array = np.asarray(y)
    first = next((cell for cell in array.flat if cell is not None), None) if array.dtype.kind in "mMO" else None
    for kinds, name, such in _DATES:
        if isinstance(first, kinds):
            raise TypeError(f"y holds {name}, such as {str(first)!r}; expected numbers: write them as {such}")


def importances(network: SparseReLUNetwork) -> Floats:
    """Return how much each feature of deviation 1 counts (d,), of sum 1; zeros for a network without weights.

    Feature i counts sum |W_L| ... |W_1| over the paths from it to the outputs: for one hidden layer
    sum_j |v_j| |w_ji|.
    """
    paths = np.ones(network.n_outputs)
    for weight, _ in reversed(network.layers):
        paths = abs(weight).T @ paths
    total = paths.sum()
    return np.asarray(paths / total if total > 0.0 else paths)

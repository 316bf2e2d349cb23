"""Fit a network of any depth and number of outputs with one budget over the weights of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import (
    Floats,
    Ints,
    as_callback,
    as_count,
    as_flag,
    as_generator,
    as_matrix,
    as_moderate,
    as_nonnegative,
    as_vector,
)
from convexnn.fitting.result import NetworkFit
from convexnn.fitting.schedule import Schedule
from convexnn.network import SparseReLUNetwork
from convexnn.program.accuracy import Accuracy
from convexnn.program.losses import Loss, loss_named
from convexnn.program.targets import Target, encode
from convexnn.solvers.common.deadline import Deadline, seconds_to_import
from convexnn.solvers.common.descent import Callback, Limits
from convexnn.workers import as_jobs

if TYPE_CHECKING:
    from convexnn.fitting.problem import FitProblem

# Most neurons a layer where the caller sets no limit, and neurons for the root of the budget.
WIDTH, WIDTH_FOR_ROOT = 100, 1.8

# Weights of layers as wide as the caller asks for: with slopes and moments they take some 4 GiB.
MOST_WEIGHTS = 1 << 28

# Rows a step, and the fewest steps of a pass where there are few rows.
BATCH, STEPS_A_PASS = 256, 8

# Fewest passes, and fewest steps, of a run where the caller sets no number.
EPOCHS, STEPS = 40, 2000


def fit_network(
    X: ArrayLike,
    y: ArrayLike,
    budget: int,
    width: int | None = None,
    *,
    depth: int = 1,
    loss: str = "squared",
    bias: bool = False,
    ridge: float = 0.0,
    margin: float | ArrayLike = 0.0,
    epochs: int | None = None,
    batch_size: int | None = None,
    start: SparseReLUNetwork | None = None,
    n_restarts: int = 1,
    patience: int = 20,
    seed: int | np.random.Generator = 0,
    time_limit: float | None = None,
    device: str = "cpu",
    callback: Callback | None = None,
    linear: bool = True,
    polish: bool = True,
    sample_weight: ArrayLike | None = None,
    monotonic_cst: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> NetworkFit:
    """Fit a ReLU network with at most `budget` nonzero weights, those of hidden and output layers together.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite. Features are brought to one scale inside (and centred, with biases); the
        network is for X as given.
    y : array_like (n,) or (n, k)
        Numbers for the squared loss; one label a row for the others.
    budget : int
        Most nonzero weights, at least one for each output and one for each layer; biases do not count.
    width : int, optional
        Most neurons of a hidden layer; default 1.8 times the root of the budget, at most 100.
    depth : int, default 1
        Number of hidden layers.
    loss : {"squared", "logistic", "softmax"}
        Two labels for the logistic (one output), any number for the softmax (an output a label).
    bias : bool, default False
        Whether neurons and outputs have biases.
    ridge : float, default 0
        Strength of 1/2 ||W||^2 on the weights of all layers, at unit scale of the features (and of numbers that are
        fitted).
    margin : float or array_like (d,), default 0
        For labels: how far each feature may move, in the units of `X`, without the label changing. The loss is then
        that of the worst row within reach, as intervals bound it; the network is robust by the bounds that `verify`
        tries first, and trades accuracy for it.
    epochs : int, optional
        Passes over the data; default 40, or as many as 2,000 steps take.
    batch_size : int, optional
        Rows a step; default 256, or an eighth of the rows where they are fewer; n for full batches.
    start : SparseReLUNetwork, optional
        A network to begin with, of this depth and these sizes at most; its weights fall to the budget. One that is not
        monotone as `monotonic_cst` asks is not begun with.
    n_restarts : int, default 1
        Starts; the network of the lowest loss on the data is returned, the ridge not counted. Every other one begins
        with wider layers instead of a search, where there is no `start` and `width` is below 100.
    patience : int, default 20
        With the squared loss: candidates without a better one that end the search for a layer's neurons in a random
        combination of the outputs; 0 for no search.
    seed : int or numpy.random.Generator, default 0
        Every choice follows from it.
    time_limit : float, optional
        Seconds. Shorter runs come first then, so that there is a network when time is up.
    device : str, default "cpu"
        A torch device, such as ``cuda``.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each pass. KeyboardInterrupt, raised in it
        or from outside, returns the best network so far.
    linear : bool, default True
        Whether the linear or logistic model of the same features and ridge, cut to the budget, is a candidate. Where
        the budget holds all of it, the loss is never above its.
    polish : bool, default True
        Whether the weights that a run keeps are refitted; without it the loss is that of training, which stops early.
    sample_weight : array_like (n,), optional
        How much each row counts, at least 0: the loss is the weighted mean. Rows of weight 0 are left out; the search
        for hidden layers takes the others alike, all fits after it weigh them.
    monotonic_cst : array_like (d,) of -1, 0 and 1, optional
        Features in which the output is to rise everywhere (1), or fall (-1), with one output alone: all paths from such
        a feature to the output then have that sign, so that the network keeps it for all inputs. Nothing is searched.
    n_jobs : int, optional
        Starts at a time, as of :func:`convexnn.recover`.

    Returns
    -------
    NetworkFit
        The network, its loss and how the run went.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.
    OSError
        A start killed its worker process, or the cluster has gone.

    Notes
    -----
    Iterative hard thresholding on all layers at once, as "A Recovery Guarantee for Sparse Neural Networks" (arXiv
    2509.20323) does for several outputs, here with Adam steps, a budget that falls as a cubic from 40 times its last
    value, and weights compared by |w| (E g^2)^(1/4), g the gradient of a step: magnitudes alone depend on the scale
    of a layer. A run ends with damped Gauss-Newton steps on the support of all layers (L-BFGS for labels where those
    take long; neither with a margin). Squared losses have a second way: with y = V relu(W x), a random combination of
    the outputs has one output and all neurons of the network, so that the search of :func:`recover` finds W, least
    squares V, and both layers are thinned together. Deeper networks are searched layer by layer, as in the paper, and
    then refitted as a whole. The network of the lower loss is returned.

    Every other start, where layers have fewer than 100 neurons and no `start` is given, trains layers of 10 or 3 times
    as many (at most 100) without a budget, drops the weakest neurons step by step until layers are as wide as asked
    for, and only then lets the budget fall, from all weights that are left: among more neurons those of a small deep
    network are found more often. It takes long runs; `epochs` of 1,000 for 5,000 rows, say.

    With a margin r the values of each layer are intervals c +- s over the box |x - x_i| <= r: s = |W| r for the first
    layer, exactly, which is a term ||r * w_j||_1 of the input weights of every neuron; a bound further on. The loss at
    the worst outputs within the intervals is minimised ("On the Effectiveness of Interval Bound Propagation for
    Training Verifiably Robust Models", arXiv 1810.12715); the margin grows from 0 until the budget has fallen. Features
    are brought to the scale sqrt(mean square + r^2). Of several starts the one of the lowest worst-case loss is
    returned.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((300, 6))
    >>> y = np.where(np.maximum(X[:, 0], 0) > np.maximum(X[:, 1], 0.3), "left", "right")
    >>> fit = fit_network(X, y, budget=12, loss="logistic", bias=True)
    >>> fit.nnz, [str(name) for name in fit.classes]
    (12, ['left', 'right'])
    """
    began = perf_counter()
    rows, function = _read(X, y, loss, sample_weight), loss_named(loss)
    n_rows, n_features, n_outputs = *rows.matrix.shape, rows.values.shape[1]
    sizes = _sizes(budget, width, as_count(depth, "depth"), (n_features, n_outputs))
    if start is not None:
        _check_start(start, sizes)
    schedule = _schedule(n_rows, budget, epochs, batch_size, ridge)
    as_count(patience, "patience", at_least=0)
    as_callback(callback)
    limits = Limits(as_count(n_restarts, "n_restarts"), time_limit)
    reach = _margin(margin, n_features, loss)
    slopes = None if monotonic_cst is None else _slopes(monotonic_cst, n_features, n_outputs)
    # It is not loaded before it is used, and comes with what follows.
    deadline = Deadline(limits.time_limit, began + seconds_to_import("torch"))
    from convexnn.fitting.problem import FitProblem
    from convexnn.fitting.restarts import MultistartFit
    from convexnn.linear.operator import as_device

    problem = FitProblem.make(rows.matrix, rows.values, function, bias, as_device(device), reach, rows.weights, slopes)
    search = MultistartFit(
        problem,
        partial(_mean_loss, function, rows) if problem.reach is None else partial(_worst_loss, problem),
        sizes,
        as_flag(bias, "bias"),
        schedule,
        patience,
        deadline,
        callback,
        as_flag(linear, "linear"),
        as_flag(polish, "polish"),
        as_jobs(n_jobs),
    )
    status = search.run(n_restarts, start, as_generator(seed))
    objective = _mean_loss(function, rows, search.best)
    accuracy = Accuracy.of_loss(objective, rows.target.values, rows.weights) if loss == "squared" else None
    history = np.array(search.history)
    return NetworkFit(
        search.best, loss, rows.target.classes, budget, objective, status, deadline.seconds, history, accuracy
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Features (n, d), the target as its loss takes it, and the weights (n,) of rows, None where all count alike."""

    matrix: Floats
    target: Target
    weights: Floats | None

    @property
    def values(self) -> Floats:
        """The target (n, q)."""
        return self.target.values.reshape(len(self.matrix), -1)


def _read(X: ArrayLike, y: ArrayLike, loss: str, sample_weight: ArrayLike | None) -> _Rows:
    """Return the rows, checked; those of weight 0 are left out."""
    matrix = as_moderate(as_matrix(X, "X", min_rows=2), "X")
    # An unknown loss is told before the target is looked at.
    loss_named(loss)
    target = encode(y, loss, len(matrix))
    if sample_weight is None:
        return _Rows(matrix, target, None)
    kept, weights = as_weights(sample_weight, len(matrix))
    return _Rows(matrix[kept], encode(np.asarray(y)[kept], loss, len(kept)), weights)


def _mean_loss(function: Loss, rows: _Rows, network: SparseReLUNetwork) -> float:
    """Return the loss of a network on the rows."""
    from convexnn.fitting.weighting import mean_loss

    return mean_loss(function, network.predict(rows.matrix), rows.target.values, rows.weights)


def _worst_loss(problem: FitProblem, network: SparseReLUNetwork) -> float:
    """Return the loss of a network at the worst outputs within the margin."""
    from convexnn.fitting.worst_case import worst_loss

    return worst_loss(problem, problem.layers(network, network.sizes, bias=True))


def as_weights(sample_weight: ArrayLike, n_rows: int) -> tuple[Ints, Floats | None]:
    """Return the rows that count, and their weights at a mean of 1; None where they count alike."""
    weights = as_vector(sample_weight, "sample_weight", n_rows)
    if weights.min() < 0.0:
        raise ValueError(f"sample_weight holds {weights.min():g}; expected numbers of at least 0")
    kept = np.flatnonzero(weights)
    if len(kept) < 2:
        which = "zero on all rows" if not len(kept) else "zero on all rows but one"
        raise ValueError(f"sample_weight is {which}; expected weights above zero on at least 2")
    left = weights[kept] / weights.max()
    return kept, None if np.ptp(left) == 0.0 else left / left.mean()


def _sizes(budget: int, width: int | None, depth: int, ends: tuple[int, int]) -> tuple[int, ...]:
    """Return inputs, neurons of each hidden layer and outputs, checked against the budget."""
    least = max(ends[1], depth + 1)
    if as_count(budget, "budget") < least:
        raise ValueError(f"budget is {budget}; expected at least {least}, one weight for each output and each layer")
    neurons = min(WIDTH, ceil(WIDTH_FOR_ROOT * budget**0.5)) if width is None else as_count(width, "width")
    sizes = (ends[0], *[neurons] * depth, ends[1])
    most = sum(before * after for before, after in pairwise(sizes))
    if budget > most and width is not None:
        raise ValueError(f"budget is {budget}; expected at most {most}, the weights of {width} neurons a layer")
    if most > MOST_WEIGHTS and width is not None:
        raise ValueError(
            f"width is {width}, of layers with {most:,} weights; expected at most {MOST_WEIGHTS:,} weights, which are "
            "all held before the budget falls"
        )
    return sizes


def _schedule(n_rows: int, budget: int, epochs: int | None, batch_size: int | None, ridge: float) -> Schedule:
    """Return the schedule of a full run."""
    batch = min(BATCH, ceil(n_rows / STEPS_A_PASS)) if batch_size is None else as_count(batch_size, "batch_size")
    passes = max(EPOCHS, ceil(STEPS * batch / n_rows)) if epochs is None else as_count(epochs, "epochs")
    return Schedule(int(budget), passes, min(batch, n_rows), ridge=as_nonnegative(ridge, "ridge"))


def _margin(margin: float | ArrayLike, n_features: int, loss: str) -> Floats:
    """Return the margin of each feature (d,)."""
    if np.ndim(margin) == 0:
        reach = np.full(n_features, as_nonnegative(margin, "margin"))
    else:
        reach = as_vector(margin, "margin", n_features, "feature of X")
    if reach.min() < 0.0:
        raise ValueError(f"margin holds {reach.min():g}; expected numbers of at least 0")
    if loss == "squared" and reach.any():
        raise ValueError(f"margin is {margin!r}; expected 0 with the squared loss: it keeps labels, not numbers")
    return reach


def _slopes(monotonic_cst: ArrayLike, n_features: int, n_outputs: int) -> Floats:
    """Return the sign of the slope in each feature (d,)."""
    signs = as_vector(monotonic_cst, "monotonic_cst", n_features, "feature of X")
    strange = signs[~np.isin(signs, (-1.0, 0.0, 1.0))]
    if len(strange):
        raise ValueError(f"monotonic_cst holds {strange[0]:g}; expected -1, 0 or 1 for each feature of X")
    if n_outputs > 1 and signs.any():
        raise ValueError(
            f"monotonic_cst is for one output, and y makes {n_outputs}; expected one target, or two labels"
        )
    return signs


def _check_start(start: SparseReLUNetwork, sizes: tuple[int, ...]) -> None:
    if not isinstance(start, SparseReLUNetwork):
        raise TypeError(f"start is a {type(start).__name__}; expected a SparseReLUNetwork")
    is_within = len(start.sizes) == len(sizes) and all(map(int.__le__, start.sizes, sizes))
    if not is_within or (start.sizes[0], start.sizes[-1]) != (sizes[0], sizes[-1]):
        raise ValueError(f"start has sizes {start.sizes}; expected at most {sizes}, with the same inputs and outputs")

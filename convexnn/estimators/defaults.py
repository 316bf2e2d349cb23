"""Defaults: budget, width and ridge where the caller leaves them open."""

from __future__ import annotations

from math import ceil, log, sqrt

import numpy as np

from convexnn.checks import Floats, as_count
from convexnn.fitting.fit_network import BATCH, STEPS_A_PASS, WIDTH, WIDTH_FOR_ROOT
from convexnn.program.losses import Loss

# Fewest passes of a fit over the data, and fewest steps, where the caller sets no number of passes.
EPOCHS, STEPS = 40, 800

# Share of the largest correlation that noise reaches that the ridge is: the whole kept more neurons of pure noise at
# zero, and weakened those of a signal; on tables without much signal both did as well (benchmarks/tables.py).
RIDGE_SHARE = 0.5

# Target values in the data for each weight of the network, of numbers and of labels, which say less: a linear model of
# many columns fits in, and the ridge keeps what few rows do not bear out small.
ROWS_PER_WEIGHT, ROWS_PER_WEIGHT_LABELS = 2, 4

# Most weights for each input and output, and one more: 4 % and 4.5 % of those of a dense network of 100 hidden neurons.
# With 8, and a weight for 8 rows, numbers were predicted less well on the first half of benchmarks/tables.py; with 4,
# rare labels were fitted less well than by a logistic regression.
WEIGHTS_PER_UNIT, WEIGHTS_PER_UNIT_LABELS = 4.0, 4.5

# Weights that a network gets however few rows there are, for each output.
LEAST_PER_OUTPUT = 10


def network_size(
    budget: int | None, width: int | None, depth: int, n_rows: int, n_inputs: int, n_outputs: int, labels: bool = False
) -> tuple[int, int]:
    """Return budget and width: those given or, where None, those that the size of the data suggests.

    The budget is one weight for every 2 target values, at most 4 for each input and output and one more (labels: 4 and
    4.5), at least 10 for each output; never more than the weights that the network has. The width is that of
    ``fit_network``.

    Raises
    ------
    TypeError, ValueError
        One is not a whole number in range, or the budget does not reach all outputs through all layers.
    """
    layers = as_count(depth, "depth")
    least = max(n_outputs, layers + 1)
    if budget is None:
        per_unit, per_weight = WEIGHTS_PER_UNIT, ROWS_PER_WEIGHT
        if labels:
            per_unit, per_weight = WEIGHTS_PER_UNIT_LABELS, ROWS_PER_WEIGHT_LABELS
        most, values = int(per_unit * (n_inputs + n_outputs + 1)), n_rows * n_outputs
        asked = max(min(values // per_weight, most), LEAST_PER_OUTPUT * n_outputs, least)
    else:
        asked = as_count(budget, "budget")
        if asked < least:
            raise ValueError(f"budget is {asked}; expected at least {least}, one weight for each output and each layer")
    wide = default_width(asked) if width is None else as_count(width, "width")
    return min(asked, wide * (n_inputs + (layers - 1) * wide + n_outputs)), wide


def default_width(budget: int) -> int:
    """Return the width of hidden layers for a budget: 1.8 times its root, at most 100."""
    return min(WIDTH, ceil(WIDTH_FOR_ROOT * budget**0.5))


def noise_ridge(deviation: float, n_rows: int, n_inputs: int) -> float:
    """Return the ridge that keeps most neurons of pure noise at zero: deviation / 2 sqrt(ln(d) / n).

    A ridge r on both layers of a ReLU network costs each neuron r |u| |v|, so it acts as the group lasso on products of
    weights; noise of that deviation correlates with d columns of unit deviation by about twice this much (Sun and Zhang
    2012, "Scaled sparse linear regression", where the deviation is found along with the fit as it is here).
    """
    return RIDGE_SHARE * deviation * sqrt(log(max(n_inputs, 2)) / n_rows)


def passes(n_rows: int, batch_size: int | None) -> int:
    """Return how often a fit goes through the rows: 40 times, or as many as 800 steps take."""
    batch = min(BATCH, ceil(n_rows / STEPS_A_PASS)) if batch_size is None else min(batch_size, n_rows)
    return max(EPOCHS, ceil(STEPS * batch / n_rows))


def noise_deviation(
    loss: Loss, outputs: Floats, target: Floats, n_weights: int = 0, weights: Floats | None = None
) -> float:
    """Return the deviation of the loss's slope at the outputs (n,) or (n, k): the noise that a fit leaves.

    For the squared loss that of the residual, for labels that of probabilities less labels; degrees of freedom: the
    values of the target less the weights, at least half the values. `weights` are those of the rows (n,), of mean 1.
    """
    slope = loss.gradient(outputs, target) * len(target)
    if weights is not None:
        slope = slope * np.sqrt(weights if slope.ndim == 1 else weights[:, None])
    return sqrt(float(np.square(slope).sum()) / max(slope.size - n_weights, slope.size / 2))

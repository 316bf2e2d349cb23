"""What a baseline is asked: data on a torch device, the sizes of the network, how steps are taken."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convexnn.baselines.masked_network import MaskedNetwork
from convexnn.baselines.result import Baseline
from convexnn.checks import Floats, as_count, as_flag, as_generator, as_known, as_matrix, as_nonnegative, as_vector
from convexnn.fitting.problem import FitProblem, Units
from convexnn.linear.operator import as_device
from convexnn.network import SparseReLUNetwork
from convexnn.program.losses import loss_named
from convexnn.program.targets import encode

# Rows at a time where the loss of a network is recomputed.
TILE = 256


@dataclass(frozen=True, eq=False)
class TaskOptions:
    """The arguments that all baselines share, as a caller gives them; :meth:`Task.make` checks them.

    Attributes
    ----------
    width, depth, loss, batch_size, lr, bias, seed, device
        As :func:`convexnn.baselines.train_dense` takes them.
    weights, output_signs
        As :func:`convexnn.baselines.prune_iteratively` takes them.
    """

    width: int
    depth: int
    loss: str
    batch_size: int | None
    lr: float
    bias: bool
    seed: int
    device: str
    weights: str = "all"
    output_signs: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """Data in float32 as given, without any scaling, and the choices that all baselines share.

    Attributes
    ----------
    problem : FitProblem
        Rows (n, d) and target (n, k) on the device.
    sizes : tuple of int
        Inputs, hidden neurons of each layer, outputs.
    bias : bool
        Whether there are biases; they are neither pruned nor counted.
    signs : Tensor (width,) or None
        Output weights that are given and stay; None where the last layer is trained and counted like the others.
    batch : int
        Rows a step.
    lr : float
        Step size of Adam.
    classes : ndarray or None
        The labels, for labels.
    generator : torch.Generator
        Of the first weights and of the order of the rows.
    """

    problem: FitProblem
    sizes: tuple[int, ...]
    bias: bool
    signs: Tensor | None
    batch: int
    lr: float
    classes: NDArray[Any] | None
    generator: torch.Generator

    @classmethod
    def make(cls, X: ArrayLike, y: ArrayLike, options: TaskOptions) -> Task:
        """Return the task for arguments as a caller gives them; what does not fit is one clear line."""
        matrix = as_matrix(X, "X", min_rows=2)
        function, target = loss_named(options.loss), encode(y, options.loss, len(matrix))
        values = target.values.reshape(len(matrix), -1)
        neurons = as_count(options.width, "width")
        sizes = (matrix.shape[1], *[neurons] * as_count(options.depth, "depth"), values.shape[1])
        device, batch_size = as_device(options.device), options.batch_size
        rows, targets = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in (matrix, values))
        generator = torch.Generator().manual_seed(int(as_generator(options.seed).integers(2**62)))
        return cls(
            FitProblem(rows, targets, _identity_units(sizes), function),
            sizes,
            as_flag(options.bias, "bias"),
            _signs(options.weights, options.output_signs, sizes, device),
            len(matrix) if batch_size is None else min(as_count(batch_size, "batch_size"), len(matrix)),
            as_rate(options.lr),
            target.classes,
            generator,
        )

    @property
    def n_counted(self) -> int:
        """Number of weights that a budget counts, the first of the parameters."""
        counted = self.sizes if self.signs is None else self.sizes[:-1]
        return sum(before * after for before, after in pairwise(counted))

    def new_model(self) -> MaskedNetwork:
        """Return a dense network with new random weights."""
        return MaskedNetwork.random(self.sizes, self.bias, self.signs, self.problem.rows.device, self.generator)

    def baseline(self, model: MaskedNetwork, method: str, seconds: float) -> Baseline:
        """Return the baseline that a model has become."""
        network = model.network()
        return Baseline(network, method, model.nnz, self.loss_of(network), seconds, self.classes)

    def loss_of(self, network: SparseReLUNetwork) -> float:
        """Return the mean loss of a network on the rows as they are held, in float64."""
        total, n = 0.0, self.problem.n_rows
        for first in range(0, n, TILE):
            rows, target = (part[first : first + TILE] for part in (self.problem.rows, self.problem.target))
            output = network.predict(_numpy(rows)).reshape(len(rows), -1)
            total += self.problem.loss.value(output, _numpy(target)) * len(rows)
        return total / n


class Stopwatch:
    """Seconds since the start, less those of laps that are not to be counted."""

    def __init__(self) -> None:
        self.began, self.aside = perf_counter(), 0.0

    def read(self) -> float:
        """Return the seconds."""
        return perf_counter() - self.began - self.aside

    def back_to(self, seconds: float) -> None:
        """Count on from an earlier reading."""
        self.aside += self.read() - seconds


def as_rate(lr: Any) -> float:
    """Return a step size above 0."""
    rate = as_nonnegative(lr, "lr")
    if rate == 0.0:
        raise ValueError("lr is 0; expected a step size above 0")
    return rate


def as_budgets(budgets: Any, most: int) -> list[int]:
    """Return budgets without repetition, the largest first, each from 1 to `most`, the weights there are."""
    try:
        given = list(budgets)
    except TypeError:
        raise TypeError(f"budgets is {budgets!r}; expected a sequence of whole numbers") from None
    if not given:
        raise ValueError("budgets is empty; expected at least one whole number")
    checked = {as_budget(budget, most, f"budgets[{index}]") for index, budget in enumerate(given)}
    return sorted(checked, reverse=True)


def as_budget(budget: Any, most: int, name: str = "budget") -> int:
    """Return a budget from 1 to `most`, the weights there are."""
    count = as_count(budget, name)
    if count > most:
        raise ValueError(f"{name} is {count}; expected at most {most}, the weights of the dense network")
    return count


def _identity_units(sizes: tuple[int, ...]) -> Units:
    """Return the units of data that are left as they are."""
    return Units(np.zeros(sizes[0]), np.ones(sizes[0]), np.zeros(sizes[-1]), 1.0)


def _signs(weights: str, signs: ArrayLike | None, sizes: tuple[int, ...], device: torch.device) -> Tensor | None:
    if as_known(weights, "weights", ("all", "hidden")) == "all":
        if signs is not None:
            raise ValueError("output_signs is given and weights is 'all'; expected weights='hidden' with it")
        return None
    if sizes[-1] != 1:
        raise ValueError(f"weights is 'hidden' and there are {sizes[-1]} outputs; expected one output")
    vector = np.ones(sizes[-2]) if signs is None else as_vector(signs, "output_signs", sizes[-2], "sign per neuron")
    if not np.isin(vector, (-1.0, 1.0)).all():
        raise ValueError(f"output_signs holds {vector[~np.isin(vector, (-1.0, 1.0))][0]:g}; expected -1 and 1 alone")
    return torch.as_tensor(vector, dtype=torch.float32, device=device)


def _numpy(part: Tensor) -> Floats:
    return part.double().cpu().numpy()

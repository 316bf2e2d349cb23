"""The runs of a fit: starts, short and long, each trained and refitted; the best network so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter

import numpy as np
import torch

from convexnn.fitting.joint import joint_polish
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.schedule import Schedule
from convexnn.fitting.training import train
from convexnn.network import SparseReLUNetwork
from convexnn.solution import Status
from convexnn.solvers.descent import Callback, Progress

# Multiplications of one refit of all layers at once, n k s^2, up to which it takes less than a second or so.
AFFORDABLE = 2e10

# With a time limit, shorter runs come first, so that there is a network when time is up: shares of the passes.
LADDER = (1 / 16, 1 / 4, 1.0)


@dataclass(eq=False)
class Runs:
    """Runs of a fit.

    Attributes
    ----------
    problem : FitProblem
        The data at unit scale, float64; training is in float32.
    measure : callable
        network -> its mean loss on the data as given.
    sizes : tuple of int
        Inputs, hidden neurons of each layer, outputs.
    bias : bool
        Whether there are biases.
    schedule : Schedule
        Of a full run.
    time_limit : float or None
        Seconds from `began`.
    callback : callable or None
        Told of each pass.
    best, objective
        The best network so far and its loss.
    history : list of float
        Mean loss over each pass.
    """

    problem: FitProblem
    measure: Callable[[SparseReLUNetwork], float]
    sizes: tuple[int, ...]
    bias: bool
    schedule: Schedule
    time_limit: float | None
    callback: Callback | None
    began: float
    best: SparseReLUNetwork = field(init=False)
    objective: float | None = None
    history: list[float] = field(default_factory=list)

    @cached_property
    def coarse(self) -> FitProblem:
        """The data at unit scale, float32."""
        return self.problem.to(torch.float32)

    def go(self, n_restarts: int, start: SparseReLUNetwork | None, rng: np.random.Generator) -> Status:
        """Run all starts; return how they ended."""
        shares = (1.0,) if self.time_limit is None else LADDER
        status = Status.CONVERGED
        for share in shares * n_restarts:
            status = self._one(share, start, rng)
            if status is not Status.CONVERGED:
                break
        return status

    def keep(self, network: SparseReLUNetwork) -> None:
        """Make a network the best if its loss on the data is the lowest, or it is the first."""
        value = self.measure(network)
        if self.objective is None or value < self.objective:
            self.best, self.objective = network, value

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self.began

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.time_limit is not None and self.seconds >= self.time_limit

    def _one(self, share: float, start: SparseReLUNetwork | None, rng: np.random.Generator) -> Status:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        schedule = replace(self.schedule, epochs=max(1, round(share * self.schedule.epochs)))
        if start is None:
            layers = Layers.random(self.sizes, self.bias, self.coarse.rows, generator)
        else:
            layers = self.coarse.layers(start, self.sizes, self.bias)
            schedule = replace(schedule, slack=max(1.0, float(layers.nnz) / schedule.budget))
        status = train(self.coarse, layers, schedule, generator, self._after_epoch)
        try:
            self.keep(self.problem.network(self._refitted(layers)))
        except KeyboardInterrupt:
            self.keep(self.problem.network(layers))
            return Status.INTERRUPTED
        return status

    def _refitted(self, layers: Layers) -> Layers:
        cost = self.problem.target.numel() * float(layers.nnz) ** 2
        if self.problem.loss.name != "squared" or cost > AFFORDABLE or self.is_over():
            return layers
        exact = layers.with_parameters(layers.parameters.double())
        return joint_polish(self.problem, exact, self.schedule.ridge, stop=self.is_over)[0]

    def _after_epoch(self, loss: float) -> bool:
        self.history.append(loss * self.problem.units.height**2)
        if self.callback is not None:
            now = self.history[-1]
            self.callback(Progress(len(self.history), now, min(self.history), self.seconds))
        return self.is_over()

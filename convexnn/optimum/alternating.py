"""The first network: local training and pricing in turns, before any convex program is solved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convexnn.optimum.descent import Neurons, Training
from convexnn.optimum.gates import new_gates
from convexnn.optimum.pricers import Pricer
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.deadline import Deadline

# Most neurons to begin with, fewer where they times the entries of X are more than the work.
WIDEST, WORK = 200, 1 << 25

# Steps of a descent, and the part of a ReLU that is rounded off: at first, at last, and how it shrinks.
STEPS, FIRST_WIDTH, LAST_WIDTH, NARROWER = 200, 0.2, 0.02, 0.6

# Neurons that are added in a turn, at most, and what one costs at first as a share of the mean.
ADDED, SMALL = 16, 0.01

# Turns in a row that gain too little, after which it is over.
PATIENCE = 2

# Neurons that cost less than this share of the dearest go before each turn.
IDLE = 1e-2


class AlternatingDescent:
    """Training of a network by descent, with neurons of high price added in turns.

    Parameters
    ----------
    program : ConvexProgram
        Its rows, targets, loss and strength; a cone program with penalty group_l1. Its patterns play no part.
    pricer : Pricer
        Of the program.
    rng : numpy.random.Generator
        The first network, and the starts of the ascents.
    worth : float
        The turns end after two in a row that gain less than this.
    deadline : Deadline
        The best network until then is kept.
    note : callable
        Called after each turn with its objective, its neurons, and the highest price found over the strength.

    Attributes
    ----------
    best : Neurons
        The best network so far.

    Notes
    -----
    The alternating descent conditional gradient method of Boyd, Schiebinger and Recht (SIAM Journal on Optimization
    2017): a step of the conditional gradient method, which adds neurons, then descent in all weights, which moves
    gates too. The kinks of the ReLUs are rounded off, less from turn to turn. It ends at a local optimum.
    """

    def __init__(
        self,
        program: ConvexProgram,
        pricer: Pricer,
        rng: np.random.Generator,
        worth: float,
        deadline: Deadline,
        note: Callable[[float, int, float], None],
    ) -> None:
        assert program.strength is not None
        self.pricer, self.rng, self.worth, self.deadline, self.note = pricer, rng, worth, deadline, note
        # At unit scale of the rows.
        self.unit = float(np.sqrt(np.square(program.rows).mean())) or 1.0
        self.training = Training(program.rows / self.unit, program.targets, program.loss, program.strength / self.unit)
        self.found = _first(self.training, rng)
        self.lowest = self.training.objective(self.found)

    @property
    def best(self) -> Neurons:
        """The best network so far, in the units of the rows."""
        return Neurons(self.found.hidden / self.unit, self.found.out, self.found.outputs)

    def run(self) -> None:
        """Take turns until they gain too little, or the time is up."""
        neurons = self.found
        poor, width = 0, FIRST_WIDTH
        while poor < PATIENCE and not self.deadline.is_over():
            before = self.lowest
            neurons = self.training.descended(neurons, width, STEPS, self.deadline).balanced(IDLE)
            objective = self._keep(neurons)
            poor = poor + 1 if before - self.lowest < self.worth and width == LAST_WIDTH else 0
            width = max(LAST_WIDTH, NARROWER * width)
            fresh, worst = _priced(self.training, neurons, self.pricer, self.unit, self.rng)
            self.note(objective, len(neurons), worst)
            if not len(fresh) and width == LAST_WIDTH:
                break
            neurons = neurons.joined(fresh)

    def _keep(self, neurons: Neurons) -> float:
        objective = self.training.objective(neurons)
        if objective < self.lowest:
            self.found, self.lowest = neurons, objective
        return objective


def _first(training: Training, rng: np.random.Generator) -> Neurons:
    """Return random neurons whose prediction is as large as a Newton step from zero."""
    n, d = training.rows.shape
    k = training.targets.shape[1]
    count = k * max(1, min(WIDEST, WORK // (n * d)) // k)
    neurons = Neurons(rng.standard_normal((count, d)), rng.choice([-1.0, 1.0], count), np.arange(count) % k)
    target = n / training.loss.smoothness * training.loss.gradient(np.zeros_like(training.targets), training.targets)
    size, wanted = np.linalg.norm(training.predict(neurons)), np.linalg.norm(target)
    return Neurons(neurons.hidden, neurons.out * (wanted / size if size > 0.0 else 1.0), neurons.outputs).balanced()


def _priced(
    training: Training, neurons: Neurons, pricer: Pricer, unit: float, rng: np.random.Generator
) -> tuple[Neurons, float]:
    """Return small neurons at the highest prices found above the strength, and the highest over the strength."""
    theta = training.slope(neurons)
    values, points = pricer.search(theta, np.zeros((0, training.rows.shape[1])), rng)
    chosen = new_gates(training.rows, points[values > training.strength * unit], set(), ADDED)
    heights = np.maximum(chosen @ training.rows.T, 0.0) @ theta
    outputs = np.abs(heights).argmax(axis=1)
    signs = np.sign(heights[np.arange(len(chosen)), outputs])
    size = np.sqrt(SMALL * (neurons.costs.mean() if len(neurons) else 1.0))
    highest = float(values[0]) / (training.strength * unit)
    return Neurons(size * chosen, size * signs, outputs), highest

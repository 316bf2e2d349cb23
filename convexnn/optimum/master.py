"""The program over the gates held: made, solved, and its answer handed on to the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats
from convexnn.optimum.descent import Neurons
from convexnn.optimum.gates import mask_keys, new_gates, patterns_of, with_rows
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import violation
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.registry import able_solvers, solve

# Multiplications of an iteration of the interior point method, about n^2 times the weights, above which the method of
# multipliers, which begins at the solution before, is the faster one.
HEAVY = 1 << 34


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked, but for the gates: the arguments of :class:`convexnn.ConvexProgram`."""

    X: ArrayLike
    y: ArrayLike
    loss: str
    penalty: str
    strength: float
    cone: bool
    bias: bool

    def program(self, gates: Floats) -> ConvexProgram:
        """Return the program over gates (m, d) with distinct masks, each active on some row."""
        return ConvexProgram(
            self.X,
            self.y,
            patterns_of(gates, self.bias),
            loss=self.loss,
            penalty=self.penalty,
            strength=self.strength,
            cone=self.cone,
        )


def solve_held(program: ConvexProgram, start: Floats | None, tolerance: float, time_limit: float | None) -> Solution:
    """Solve the program over the gates held, from weights `start` (parts, m, ...) where the solver takes them."""
    options: dict[str, Any] = {"tolerance": tolerance, "time_limit": time_limit}
    if "interior_point" in able_solvers(program):
        work = len(program.rows) ** 2 * program.n_weights * program.n_parts
        if work <= HEAVY:
            try:
                solution = solve(program, "interior_point", **options)
                return solution if solution.status is not Status.INACCURATE else _better(solution, options)
            except UnsuitedError:
                pass  # a cone without interior: the next solver projects onto it
    if start is not None:
        options["start"] = start if program.cone else start[0]
    return solve(program, "auto" if not program.cone else "admm", **options)


def _better(solution: Solution, options: dict[str, Any]) -> Solution:
    """Go on from an inaccurate solution by the method of multipliers; return the one with the smaller gap."""
    other = solve(solution.program, "admm", **options, start=solution)
    return min(solution, other, key=lambda one: float("inf") if one.gap is None else one.gap)


def warm_start(solution: Solution, kept: np.ndarray[Any, np.dtype[np.int64]], added: int) -> Floats:
    """Return the weights (parts, m, ...) of a solution's kept gates, followed by zeros for those added."""
    pair = np.stack(solution.pair) if solution.pair is not None else solution.weights[None]
    return with_rows(pair, kept, added)


def network_solution(task: Task, neurons: Neurons, seconds: float) -> Solution:
    """Return a network (w neurons) as a solution over its own gates: each neuron lies in the cone of its gate."""
    program = task.program(new_gates(task.program(neurons.hidden[:1]).rows, neurons.hidden, set(), len(neurons), False))
    rows, gates = program.rows, program.patterns.generators
    place = {key: index for index, key in enumerate(mask_keys(rows, gates))}
    pair = np.zeros((2, *gates.shape, program.n_outputs))
    for key, neuron in zip(mask_keys(rows, neurons.hidden), range(len(neurons)), strict=True):
        if key in place:
            weights = neurons.hidden[neuron] * abs(neurons.out[neuron])
            pair[int(neurons.out[neuron] < 0.0), place[key], :, neurons.outputs[neuron]] += weights
    point = program.neurons(pair.reshape(2, *program.weights_shape))
    prediction = np.maximum(rows @ neurons.hidden.T, 0.0) @ neurons.weights(program.n_outputs)
    parts = program.parts(point)
    weights = parts[0] - parts[1]
    support = np.flatnonzero(weights)
    return Solution(
        program=program,
        solver="descent",
        support=support,
        values=weights.flat[support],
        objective=program.objective(prediction, point),
        gap=None,
        residual=None,
        violation=violation(program, point),
        status=Status.SEARCH_ENDED,
        iterations=0,
        seconds=seconds,
        history=np.zeros(0),
        pair=(parts[0], parts[1]),
        dual=-program.loss.gradient(prediction, program.targets),
    )


def live_neurons(solution: Solution) -> Floats:
    """Return the nonzero neurons of a solution (p, d): the blocks u and v of cones, or w."""
    parts = solution.pair if solution.pair is not None else (solution.weights,)
    pages = [np.moveaxis(part.reshape(*part.shape[:2], -1), 2, 0) for part in parts]
    blocks = np.concatenate([page.reshape(-1, page.shape[-1]) for page in pages])
    found: Floats = blocks[blocks.any(axis=1)]
    return found

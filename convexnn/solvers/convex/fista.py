"""Accelerated proximal gradients (FISTA) for the gated programs, stopped by their duality gap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats, as_callback, as_known, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import TOLERANCE, DualCandidate, KKTResidual, RunRecord, certify
from convexnn.solvers.common.descent import Callback, Descent, Limits, descend
from convexnn.solvers.common.warm_start import Start, start_neurons, unmoved
from convexnn.solvers.convex.basis.basis_penalty import BasisPenalty, takes_up_means
from convexnn.solvers.convex.basis.live_steps import LiveNewton

# Each iteration first tries a step longer by this factor, so that the step follows the local curvature.
LENGTHEN = 1.05

# Least iterations between two Newton steps, and how often one is shortened by half before it is given up.
SELDOM, HALVINGS = 10, 4

# A Newton step has helped where the gap at the next is below this share of that before.
HELPED = 0.5

# Iterations without a better gap after which float32 has given what it can.
STALLED = 200


@dataclass(frozen=True)
class FistaProblem:
    """What stays fixed in a run: the program, its penalty and operator in a basis, its target, the goal of the gap."""

    program: ConvexProgram
    penalty: BasisPenalty
    operator: NeuronOperator
    targets: Tensor
    tolerance: float
    residual: KKTResidual | None
    newton: LiveNewton

    @property
    def strength(self) -> float:
        """The factor of the penalty, 0 where there is none."""
        return self.program.strength or 0.0


@dataclass(frozen=True)
class FistaIterate:
    """An iterate: `coordinates` (q, d) with their prediction, and `ahead`, where momentum leads, with its prediction.

    `curvature` is the local bound on the Hessian (1 / step), `momentum` FISTA's t; `gap` is the objective less the
    best lower bound so far (or the KKT residual, relative), proven by `theta`. The last Newton step, `waited`
    iterations ago, began at the gap `leapt_at`; the next is `due` after so many, where `alive` neurons still live.
    """

    coordinates: Tensor
    prediction: Tensor
    ahead: Tensor
    ahead_prediction: Tensor
    curvature: float
    objective: float
    momentum: float = 1.0
    bound: float = -float("inf")
    theta: Tensor | None = None
    gap: float = float("inf")
    best_gap: float = float("inf")
    stale: int = 0
    waited: int = 0
    alive: int = -1
    due: int = SELDOM
    leapt_at: float = float("inf")
    final: bool = False


def fista(
    program: ConvexProgram,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
    time_limit: float | None = None,
    start: Start = None,
    dtype: str = "mixed",
    device: str = "cpu",
    memory_limit: int = 1 << 30,
    callback: Callback | None = None,
) -> Solution:
    """Solve a gated convex program by accelerated proximal gradients.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty (or penalty ``none``) and without cone.
    tolerance : float, default 1e-6
        Stop when the duality gap is below this share of the loss at zero weights; where nothing is penalised, when
        the largest entry of the gradient is below this share of the one at zero weights.
    max_iterations : int, default 20000
    time_limit : float, optional
        Seconds for the iterations.
    start : Solution or array_like (m, d) or (m, d, k), optional
        Weights to begin with, of a program with the same shape; default zero.
    dtype : {"mixed", "float32", "float64"}, default "mixed"
        Precision of the products; ``mixed`` goes as far as float32 does and finishes in float64.
    device : str, default "cpu"
        A torch device.
    memory_limit : int, default 2^30
        Bytes for the masks: see :class:`convexnn.linear.operator.PatternOperator`.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each iteration. KeyboardInterrupt, raised
        in it or from outside, returns the best iterate so far; the start, or zero weights, before there is one.

    Returns
    -------
    Solution
        With ``gap`` (or ``residual``) recomputed in float64; INACCURATE where that is above the tolerance.

    Notes
    -----
    Beck and Teboulle's iteration (SIAM J. Imaging Sciences 2, 2009) with the gradient restart of O'Donoghue and Candes
    (2015): w+ = prox(z - grad/L), t+ = (1 + sqrt(1 + 4 t^2)) / 2, z+ = w+ + (t - 1)/t+ (w+ - w). L is the local
    curvature, the least (up to 5 % a step) with (c/n) ||A(w+ - z)||^2 <= L ||w+ - z||^2 and c the smoothness of the
    loss. All this in coordinates w = T c in which the data are round, with the proximal map of R(T c), as in
    :func:`convexnn.solvers.convex.admm.admm`. A z is carried along by linearity, so an iteration costs one product
    with A and one with its adjoint; the adjoint at z also gives the dual point, so the gap costs none. Where the same
    neurons live for some iterations, a Newton step on these is tried (squared and logistic loss; group_l1, ridge and
    none): :mod:`convexnn.solvers.convex.basis.live_steps`.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> solution = cx.solve(program, "fista")
    >>> solution.solver, bool(solution.gap < 1e-5 * program.zero_loss)
    ('fista', True)
    """
    as_nonnegative(tolerance, "tolerance")
    as_callback(callback)
    as_known(dtype, "dtype", ("mixed", "float32", "float64"))
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    neurons = start_neurons(program, start)
    stages = _stages(program) if dtype == "mixed" else (dtype,)
    history: list[float] = []
    try:
        operator = NeuronOperator(program, device=device, dtype=stages[0], memory_limit=memory_limit)
        for stage in stages:
            problem = prepare(program, operator.cast(stage), tolerance, memory_limit)
            now = begin(problem, neurons if neurons is not None else np.zeros(program.neurons_shape))
            left = limits.left(len(history), perf_counter() - began)
            run = descend(now, partial(fista_step, problem), left, callback)
            history += run.history
            neurons = _neurons(problem, run)
            if run.status is Status.INTERRUPTED:
                break
            solution = _certified(problem, operator, run, history, began)
            if solution.status not in (Status.INACCURATE, Status.NOT_FINITE):
                break
    except KeyboardInterrupt:
        record = RunRecord("fista", Status.INTERRUPTED, len(history), perf_counter() - began, np.array(history))
        return unmoved(program, neurons, record, tolerance)
    return _certified(problem, operator, run, history, began) if run.status is Status.INTERRUPTED else solution


def _stages(program: ConvexProgram) -> tuple[str, ...]:
    """Return the precisions of ``mixed``: float32 first where its range holds the squares of the data.

    Beside means that an intercept takes up it would see little of the rest.
    """
    if takes_up_means(program):
        return ("float64",)
    peaks = [float(np.abs(array).max()) for array in (program.rows, program.targets)]
    return ("float32", "float64") if all(1e-6 <= peak <= 1e6 for peak in peaks) else ("float64",)


def fista_step(problem: FistaProblem, now: FistaIterate) -> FistaIterate:
    """Return the next iterate: one product with A (more while the step is too long) and one with its adjoint."""
    program, operator = problem.program, problem.operator
    gradient = program.loss.gradient(now.ahead_prediction, problem.targets)
    slope = operator.adjoint(gradient)
    bounded = _bounded(problem, now, -gradient, -slope)
    coordinates, prediction, curvature = _proximal_step(problem, now, slope)
    after = replace(
        bounded,
        coordinates=coordinates,
        prediction=prediction,
        curvature=curvature,
        objective=_objective(problem, coordinates, prediction),
    )
    return _leapt(problem, _judged(problem, _accelerated(now, after)))


def prepare(
    program: ConvexProgram, operator: NeuronOperator, tolerance: float, memory_limit: int = 1 << 30
) -> FistaProblem:
    """Return what stays fixed in a run with an operator of weights, in the precision of that."""
    unpenalised = program.penalty is not None and program.penalty.name == "none"
    residual = KKTResidual(program, operator.cast("float64")) if unpenalised else None
    target = operator.tensor(_within_range(program))
    penalty = BasisPenalty(program, target, memory_limit)
    inside = operator.cast(str(target.dtype).removeprefix("torch."), penalty.basis.matrix)
    newton = LiveNewton(inside, penalty, program.strength or 0.0, memory_limit)
    return FistaProblem(program, penalty, inside, target, tolerance, residual, newton)


def _within_range(program: ConvexProgram) -> Floats:
    """Return the targets, less a mean that the intercept takes up: beside a large one float32 sees nothing else."""
    takes_up = program.intercept and program.loss.name == "squared"
    return program.targets - program.targets.mean(axis=0) if takes_up else program.targets


def begin(problem: FistaProblem, neurons: Any) -> FistaIterate:
    """Return the first iterate at neurons as weights (q, d), its curvature that along the gradient."""
    program, operator = problem.program, problem.operator
    coordinates = problem.penalty.coordinates(operator.tensor(neurons))
    prediction = operator.forward(coordinates)
    slope = operator.adjoint(program.loss.gradient(prediction, problem.targets))
    curvature = max(program.loss.smoothness / len(problem.targets) * _along(problem, slope), 1e-300)
    objective = _objective(problem, coordinates, prediction)
    return FistaIterate(coordinates, prediction, coordinates, prediction, curvature, objective)


def _along(problem: FistaProblem, slope: Tensor) -> float:
    """Return how far the predictions bend the loss along a slope, for each square of it; that of round data for none.

    At least what rounding leaves: where an intercept takes up all, as on a feature that is constant, steps of no bound
    would follow.
    """
    change, steep = problem.operator.forward(slope), float(slope.square().sum())
    least = torch.finfo(change.dtype).eps * float(change.square().sum())
    return max(_bent(problem.program, change), least) / steep if steep > 0.0 else float(len(change))


def _bent(program: ConvexProgram, change: Tensor) -> float:
    """Return the square of a change of the predictions (n, k), that bounds how far the loss bends along it.

    An intercept takes up its mean, so that the mean of a feature makes no step shorter.
    """
    return float((change - change.mean(0) if program.intercept else change).square().sum())


def _objective(problem: FistaProblem, coordinates: Tensor, prediction: Tensor) -> float:
    loss = problem.program.loss.value(prediction, problem.targets)
    return loss + problem.strength * problem.penalty.value(coordinates)


def _bounded(problem: FistaProblem, now: FistaIterate, theta: Tensor, slope: Tensor) -> FistaIterate:
    """Return the iterate with the better of its lower bound and that of theta; where none exists, with the residual."""
    slope = problem.penalty.weight_slopes(slope)
    if problem.residual is not None:
        return replace(now, gap=problem.residual.share(to_numpy(slope)))
    bound = problem.program.lower_bound(theta, slope, problem.targets)
    return replace(now, bound=bound, theta=theta) if bound > now.bound else now


def _proximal_step(problem: FistaProblem, now: FistaIterate, slope: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return prox(z - grad / L), its prediction and L, the first of L, 2 L, 4 L, ... that bounds the curvature."""
    program = problem.program
    scale = program.loss.smoothness / len(problem.targets)
    curvature = now.curvature / LENGTHEN
    for _ in range(60):
        coordinates = problem.penalty.prox(now.ahead - slope / curvature, problem.strength / curvature)
        prediction = problem.operator.forward(coordinates)
        change = float((coordinates - now.ahead).square().sum())
        # Where the change drowns in the rounding of the predictions, doubling would never end.
        noise = torch.finfo(prediction.dtype).eps ** 2 * float(prediction.square().sum())
        if scale * (_bent(program, prediction - now.ahead_prediction) - 8 * noise) <= curvature * change:
            break
        curvature *= 2.0
    return coordinates, prediction, curvature


def _accelerated(now: FistaIterate, after: FistaIterate) -> FistaIterate:
    """Return the iterate with its momentum, started anew where it points uphill."""
    move = after.coordinates - now.coordinates
    uphill = float(((now.ahead - after.coordinates) * move).sum()) > 0.0
    before = 1.0 if uphill else now.momentum
    momentum = (1.0 + sqrt(1.0 + 4.0 * before * before)) / 2.0
    share = (before - 1.0) / momentum
    return replace(
        after,
        ahead=after.coordinates + share * move,
        ahead_prediction=after.prediction + share * (after.prediction - now.prediction),
        momentum=momentum,
    )


def _leapt(problem: FistaProblem, now: FistaIterate) -> FistaIterate:
    """Return the iterate after a Newton step on its live neurons, where that is due and lowers the objective.

    It is due once the iterations since the last have cost as much, so that it never doubles the time of a run, and
    as many neurons live as when it was asked for before. Where the last did not help, the next is due later.
    """
    newton, waited = problem.newton, now.waited + 1
    if now.final or waited < now.due or waited % SELDOM:
        return replace(now, waited=waited)
    alive = len(newton.live(now.coordinates))
    if alive != now.alive or waited < newton.cost(alive):
        return replace(now, waited=waited, alive=alive)
    due = SELDOM if now.gap < HELPED * now.leapt_at else 2 * now.due
    after = replace(now, waited=0, due=due, leapt_at=now.gap)
    gradient = problem.program.loss.gradient(now.prediction, problem.targets)
    direction = newton.direction(now.coordinates, gradient, problem.operator.adjoint(gradient))
    if direction is None:
        return after
    for halving in range(HALVINGS):
        coordinates = now.coordinates + 0.5**halving * direction
        prediction = problem.operator.forward(coordinates)
        objective = _objective(problem, coordinates, prediction)
        if objective < now.objective:
            point = replace(after, coordinates=coordinates, prediction=prediction, objective=objective)
            return replace(point, ahead=coordinates, ahead_prediction=prediction, momentum=1.0)
    return after


def _judged(problem: FistaProblem, now: FistaIterate) -> FistaIterate:
    """Return the iterate with its gap, final where it is small enough, or where float32 gets no further."""
    bounded = problem.residual is None
    gap = now.objective - now.bound if bounded else now.gap
    goal = problem.tolerance * (problem.program.zero_loss if bounded else 1.0)
    better = gap < 0.99 * now.best_gap
    stale = 0 if better else now.stale + 1
    stuck = problem.targets.dtype == torch.float32 and stale >= STALLED
    return replace(now, gap=gap, best_gap=min(gap, now.best_gap), stale=stale, final=gap <= goal or stuck)


def _neurons(problem: FistaProblem, run: Descent[FistaIterate]) -> Floats:
    """Return the answer of a run as weights."""
    return to_numpy(problem.penalty.weights(run.answer.coordinates))


def _certified(
    problem: FistaProblem, operator: NeuronOperator, run: Descent[FistaIterate], history: list[float], began: float
) -> Solution:
    duals = [] if run.last.theta is None else [DualCandidate(to_numpy(run.last.theta))]
    record = RunRecord("fista", run.status, len(history), perf_counter() - began, np.array(history))
    neurons = _neurons(problem, run)
    return certify(problem.program, neurons, operator, record, duals=duals, tolerance=problem.tolerance)

"""ADMM with whitened rows: for every convex program whose rows or weights fit a factorisation, cones or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats, as_callback, as_count, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import (
    TOLERANCE,
    DualCandidate,
    KKTResidual,
    RunRecord,
    certify,
    cone_slope,
    lower_bound,
)
from convexnn.solvers.common.descent import Callback, Limits, descend
from convexnn.solvers.common.warm_start import Start, start_neurons, unmoved
from convexnn.solvers.convex.basis.basis_penalty import BasisPenalty
from convexnn.solvers.convex.centred import CentredOperator
from convexnn.solvers.convex.cone_projection import ConeProjector, seconds_to_project
from convexnn.solvers.convex.whitened import check_memory, whitened

# Over-relaxation, and the iterations between two looks at the gap.
RELAXATION = 1.6
CHECK = 5

# The penalty parameter moves at iterations 10, 20, 40, ...: each move costs a factorisation, and few moves converge.
FIRST_MOVE = 10

# Share of the penalty's curvature in the metric of the splitting: without it, on features with an offset, iterations
# went from 25 to 85, and beyond 3,000 where the penalty is weak.
CURVED = 1.0

# It moves when the two residuals differ by this factor.
BALANCE = 3.0


@dataclass(frozen=True)
class AdmmIterate:
    """An iterate: `copies` (c, q, d) of the neurons w, each with its scaled dual, and the split of the prediction.

    Neurons are coordinates in the basis of the penalty. Copy 0 is the one that the penalty moves, the last one lies in
    the cones; they are one copy where the proximal map of both is known. `prediction` and `prediction_dual` (n, k)
    split A w off from losses other than the squared one. `rho` is the penalty parameter, `theta` -dL/dp at the point
    where w stepped to, `dual` the candidate of the best lower `bound`.
    """

    copies: Tensor
    duals: Tensor
    prediction: Tensor
    prediction_dual: Tensor
    rho: float
    theta: Tensor
    objective: float
    iteration: int = 0
    bound: float = -float("inf")
    dual: DualCandidate | None = None
    final: bool = False


def admm(
    program: ConvexProgram,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 5000,
    time_limit: float | None = None,
    start: Start = None,
    device: str = "cpu",
    memory_limit: int = 1 << 30,
    callback: Callback | None = None,
) -> Solution:
    """Solve a convex program, gated or with cones, by the alternating direction method of multipliers.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty, or penalty ``none``.
    tolerance : float, default 1e-6
        Stop when the duality gap is below this share of the loss at zero weights (where nothing is penalised: the
        largest entry of the gradient, below this share of the one at zero weights).
    max_iterations : int, default 5000
    time_limit : float, optional
        Seconds for the iterations.
    start : Solution or array_like, optional
        Weights to begin with, (m, d) or (m, d, k); with a cone (u, v), (2, m, d) or (2, m, d, k). Default zero.
        The duals begin at the slope there, so that an optimum is kept; with a cone and l1 or feature_l1 their split
        between penalty and cone has to be found again.
    device : str, default "cpu"
        A torch device. Cones are projected onto on the CPU, which was nine tenths of a run on 500 rows and 50 gates.
    memory_limit : int, default 2^30
        Bytes for the masks, and for the factor: 16 min(n, w)^2 must fit, for n rows and w weights of an output, else an
        UnsuitedError.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each iteration. KeyboardInterrupt, raised
        in it or from outside, returns the best iterate so far; the start, or zero weights, before there is one.

    Returns
    -------
    Solution
        At a point of the cones, with ``gap`` (or ``residual``) recomputed; INACCURATE above the tolerance.

    Notes
    -----
    min L(p) + strength R(z) subject to p = A w, z = w, all in float64. With q = z - dual the step for w is
    w = q + A^T (A A^T + (n rho / c) I)^-1 (b - A q): the rows are whitened, so that the number of iterations hardly
    depends on how coherent the patterns are, and an iteration costs one product with A and one with A^T. Where an
    output has fewer weights than rows the same step is (A^T A + (n rho / c) I)^-1 (A^T b + (n rho / c) q). For the
    squared loss b = y; for others the prediction is split off as well, with weight c/n, c the smoothness of the loss.
    With an intercept A is C A, C p = p less its mean in each output: the loss is the same, and bent by that part alone.
    With cones, the step for z projects each neuron onto its cone, exactly, then shrinks it: for penalties that scale a
    neuron as a whole that is the proximal map of both, for the others the cone has a copy of its own.

    Neurons are coordinates w = T c in which the data are round, so that offsets and units of features cost little:
    the rows are X T, and the proximal map is that of the stated penalty, R(T c)
    (:mod:`convexnn.solvers.convex.basis.basis_prox`). T is a rotation where penalties are of whole neurons, centres and
    scales for ``l1``, scales alone for ``feature_l1`` and where there is no bias to take up a centre.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> solution = cx.solve(program, "admm")
    >>> solution.solver, bool(solution.gap < 1e-5 * program.zero_loss)
    ('admm', True)
    """
    as_nonnegative(tolerance, "tolerance")
    as_callback(callback)
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    if limits.time_limit is not None and seconds_to_project(program) > max(limits.time_limit, 0.25):
        # Not one iteration would end in time, and its projection asks no clock.
        limits = Limits(max_iterations, 0.0)
    neurons = start_neurons(program, start)
    check_memory(program, as_count(memory_limit, "memory_limit", at_least=0))
    try:
        operator = NeuronOperator(program, device=device, memory_limit=memory_limit)
        problem = Splitting(program, operator, tolerance, memory_limit)
        now = problem.begin(neurons)
    except KeyboardInterrupt:
        record = RunRecord("admm", Status.INTERRUPTED, 0, perf_counter() - began, np.empty(0))
        return unmoved(program, neurons, record, tolerance)
    run = descend(now, problem.step, limits, callback)
    return certify(
        program,
        problem.neurons(run.answer),
        operator,
        RunRecord("admm", run.status, len(run.history), perf_counter() - began, np.array(run.history)),
        duals=[] if run.last.dual is None else [run.last.dual],
        tolerance=tolerance,
    )


class Splitting:
    """What stays fixed in a run, and the step.

    Parameters
    ----------
    program, operator, tolerance, memory_limit
        The program, its operator of weights in float64, the goal of the relative gap, and bytes for eigenvectors.
    """

    def __init__(
        self, program: ConvexProgram, operator: NeuronOperator, tolerance: float, memory_limit: int = 1 << 30
    ) -> None:
        self.program, self.outside, self.tolerance = program, operator, tolerance
        self.targets = operator.tensor(program.targets)
        self.penalty, self.strength = BasisPenalty(program, self.targets, memory_limit, CURVED), program.strength or 0.0
        inside = operator.cast("float64", self.penalty.basis.matrix)
        self.operator = CentredOperator(inside) if program.intercept else inside
        self.system = whitened(self.operator)
        self.curvature = program.loss.smoothness / len(self.targets)
        self.splits_prediction = program.loss.name != "squared"
        self.goal = self.targets - self.targets.mean(0) if program.intercept else self.targets
        # Then the map of the penalty and the cone together is that of the penalty after the projection.
        self.together = self.strength == 0.0 or (self.penalty.unit is not None and self.penalty.penalty.scales_rows)
        self.n_copies = 2 if program.cone and not self.together else 1
        self.residual = KKTResidual(program, operator) if self.strength == 0.0 else None
        self.rows = self.penalty.basis.rows(program.rows)
        # One for the neurons, and one for the slopes of each dual candidate: each remembers its own active rows.
        spaces = (self.rows, program.rows, program.rows) if program.cone else ()
        self.projectors = [ConeProjector(program, rows) for rows in spaces]

    def begin(self, neurons: Floats | None) -> AdmmIterate:
        """Return the first iterate, at weights (q, d) or zero, with duals that would keep an optimum."""
        start = self.operator.zeros() if neurons is None else self.operator.tensor(neurons)
        weights = self.penalty.coordinates(start)
        prediction = self.operator.forward(weights)
        # In the units of A: the mean curvature of the loss along a weight, which rho trades against.
        mean = self.system.trace / max(1, int(self.program.owned.sum()))
        rho = max(0.1 * self.curvature * mean, 1e-300)
        theta = -self.program.loss.gradient(prediction, self.targets)
        duals = torch.zeros((self.n_copies, *weights.shape), dtype=weights.dtype, device=weights.device)
        if neurons is not None:
            # At an optimum the duals sum to the slope; a cone's own copy has the part in the polar cone (Moreau).
            duals[0] = self.operator.adjoint(theta) / rho
            if self.n_copies == 2:
                duals[1] = duals[0] - self._project(duals[0])
                duals[0] -= duals[1]
        copies = weights.expand(self.n_copies, -1, -1).clone()
        objective = self.objective(weights, prediction)
        return AdmmIterate(copies, duals, prediction, -theta / self.curvature, rho, theta, objective)

    def neurons(self, now: AdmmIterate) -> Floats:
        """Return the neurons of an iterate as weights."""
        return to_numpy(self.penalty.weights(now.copies[-1]))

    def objective(self, weights: Tensor, prediction: Tensor) -> float:
        """Return the objective at neurons (q, d) with their prediction."""
        return self.program.loss.value(prediction, self.targets) + self.strength * self.penalty.value(weights)

    def step(self, now: AdmmIterate) -> AdmmIterate:
        """Return the next iterate; every few iterations it comes with its objective, gap, and a new rho."""
        centre = (now.copies - now.duals).mean(dim=0)
        goal = now.prediction - now.prediction_dual if self.splits_prediction else self.goal
        weights, prediction = self.system.step(centre, goal, self.shift(now.rho))
        # -dL/dp of the squared loss is 1/n of y - A w.
        after = replace(now, theta=self.curvature * (goal - prediction), iteration=now.iteration + 1)
        if self.splits_prediction:
            after = self._split_prediction(after, prediction)
        copies, duals = self._split_weights(now, weights)
        after = replace(after, copies=copies, duals=duals)
        if after.iteration % CHECK:
            return after
        return self._rebalanced(now, self._judged(after), weights)

    def shift(self, rho: float) -> float:
        """Return what is added to the diagonal of A A^T."""
        return rho * self.n_copies / self.curvature

    def _split_prediction(self, now: AdmmIterate, prediction: Tensor) -> AdmmIterate:
        relaxed = RELAXATION * prediction + (1.0 - RELAXATION) * now.prediction + now.prediction_dual
        moved = self.program.loss.prox(relaxed, self.targets, self.curvature * len(self.targets))
        theta = -self.program.loss.gradient(moved, self.targets)
        return replace(now, prediction=moved, prediction_dual=relaxed - moved, theta=theta)

    def _split_weights(self, now: AdmmIterate, weights: Tensor) -> tuple[Tensor, Tensor]:
        relaxed = RELAXATION * weights + (1.0 - RELAXATION) * now.copies + now.duals
        amount = self.strength / now.rho
        if not self.program.cone:
            copies = self.penalty.prox(relaxed[0], amount)[None]
        elif self.n_copies == 1:
            copies = self.penalty.prox(self._project(relaxed[0]), amount)[None]
        else:
            copies = torch.stack([self.penalty.prox(relaxed[0], amount), self._project(relaxed[1])])
        return copies, relaxed - copies

    def _project(self, neurons: Tensor) -> Tensor:
        return self.operator.tensor(self.projectors[0](to_numpy(neurons)))

    def _judged(self, now: AdmmIterate) -> AdmmIterate:
        """Return the iterate with its objective and the best bound so far, final where the gap is small enough."""
        weights = now.copies[-1]
        prediction = self.operator.forward(weights)
        objective = self.objective(weights, prediction)
        theta = -self.program.loss.gradient(prediction, self.targets)
        if self.residual is not None:
            share = self.residual.share(cone_slope(self.program, self.outside, to_numpy(theta)))
            return replace(now, objective=objective, final=share <= self.tolerance)
        duals = [self._dual(now, candidate, index) for index, candidate in enumerate((theta, now.theta), start=1)]
        bounds = [lower_bound(self.program, self.outside, dual) for dual in duals]
        best = int(np.argmax(bounds))
        if bounds[best] > now.bound:
            now = replace(now, bound=bounds[best], dual=duals[best])
        gap = objective - now.bound
        return replace(now, objective=objective, final=gap <= self.tolerance * self.program.zero_loss)

    def _dual(self, now: AdmmIterate, theta: Tensor, index: int) -> DualCandidate:
        """Return the candidate with its element of the polar cones: what projecting its slope takes away.

        Where that does not leave what the penalty's dual norm likes least, the dual of the cone's own copy.
        """
        if not self.program.cone:
            return DualCandidate(to_numpy(theta))
        if not self.penalty.penalty.scales_rows:
            return DualCandidate(to_numpy(theta), to_numpy(self.penalty.weight_slopes(now.rho * now.duals[1])))
        slope = to_numpy(self.outside.adjoint(theta))
        return DualCandidate(to_numpy(theta), slope - self.projectors[index](slope))

    def _rebalanced(self, before: AdmmIterate, now: AdmmIterate, weights: Tensor) -> AdmmIterate:
        """Return the iterate with rho moved towards equal residuals, at ever rarer iterations."""
        turn = now.iteration // FIRST_MOVE
        if now.final or now.iteration % FIRST_MOVE or turn & (turn - 1):
            return now
        primal = float((weights - now.copies).norm()) / max(float(weights.norm()), float(now.copies.norm()), 1e-300)
        dual = float((now.copies - before.copies).norm()) / max(float(now.duals.norm()), 1e-300)
        ratio = primal / max(dual, 1e-300)
        if 1.0 / BALANCE < ratio < BALANCE:
            return now
        factor = min(max(ratio**0.5, 0.1), 10.0)
        return replace(now, rho=now.rho * factor, duals=now.duals / factor)

"""From raw weights to a Solution: objective and lower bound recomputed in float64, whoever solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.program.penalties import row_norms
from convexnn.solution import FEASIBLE, Solution, Status
from convexnn.solution import TOLERANCE as TOLERANCE

# A squared loss of this share of its value at zero weights (200 dB) is rounding.
EXACT = 1e-20

# Entries (rows times neurons times features) up to which cones are projected onto after the time is over: 0.4 seconds.
MOST_LATE = 2_000_000


@dataclass(frozen=True, eq=False)
class DualCandidate:
    """A dual candidate: theta (n, k), and for cone programs an element of the polar cones (q, d).

    A block of `polar` is -X^T (2 D_j - I) a_j with a_j >= 0; None for the one that leaves A^T theta - polar shortest.
    """

    theta: Floats
    polar: Floats | None = None


@dataclass(frozen=True)
class RunRecord:
    """How a run went: its solver, why it ended, iterations, seconds, objective after each iteration, bytes stated."""

    solver: str
    status: Status
    iterations: int
    seconds: float
    history: Floats
    memory: int | None = None


def certify_support(program: ConvexProgram, support: NDArray[np.int64], values: Floats, run: RunRecord) -> Solution:
    """Return the Solution of a budget with `values` at flat indices `support`; zeros among them are dropped.

    A run whose squared loss is rounding is EXACT, whatever ended it but an interruption: nothing is left to find.
    An interruption meanwhile, the first of the run, is one of the run.
    """
    return _despite_interruption(run, lambda record: _support_certified(program, support, values, record))


def _despite_interruption(run: RunRecord, certified: Callable[[RunRecord], Solution]) -> Solution:
    """Return a certificate; one that is interrupted is made anew and says so, if it is the first interruption."""
    try:
        return certified(run)
    except KeyboardInterrupt:
        if run.status is Status.INTERRUPTED:
            raise
        return certified(replace(run, status=Status.INTERRUPTED))


def _support_certified(program: ConvexProgram, support: NDArray[np.int64], values: Floats, run: RunRecord) -> Solution:
    order = np.argsort(support, kind="stable")
    order = order[values[order] != 0.0]
    kept, entries = support[order], values[order]
    _check_owned(program, kept)
    prediction = program.support_columns(kept).predict(entries, kept % program.n_outputs, program.n_outputs)
    # Of penalties a budget has a ridge alone, which sees the weights in any order.
    objective = program.objective(prediction, entries[None])
    if program.loss.name == "squared" and objective <= EXACT * program.zero_loss:
        run = run if run.status is Status.INTERRUPTED else replace(run, status=Status.EXACT)
    return _solution(program, run, kept, entries, objective)


def certify(
    program: ConvexProgram,
    neurons: Floats,
    operator: NeuronOperator,
    run: RunRecord,
    *,
    duals: Sequence[DualCandidate] = (),
    tolerance: float = TOLERANCE,
) -> Solution:
    """Return the Solution of a convex program at `neurons` (q, d), with its duality gap or KKT residual.

    `operator` is the program's, in any precision; `duals` are candidates beside -dL/dp at the neurons.
    A run that says CONVERGED with a gap or residual above `tolerance` of its value at zero weights is INACCURATE.
    An interruption meanwhile, the first of the run, is one of the run.
    """
    return _despite_interruption(
        run, lambda record: _certified(program, neurons, operator, record, duals=duals, tolerance=tolerance)
    )


def _certified(
    program: ConvexProgram,
    neurons: Floats,
    operator: NeuronOperator,
    run: RunRecord,
    *,
    duals: Sequence[DualCandidate],
    tolerance: float,
) -> Solution:
    exact = operator.cast("float64")
    neurons, prediction, objective = _best_point(program, exact, neurons, tolerance)
    theta = -program.loss.gradient(prediction, program.targets)
    gap = residual = dual = None
    # Zero is an element of the polar cones too; the nearest one is worth a projection where there is time for it.
    polar = np.zeros(program.neurons_shape) if _is_late(program, run) else None
    if program.penalty is not None and program.penalty.name == "none":
        residual = KKTResidual(program, exact).share(_slope(program, exact, DualCandidate(theta, polar)))
    else:
        candidates = (DualCandidate(theta, polar), *duals)
        bounds = [lower_bound(program, exact, candidate) for candidate in candidates]
        gap = _gap(objective, bounds)
        best = int(np.argmax(np.nan_to_num(bounds, nan=-np.inf)))
        dual = program.loss.into_domain(candidates[best].theta, program.targets)
    parts = program.parts(neurons)
    weights = parts[0] - parts[1] if program.cone else parts[0]
    support = np.flatnonzero(weights)
    _check_owned(program, support)
    solution = _solution(program, run, support, weights.flat[support], objective, gap, residual, parts, dual)
    return solution if _bears_out(solution, tolerance) else replace(solution, status=Status.INACCURATE)


def _best_point(
    program: ConvexProgram, operator: NeuronOperator, neurons: Floats, tolerance: float
) -> tuple[Floats, Floats, float]:
    """Return the neurons, or fewer of them where that costs next to nothing, with prediction and objective.

    With cones no weight can go alone, and solvers end with neurons that are next to zero: they go together. Zero
    weights are a point of every program, so no answer is worse.
    """
    norms = row_norms(neurons)
    shares = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6) if program.cone else ()
    fewer = [neurons * (norms > share * norms.max(initial=0.0))[:, None] for share in shares]
    points = [np.zeros_like(neurons), *fewer, neurons]
    predictions = [to_numpy(operator.forward(operator.tensor(point))) for point in points]
    objectives = [program.objective(p, point) for p, point in zip(predictions, points, strict=True)]
    finite = [value for value in objectives if np.isfinite(value)]
    good = min(finite) + 1e-3 * tolerance * program.zero_loss
    index = next(i for i, value in enumerate(objectives) if value <= good)
    return points[index], predictions[index], objectives[index]


def _gap(objective: float, bounds: list[float]) -> float:
    """Return the objective less the best bound, at least 0; infinity where no bound is a number."""
    known = [bound for bound in bounds if not np.isnan(bound)]
    return max(0.0, objective - max(known)) if known else float("inf")


def lower_bound(program: ConvexProgram, operator: NeuronOperator, dual: DualCandidate) -> float:
    """Return the lower bound that a dual candidate proves."""
    theta = program.loss.into_domain(dual.theta, program.targets)
    return program.lower_bound(theta, _slope(program, operator, DualCandidate(theta, dual.polar)))


def _slope(program: ConvexProgram, operator: NeuronOperator, dual: DualCandidate) -> Floats:
    """Return A^T theta less the element of the polar cones of a dual candidate, the nearest one where it has none."""
    if dual.polar is None:
        return cone_slope(program, operator, dual.theta)
    return to_numpy(operator.adjoint(operator.tensor(dual.theta))) - dual.polar


def _is_late(program: ConvexProgram, run: RunRecord) -> bool:
    """Whether a run that is out of time has cones that a projection onto would take long for."""
    entries = len(program.rows) * program.neurons_shape[0] * program.rows.shape[1]
    return program.cone and run.status is Status.TIME_LIMIT and entries > MOST_LATE


def cone_slope(program: ConvexProgram, operator: NeuronOperator, theta: Floats) -> Floats:
    """Return A^T theta (q, d); with a cone its nearest point there, A^T theta less an element of the polar cone.

    min over a >= 0 of ||+-X^T D_j theta + X^T (2 D_j - I) a|| is the norm of the projection onto the cone (Moreau),
    and the points returned have that form whatever the accuracy, so that every bound from them is valid.
    """
    slope = to_numpy(operator.adjoint(operator.tensor(theta)))
    return project(program, slope) if program.cone else slope


def project(program: ConvexProgram, neurons: Floats) -> Floats:
    """Return the neurons (q, d) moved to the nearest points of their gates' cones."""
    active = masks(program.rows, program.patterns.generators)
    return least_distance(program.rows, all_active(program, active), neurons, features=program.owned).points


def all_active(program: ConvexProgram, active: Bools) -> Bools:
    """Return the masks (n, m) repeated for every neuron, (n, q)."""
    return np.tile(active, (1, program.n_outputs * program.n_parts))


def violation(program: ConvexProgram, neurons: Floats) -> float:
    """Return the worst -(2 D_j - I) X u_j, as a share of max |X u|; 0 without a cone, or where all hold."""
    if not program.cone:
        return 0.0
    linear = program.rows @ neurons.T
    peak = float(np.abs(linear).max(initial=0.0))
    sides = np.where(all_active(program, masks(program.rows, program.patterns.generators)), 1.0, -1.0)
    return max(0.0, -float((linear * sides).min(initial=0.0))) / peak if peak > 0.0 else 0.0


class KKTResidual:
    """How far a point is from optimal where nothing is penalised: the largest correlation of a column with theta.

    A slope counts by the norm of its column, so that the answer does not depend on the units of a feature, and as a
    share of the largest at zero weights.
    """

    def __init__(self, program: ConvexProgram, operator: NeuronOperator) -> None:
        norms = to_numpy(operator.column_norms())
        self.inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        start = -program.loss.gradient(np.zeros_like(program.targets), program.targets)
        self.first = float(np.abs(cone_slope(program, operator, start) * self.inverse).max(initial=0.0))

    def share(self, slope: Floats) -> float:
        """Return the residual at the slope A^T theta (q, d), on the cones if there are any; infinity for NaN."""
        now = float(np.abs(slope * self.inverse).max(initial=0.0))
        if np.isnan(now):
            return float("inf")
        return now / self.first if self.first > 0.0 else 0.0


def _check_owned(program: ConvexProgram, support: NDArray[np.int64]) -> None:
    gates, features = np.unravel_index(support, program.weights_shape)[:2]
    if not program.patterns.features[gates, features].all():
        raise RuntimeError("a weight lies on a feature that its pattern does not own: a defect of the solver")


def _bears_out(solution: Solution, tolerance: float) -> bool:
    """Whether the certificate agrees with the status: CONVERGED needs a small gap or residual in the cones."""
    if solution.status is not Status.CONVERGED:
        return True
    share = solution.residual if solution.gap is None else solution.gap / solution.program.zero_loss
    return share is not None and share <= tolerance and solution.violation <= FEASIBLE


def _solution(
    program: ConvexProgram,
    run: RunRecord,
    support: NDArray[np.int64],
    values: Floats,
    objective: float,
    gap: float | None = None,
    residual: float | None = None,
    parts: Floats | None = None,
    dual: Floats | None = None,
) -> Solution:
    cone = parts is not None and program.cone
    return Solution(
        program=program,
        solver=run.solver,
        support=support,
        values=values,
        objective=objective,
        gap=gap,
        residual=residual,
        violation=violation(program, program.neurons(parts)) if cone and parts is not None else 0.0,
        status=run.status,
        iterations=run.iterations,
        seconds=run.seconds,
        history=run.history,
        pair=(parts[0], parts[1]) if cone and parts is not None else None,
        memory=run.memory,
        dual=dual,
    )

"""The convex programs by cvxpy: the reference that the project's own solvers are held against."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, as_count, as_known, as_nonnegative, require
from convexnn.patterns.activation_patterns import masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import TOLERANCE, DualCandidate, RunRecord, all_active, certify, project
from convexnn.solvers.common.deadline import Deadline
from convexnn.solvers.common.descent import Limits
from convexnn.solvers.common.threads import waited_for
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.common.warm_start import unmoved

# Clarabel's own tolerances of 1e-8 leave gaps of 1e-5 with exponential cones: the logistic and the softmax loss.
ENGINES: dict[str, dict[str, float]] = {
    "CLARABEL": {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11},
    "SCS": {},
}


# Seconds that cvxpy 1.9 takes for each entry of a dense matrix, of few of them and of many (2 million: 0.3 seconds, 40
# million: 17).
MANY = 10_000_000
SECONDS_AN_ENTRY = (2e-7, 4.5e-7)


def reference(
    program: ConvexProgram,
    *,
    engine: str = "CLARABEL",
    round_below: float = 1e-7,
    tolerance: float = TOLERANCE,
    time_limit: float | None = None,
    memory_limit: int = 1 << 30,
) -> Solution:
    """Solve a convex program with cvxpy.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty, or penalty ``none``.
    engine : {"CLARABEL", "SCS"}, default "CLARABEL"
        The conic solver under cvxpy.
    round_below : float, default 1e-7
        Weights whose contribution |w_ji| * ||column|| is below this share of the largest are set to zero: an
        interior point never ends at exact zeros. With a cone, neurons as a whole. Objective and gap are those of the
        rounded weights.
    tolerance : float, default 1e-6
        Above this share of the loss at zero weights, the gap makes the status INACCURATE; Clarabel is asked for
        1e-11, SCS for its default.
    time_limit : float, optional
        Seconds, of which the engine has what is left and returns what it has then; TIME_LIMIT unless that is good
        enough. Zero weights where cvxpy would take longer than that to hand the program over, which cannot be stopped.
    memory_limit : int, default 2^30
        Bytes for the dense matrices handed over, 8 n times the weights, twice that with cones; the engine needs a
        multiple of it.

    Returns
    -------
    Solution
        With ``gap`` (or ``residual``) at the rounded weights; with a cone, moved to the nearest point of the cones.
        After KeyboardInterrupt zero weights: an engine cannot be interrupted for its best point. Clarabel ends before
        its next iteration then.

    Raises
    ------
    UnsuitedError
        The matrices do not fit into `memory_limit`; a ValueError.
    RuntimeError
        The engine failed or returned no point (its own words are in the message).

    Notes
    -----
    A is handed over as one dense constant of n times the owned features of all patterns, the cones as one constraint.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> solution = cx.solve(program, "cvxpy")
    >>> solution.solver, bool(solution.gap < 1e-5 * program.zero_loss)
    ('cvxpy (CLARABEL)', True)
    """
    began = perf_counter()
    cp = require("cvxpy", "cvxpy", "the solver 'cvxpy'")
    as_known(engine, "engine", ENGINES)
    threshold = as_nonnegative(round_below, "round_below")
    as_nonnegative(tolerance, "tolerance")
    _fits(program, as_count(memory_limit, "memory_limit", at_least=0))
    owned = np.flatnonzero(program.patterns.features)
    deadline = Deadline(Limits(1, time_limit).time_limit, began)
    left = deadline.share(1.0)
    if left is not None and left < _preparation(program):
        record = RunRecord(f"cvxpy ({engine})", Status.TIME_LIMIT, 0, perf_counter() - began, np.empty(0))
        return unmoved(program, None, record, tolerance)
    try:
        answer = _solved(cp, program, program.columns(owned * program.n_outputs), engine, deadline)
    except KeyboardInterrupt:
        record = RunRecord(f"cvxpy ({engine})", Status.INTERRUPTED, 0, perf_counter() - began, np.empty(0))
        return unmoved(program, None, record, tolerance)
    neurons = _rounded(program, answer.neurons, np.sqrt(np.square(program.rows).sum(axis=0)), threshold)
    operator = NeuronOperator(program)
    theta = -program.loss.gradient(to_numpy(operator.forward(operator.tensor(neurons))), program.targets)
    return certify(
        program,
        neurons,
        operator,
        RunRecord(f"cvxpy ({engine})", answer.status, answer.iterations, perf_counter() - began, np.empty(0)),
        duals=[] if answer.polar is None else [DualCandidate(theta, answer.polar)],
        tolerance=tolerance,
    )


def _entries(program: ConvexProgram) -> int:
    """Return how many entries the matrices have that are handed over."""
    return len(program.rows) * program.n_weights * (2 * program.n_parts if program.cone else 1)


def _preparation(program: ConvexProgram) -> float:
    """Return about how many seconds cvxpy takes before the engine begins; nothing can stop it then."""
    entries = _entries(program)
    return entries * SECONDS_AN_ENTRY[entries > MANY]


def _fits(program: ConvexProgram, memory_limit: int) -> None:
    needed = 8 * _entries(program)
    if needed > memory_limit:
        raise UnsuitedError(f"memory_limit is {memory_limit}; cvxpy expects at least {needed} bytes for this program")


@dataclass(frozen=True, eq=False)
class Answer:
    """What the engine found: neurons (q, d), an element of the polar cones (q, d) if there are cones, and how."""

    neurons: Floats
    polar: Floats | None
    status: Status
    iterations: int


def _solved(cp: Any, program: ConvexProgram, matrix: Floats, engine: str, deadline: Deadline) -> Answer:
    """Return the engine's answer in the program's units.

    The engine sees A and numbers y at unit scale, since its tolerances are absolute: with y = s y' and A = a A' the
    weights are (s / a) w', a penalty of degree p has the strength times (s / a)^p / s^2, and the multipliers of the
    cones are s times the engine's. Labels stay: s = 1.
    """
    assert program.penalty is not None
    scale_y = 1.0 if program.classes is not None else float(np.sqrt(np.mean(np.square(program.targets))))
    scale_x = float(np.linalg.norm(matrix, axis=0).max()) / np.sqrt(len(matrix)) or 1.0
    strength = (program.strength or 0.0) * (scale_y / scale_x) ** program.penalty.degree / scale_y**2
    weights = cp.Variable((matrix.shape[1], program.n_outputs * program.n_parts))
    neurons = _neurons(cp, program, weights)
    prediction = (matrix / scale_x) @ weights @ _signs(program)
    objective = program.loss.expression(prediction, program.targets / scale_y)
    objective += strength * program.penalty.expression(neurons)
    cones = _cones(cp, program, neurons, scale_x)
    problem = cp.Problem(cp.Minimize(objective), cones)
    with warnings.catch_warnings():
        # cvxpy warns of reduced accuracy; here that is a status, with the gap beside it.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            _run(cp, problem, engine, deadline)
        except cp.error.SolverError as error:
            raise RuntimeError(f"cvxpy with {engine} failed: {error}") from None
    if weights.value is None:
        raise RuntimeError(f"cvxpy with {engine} returned no weights; its status is {problem.status}")
    # Whether the point is as good as it says is for the certificate to find out.
    solved = problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
    early = problem.status == cp.USER_LIMIT
    status = Status.CONVERGED if solved else Status.TIME_LIMIT if early else Status.INACCURATE
    iterations = int(problem.solver_stats.num_iters or 0)
    polar = _polar(program, cones[0].dual_value * scale_y) if cones else None
    return Answer(neurons.value * (scale_y / scale_x), polar, status, iterations)


def _run(cp: Any, problem: Any, engine: str, deadline: Deadline) -> None:
    """Let the engine solve a problem, in a thread of its own: Clarabel does not hear Ctrl-C itself."""
    data, chain, inverse = problem.get_problem_data(engine, solver_opts=ENGINES[engine])
    options, stop = {**ENGINES[engine], **_clock(engine, deadline.share(1.0))}, Event()
    solve = (
        partial(_by_clarabel, chain.solver, data, options, stop)
        if engine == "CLARABEL"
        else partial(chain.solve_via_data, problem, data, warm_start=False, verbose=False, solver_opts=options)
    )
    try:
        raw = waited_for(solve)
    finally:
        # What is no longer waited for ends before its next iteration.
        stop.set()
    # SCS hears of Ctrl-C itself, in place of Python.
    if engine == "SCS" and raw["info"]["status"] == "interrupted":
        raise KeyboardInterrupt
    problem.unpack_results(raw, chain, inverse)


def _by_clarabel(interface: Any, data: dict[str, Any], options: dict[str, float], stop: Event) -> Any:
    """Return the solution of Clarabel as cvxpy's interface to it would, but that it ends once `stop` is set."""
    import clarabel
    from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import dims_to_solver_cones

    size = len(data["c"])
    quadratic = sp.triu(data.get("P", sp.csc_array((size, size)))).tocsc()
    settings = interface.parse_solver_opts(False, options)
    cones = dims_to_solver_cones(data["dims"])
    solver = clarabel.DefaultSolver(quadratic, data["c"], data["A"], data["b"], cones, settings)
    solver.set_termination_callback(lambda info: stop.is_set())
    return solver.solve()


def _clock(engine: str, time_limit: float | None) -> dict[str, float]:
    """Return the engine's own option for a time limit."""
    name = {"CLARABEL": "time_limit", "SCS": "time_limit_secs"}[engine]
    return {} if time_limit is None else {name: max(time_limit, 1e-3)}


def _neurons(cp: Any, program: ConvexProgram, weights: Any) -> Any:
    """Return the owned weights, one column an output and part, as the neurons (q, d), by one sparse constant."""
    features = program.patterns.features
    owned = np.flatnonzero(features)
    scatter = sp.csc_array((np.ones(len(owned)), (owned, np.arange(len(owned)))), (features.size, len(owned)))
    return cp.reshape((scatter @ weights).T, program.neurons_shape, order="C")


def _signs(program: ConvexProgram) -> Floats:
    """Return what the columns of the weights add to each output, (outputs * parts, outputs): 1, or 1 and -1."""
    return np.kron(np.eye(program.n_outputs), np.array([[1.0], [-1.0]])[: program.n_parts])


def _cones(cp: Any, program: ConvexProgram, neurons: Any, scale: float) -> list[Any]:
    if not program.cone:
        return []
    active = all_active(program, masks(program.rows, program.patterns.generators))
    return [cp.multiply(np.where(active, 1.0, -1.0), (program.rows / scale) @ neurons.T) >= 0.0]


def _polar(program: ConvexProgram, multipliers: Floats) -> Floats:
    """Return -X^T (2 D_j - I) a_j for the multipliers a (n, q) of the cones, what is negative in them cut off."""
    active = all_active(program, masks(program.rows, program.patterns.generators))
    return -((np.where(active, 1.0, -1.0) * np.maximum(multipliers, 0.0)).T @ program.rows) * program.owned


def _rounded(program: ConvexProgram, neurons: Floats, lengths: Floats, threshold: float) -> Floats:
    """Return the neurons with what is next to nothing set to zero; with cones, whole neurons, then into the cones."""
    shares = np.abs(neurons) * lengths
    if not program.cone:
        return np.where(shares > threshold * shares.max(initial=0.0), neurons, 0.0)
    peaks = shares.max(axis=1)
    return project(program, neurons * (peaks > threshold * peaks.max(initial=0.0))[:, None])

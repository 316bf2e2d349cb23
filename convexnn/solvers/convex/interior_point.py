"""A primal-dual interior point method for cone programs: every iterate lies strictly inside the cones."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from convexnn.checks import as_callback, as_count, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import TOLERANCE, DualCandidate, RunRecord, certify
from convexnn.solvers.common.descent import Callback, Descent, Limits, descend
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.arrays import ArrayLibrary, arrays_on
from convexnn.solvers.convex.interior_steps import InteriorIterate, InteriorPoint
from convexnn.solvers.convex.newton_system import TILE
from convexnn.solvers.convex.softmax_steps import SoftmaxPoint

# Rows from which threads pay: numpy and scipy bring a BLAS each, and on 500 rows, where every call is short, their
# threads waiting for each other took three times as long as one.
THREADED = 1500

# The method of an output, and how its iterations went.
Outcome = tuple[InteriorPoint, Descent[InteriorIterate]]


# Seconds for each row, feature and neuron, and for each row and product of two features, until there is a point inside
# the cones (1,500 rows, 200 features, 200 neurons: 6 seconds).
SECONDS_A_CONE, SECONDS_A_PRODUCT = 1e-7, 1e-8


def interior_point(
    program: ConvexProgram,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 200,
    time_limit: float | None = None,
    device: str = "cpu",
    memory_limit: int = 1 << 30,
    callback: Callback | None = None,
) -> Solution:
    """Solve a cone program by a primal-dual interior point method, in float64.

    Parameters
    ----------
    program : ConvexProgram
        With ``cone=True`` and penalty group_l1, l1, ridge or none. Every cone must have an interior: no gate may have a
        row on its boundary in every point of the cone. With the softmax at most 4,000 rows times classes.
    tolerance : float, default 1e-6
        Stop when the duality gap is below this share of the loss at zero weights.
    max_iterations : int, default 200
        Of all outputs together; every one has at least one.
    time_limit : float, optional
        Seconds for the iterations.
    device : str, default "cpu"
        A torch device, such as ``cuda``. On ``cpu`` the arrays are NumPy's, which are faster there. The first points
        inside the cones, projections onto them, and the certificate are computed on the CPU.
    memory_limit : int, default 2^30
        Bytes of the arrays that the method holds, on its device: 16 n^2 for its systems, or 16 w^2 + 16 n w where the
        w = m d weights are fewer, and as many as 192 n m for slacks and multipliers, at least; tiles shrink to fit.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each iteration. KeyboardInterrupt, raised
        in it or from outside, returns the best iterate so far, a point of the cones; zero weights before there is one.

    Returns
    -------
    Solution
        Inside the cones, with its ``gap``. Neurons that fade are set to zero.

    Raises
    ------
    UnsuitedError
        A cone has no interior, or one so thin that no point of moderate size is well inside, or there are too many
        rows times classes (solver ``admm`` does these); or its arrays do not fit into `memory_limit`. A ValueError.

    Notes
    -----
    With slacks s = (2 D - I) X u, multipliers a and the dual z of the penalty, Newton's method on
    a s = mu, z = dR_mu(u), A^T grad L + z - X^T (2 D - I) a = 0, predictor and corrector of Mehrotra (1992); norms are
    treated as by Andersen, Christiansen, Conn and Overton (SIAM J. Sci. Comput. 22, 2000), who keep z inside the dual
    ball. The matrix is block diagonal, B_j = X^T diag(a_j / s_j) X + Hessian of R_mu, plus A^T H A of rank n, so one
    iteration costs a factorisation of n x n, I + H^1/2 A B^-1 A^T H^1/2 (Woodbury), and of one d x d matrix a neuron.
    Outputs of the squared loss are solved one by one: neither loss nor penalty couples them. The softmax does: its
    system is of n k rows (:mod:`convexnn.solvers.convex.softmax_steps`).

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01, cone=True)
    >>> solution = cx.solve(program, "interior_point")
    >>> solution.solver, bool(solution.gap < 1e-5 * program.zero_loss)
    ('interior_point', True)
    """
    as_nonnegative(tolerance, "tolerance")
    as_callback(callback)
    arrays = arrays_on(device)
    tile = tile_within(program, as_count(memory_limit, "memory_limit", at_least=0))
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    outputs: list[Outcome] = []
    interrupted, late = False, _is_late(program, limits.time_limit)
    with threadpool_limits(1 if len(program.rows) < THREADED else None, user_api="blas"):
        try:
            methods = [] if late else _methods(program, tolerance, tile, arrays)
            for method in methods:
                done = sum(len(run.history) for _, run in outputs)
                left = limits.left(done, perf_counter() - began)
                outputs.append((method, descend(method.begin(), method.step, left, callback)))
                if outputs[-1][1].status is Status.INTERRUPTED:
                    break
        except KeyboardInterrupt:
            # In the search for centres, before there is an iterate.
            interrupted = True
    ended = Status.INTERRUPTED if interrupted else Status.TIME_LIMIT if late else Status.CONVERGED
    return _certified(program, outputs, ended, perf_counter() - began, tolerance)


def _is_late(program: ConvexProgram, time_limit: float | None) -> bool:
    """Whether a limit is shorter than the search for points inside the cones, which asks no clock, is likely to be."""
    n, d = program.rows.shape
    seconds = n * d * (SECONDS_A_CONE * program.neurons_shape[0] + SECONDS_A_PRODUCT * d)
    return time_limit is not None and seconds > max(time_limit, 0.25)


def _methods(program: ConvexProgram, tolerance: float, tile: int, arrays: ArrayLibrary) -> list[InteriorPoint]:
    """Return one method for each output, or one for all where the loss couples them."""
    if program.loss.name == "softmax":
        return [SoftmaxPoint(program, program.targets, tolerance, tile, arrays)]
    return [InteriorPoint(program, target, tolerance, tile, arrays) for target in program.targets.T]


def tile_within(program: ConvexProgram, memory_limit: int) -> int:
    """Return the entries of a tile of the Newton system such that a run stays within the bytes of a limit."""
    n, d = program.rows.shape
    q, weights = 2 * len(program.patterns), int(program.patterns.features.sum())
    coupled = n * program.n_outputs if program.loss.name == "softmax" else min(n, weights)
    # Two systems of the coupled rows, or of the weights where these are fewer, squares of the data, slacks, multipliers
    # and what a step makes of them, blocks.
    fixed = 8 * (2 * coupled**2 + program.n_outputs * (n * d * (d + 5) // 2 + 12 * n * q + 8 * q * d * d))
    # The columns of a tile, and what is made of them on the way; and those of all weights where these are fewer.
    least = 24 * n * d
    fixed += 16 * n * weights if weights < n else 0
    if fixed + least > memory_limit:
        raise UnsuitedError(
            f"memory_limit is {memory_limit}; interior_point expects at least {fixed + least} bytes for this program"
        )
    return min(TILE, (memory_limit - fixed) // 24)


def _certified(
    program: ConvexProgram, outputs: list[Outcome], ended: Status, seconds: float, tolerance: float
) -> Solution:
    """Put the outputs together; those that were not reached stay zero. `ended` is how the run did, but for them."""
    neurons, polar = np.zeros((2, *program.neurons_shape))
    prediction = np.zeros_like(program.targets)
    row = column = 0
    for method, run in outputs:
        rows = slice(row, row := row + len(run.last.neurons))
        cones, host = method.cones, method.arrays.host
        neurons[rows] = host(cones.basis.weights(run.answer.neurons))
        polar[rows] = -host(cones.weight_slack_adjoint(method.balanced(run.last)))
        told = host(cones.forward(run.last.neurons)).reshape(len(prediction), -1)
        columns = slice(column, column := column + told.shape[1])
        prediction[:, columns] = told
    runs = [run for _, run in outputs]
    status = next((run.status for run in runs if run.status is not Status.CONVERGED), Status.CONVERGED)
    status = status if ended is Status.CONVERGED else ended
    history = np.array(runs[0].history if len(runs) == 1 else [])
    iterations = sum(len(run.history) for run in runs)
    theta = -program.loss.gradient(prediction, program.targets)
    duals = [DualCandidate(theta, polar)]
    if status is not Status.TIME_LIMIT:
        # The nearest element of the polar cones takes a projection of all neurons.
        duals.append(DualCandidate(theta))
    return certify(
        program,
        neurons,
        NeuronOperator(program),
        RunRecord("interior_point", status, iterations, seconds, history),
        duals=duals,
        tolerance=tolerance,
    )

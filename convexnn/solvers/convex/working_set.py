"""Working sets for gated programs with group_l1: where few neurons live, few gates are worked with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
from torch import Tensor

from convexnn.checks import Floats, Ints, as_callback, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.program.penalties import row_norms
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import TOLERANCE, DualCandidate, RunRecord, certify
from convexnn.solvers.common.deadline import Deadline
from convexnn.solvers.common.descent import Callback, Limits, descend
from convexnn.solvers.common.warm_start import Start, start_neurons, unmoved
from convexnn.solvers.convex.fista import begin, fista_step, prepare

# Gates of the first set; later sets have twice as many gates as live, so that the next have room.
FIRST, ROOM = 10, 2

# Each set is solved to this share of the gap of the whole program, and the last to this share of the tolerance.
NEARER, LAST = 0.1, 0.3

# Most iterations of fista on one set.
INNER = 3000


@dataclass(frozen=True)
class WorkingIterate:
    """An iterate: `neurons` (q, d) with their prediction, and how the next set is chosen.

    `bound` is the best lower bound of the whole program so far, proven by `theta`; `norms` (m,) are the longest slopes
    of each gate, and `gates` the set that was solved last.
    """

    neurons: Floats
    prediction: Tensor
    objective: float
    bound: float
    theta: Floats
    norms: Floats
    gates: Ints
    final: bool = False


def working_set(
    program: ConvexProgram,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 200,
    time_limit: float | None = None,
    start: Start = None,
    device: str = "cpu",
    memory_limit: int = 1 << 30,
    callback: Callback | None = None,
) -> Solution:
    """Solve a gated program with penalty group_l1 on growing sets of its gates, each by accelerated gradients.

    Parameters
    ----------
    program : ConvexProgram
        With penalty ``group_l1``, without cone.
    tolerance : float, default 1e-6
        Stop when the duality gap of the whole program is below this share of the loss at zero weights.
    max_iterations : int, default 200
        Most sets.
    time_limit : float, optional
        Seconds for the iterations.
    start : Solution or array_like (m, d) or (m, d, k), optional
        Weights to begin with, of a program with the same shape; default zero.
    device : str, default "cpu"
        A torch device.
    memory_limit : int, default 2^30
        Bytes for the masks: see :class:`convexnn.linear.operator.PatternOperator`.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each set. KeyboardInterrupt, raised in it
        or from outside, returns the best point so far; the start, or zero weights, before there is one.

    Returns
    -------
    Solution
        With its ``gap`` over all gates; its iterations are sets.

    Notes
    -----
    A gate j with ||A_j^T theta|| < strength at the best theta has no neuron. So a set begins with the gates that live
    and those of the longest ||A_j^T theta||, twice as many as live; the program of these gates alone is solved
    (:func:`convexnn.solvers.convex.fista.fista`, from where the last ended); then theta = -dL/dp there, scaled to be
    feasible for all gates, bounds the whole program, and says which gates were missing (Massias, Gramfort and Salmon,
    "Celer", ICML 2018). A gate that is left out costs a product a set, not a product an iteration.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 40, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.05)
    >>> solution = cx.solve(program, "working_set")
    >>> solution.status.name, bool(solution.gap <= 1e-6 * program.zero_loss)
    ('CONVERGED', True)
    """
    as_nonnegative(tolerance, "tolerance")
    as_callback(callback)
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    neurons = start_neurons(program, start)
    try:
        operator = NeuronOperator(program, device=device, memory_limit=memory_limit)
        sets = WorkingSets(program, operator, tolerance, Deadline(time_limit, began), device, memory_limit)
        now = sets.begin(np.zeros(program.neurons_shape) if neurons is None else neurons)
    except KeyboardInterrupt:
        record = RunRecord("working_set", Status.INTERRUPTED, 0, perf_counter() - began, np.empty(0))
        return unmoved(program, neurons, record, tolerance)
    run = descend(now, sets.step, limits, callback)
    record = RunRecord("working_set", run.status, len(run.history), perf_counter() - began, np.array(run.history))
    duals = [DualCandidate(run.last.theta)]
    return certify(program, run.answer.neurons, operator, record, duals=duals, tolerance=tolerance)


class WorkingSets:
    """What stays fixed in a run, and the step from one set to the next."""

    def __init__(
        self,
        program: ConvexProgram,
        operator: NeuronOperator,
        tolerance: float,
        deadline: Deadline,
        device: str = "cpu",
        memory_limit: int = 1 << 30,
    ) -> None:
        self.program, self.operator, self.tolerance, self.deadline = program, operator, tolerance, deadline
        self.device, self.memory_limit = device, memory_limit
        self.targets = operator.tensor(program.targets)

    def begin(self, neurons: Floats) -> WorkingIterate:
        """Return the first iterate, at neurons (q, d)."""
        prediction = self.operator.forward(self.operator.tensor(neurons))
        theta = np.zeros_like(self.program.targets)
        nothing = WorkingIterate(neurons, prediction, np.inf, -np.inf, theta, neurons, np.empty(0, dtype=np.int64))
        return self._judged(nothing, neurons, prediction, nothing.gates)

    def step(self, now: WorkingIterate) -> WorkingIterate:
        """Return the iterate after the program of the next set of gates."""
        if now.final:
            return now
        gates, complete = self._chosen(now)
        part = self.program.with_gates(gates)
        m = len(self.program.patterns)
        place = (np.arange(self.program.n_outputs)[:, None] * m + gates).ravel()
        share = NEARER * (now.objective - now.bound) / self.program.zero_loss
        share = LAST * self.tolerance if complete else max(share, LAST * self.tolerance)
        operator = NeuronOperator(part, device=self.device, memory_limit=self.memory_limit)
        problem = prepare(part, operator, share, self.memory_limit)
        limits = Limits(INNER, self.deadline.share(1.0))
        run = descend(begin(problem, now.neurons[place]), partial(fista_step, problem), limits)
        if run.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        found = to_numpy(problem.penalty.weights(run.answer.coordinates))
        neurons = np.zeros_like(now.neurons)
        neurons[place] = found
        return self._judged(now, neurons, operator.forward(operator.tensor(found)), gates)

    def _judged(self, now: WorkingIterate, neurons: Floats, prediction: Tensor, gates: Ints) -> WorkingIterate:
        """Return the iterate at neurons with their prediction, with the bound that its slopes prove."""
        theta = -self.program.loss.gradient(prediction, self.targets)
        slope = self.operator.adjoint(theta)
        bound = self.program.lower_bound(theta, slope, self.targets)
        if bound > now.bound:
            now = replace(now, bound=bound, theta=to_numpy(theta))
        norms = to_numpy(row_norms(slope)).reshape(self.program.n_outputs, -1).max(axis=0)
        objective = self.program.objective(to_numpy(prediction), neurons)
        final = objective - now.bound <= self.tolerance * self.program.zero_loss
        return replace(
            now, neurons=neurons, prediction=prediction, objective=objective, norms=norms, gates=gates, final=final
        )

    def _chosen(self, now: WorkingIterate) -> tuple[Ints, bool]:
        """Return the next set of gates, and whether the last had all whose slopes are too long."""
        live = np.square(now.neurons).sum(axis=1).reshape(self.program.n_outputs, -1).any(axis=0)
        inside = np.zeros(len(live), dtype=bool)
        inside[now.gates] = True
        assert self.program.strength is not None
        missing = ~inside & (now.norms > self.program.strength * (1.0 + self.tolerance))
        size = max(FIRST, ROOM * int(live.sum()))
        order = np.argsort(np.where(live, -np.inf, -now.norms), kind="stable")
        chosen = np.sort(order[:size])
        if missing.any() and np.array_equal(chosen, now.gates):
            chosen = np.sort(order[: ROOM * size])
        return chosen, len(now.gates) > 0 and not missing.any()

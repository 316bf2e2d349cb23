"""The loop: solve over the gates held, price, add gates; where none is found, prove that none is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from convexnn.checks import Floats
from convexnn.optimum.alternating import AlternatingDescent
from convexnn.optimum.bounds import level_for, objective_rounding, proven_bound
from convexnn.optimum.gates import mask_keys, new_gates
from convexnn.optimum.master import Task, live_neurons, network_solution, solve_held, warm_start
from convexnn.optimum.pricers import Pricer, dual_point, pricer_for
from convexnn.optimum.result import GlobalOptimum, OptimumProgress
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import RunRecord, certify_support
from convexnn.solvers.common.deadline import Deadline

# Most gates added in a round.
ADDED = 16

# Tolerances of the programs over the gates held, as shares of the one asked for: the first while gates are found, the
# next where the dual point is too rough for a proof; none below the last. First-order methods take long for small ones.
SHARES, FIRST_ORDER_SHARES, FINEST = (0.3, 1e-2, 1e-4, 1e-6), (0.3, 0.03), 1e-12

# A gate is worth adding whose price is above 1 by this share of what the proof may leave open.
WORTH = 0.1

# What the proof aims at, as a share of the gap asked for, and the share of the time left for it at the end.
AIM, LEFT = 0.9, 0.3

# Multiplications a second of projections onto cones: a low guess.
RATE = 1e9

# The share of the time that local training may take, before any program is solved.
TRAINED = 0.4

# Tolerance of the last solve, over the gates of the answer, as a share of the one asked for.
POLISHED = 1e-3

# How near to the largest price met the bound of a run is taken that can do no better.
CLOSE = 1e-4

# Why zero weights are an answer.
ZERO = "zero weights are optimal, for the strength is at least the smallest one with that optimum"

# The search is over after this many rounds in a row that gain less than a hundredth of the gap asked for.
PATIENCE = 25


@dataclass(frozen=True)
class OptimumOptions:
    """The arguments of :func:`convexnn.global_optimum`, checked."""

    tolerance: float
    deadline: Deadline
    callback: Callable[[OptimumProgress], None] | None


class ColumnGeneration:
    """A run: gates in hand, the best solution, the best bound.

    Parameters
    ----------
    task : Task
        What is asked.
    gates : ndarray (m, d)
        Gates to begin with, at least one, each active on some row.
    options : OptimumOptions
        Limits.
    rng : numpy.random.Generator
        Starts of the ascents.
    """

    def __init__(self, task: Task, gates: Floats, options: OptimumOptions, rng: np.random.Generator) -> None:
        self.task, self.options, self.rng = task, options, rng
        self.program = task.program(gates[:1])
        self.goal = options.tolerance * self.program.zero_loss
        self.bound, self.best = 0.0, _zero(self.program)
        self.rounds: list[OptimumProgress] = []
        self.status, self.reason = Status.SEARCH_ENDED, "no price was bounded"
        self.gates = gates
        self.start: Floats | None = None
        shares = SHARES if task.cone else FIRST_ORDER_SHARES
        self.levels = [max(share * options.tolerance, FINEST) for share in shares]

    def run(self) -> GlobalOptimum:
        """Return the best solution and the best bound, whatever ended the run."""
        try:
            pricer = pricer_for(self.program, self.options.deadline.is_over)
            if not self._zero_is_optimal(pricer):
                self._generate(pricer)
                if self.status is Status.CONVERGED:
                    self._polish()
        except KeyboardInterrupt:
            self.status = Status.INTERRUPTED
        return self._result()

    def _polish(self) -> None:
        """Solve once more, exactly, over the live gates: neurons that fade are gone then, and the gap is smaller."""
        left = self.options.deadline.share(1.0)
        # First-order methods take too long for so little, and their zeros are exact anyway.
        if self.best.solver != "interior_point" or (left is not None and left < 2.0 * self.best.seconds):
            return
        held, kept = self.best.program.patterns.generators, self.best.live
        program = self.task.program(held[kept])
        fine = max(FINEST, POLISHED * self.options.tolerance)
        solution = solve_held(program, warm_start(self.best, kept, 0), fine, left)
        if solution.objective <= self.best.objective:
            self.best = solution

    def _zero_is_optimal(self, pricer: Pricer) -> bool:
        """Look at zero weights: the first gates, or the proof that there is nothing to add."""
        program, strength = self.program, self.task.strength
        theta = -program.loss.gradient(np.zeros_like(program.targets), program.targets)
        values, points = pricer.search(theta, np.zeros((0, program.rows.shape[1])), self.rng)
        if values[0] <= strength:
            pricing = pricer.prove(theta, strength, strength, self.options.deadline.share(LEFT))
            if pricing.bound <= strength:
                # theta is -dL/dp at the optimum itself, so that the bound is the loss at zero.
                self.bound, self.status = self.best.objective, Status.CONVERGED
                self.reason = ZERO
                return True
            values, points = np.append(pricing.values, values), np.concatenate([pricing.points, points])
        found = new_gates(program.rows, points, set(), ADDED)
        self.gates = found if len(found) else self.gates
        return False

    def _generate(self, pricer: Pricer) -> None:
        """Add gates until a proof or a limit."""
        self._train(pricer)
        stalled, deadline = 0, self.options.deadline
        while stalled < PATIENCE:
            if self._is_late(pricer) or not self._has_time_to_solve():
                break
            before = self.best.objective
            solution = self._solved()
            if solution.status is Status.INTERRUPTED:
                self.status = Status.INTERRUPTED
                return
            if deadline.is_over():
                break
            stalled = 0 if before - self.best.objective > 0.01 * self.goal else stalled + 1
            if self._priced(pricer, solution):
                return
        self._last_proof(pricer)
        cut = deadline.time_limit is not None and (self._is_late(pricer) or not self._has_time_to_solve())
        self.status = Status.TIME_LIMIT if cut and self.status is not Status.CONVERGED else self.status

    def _train(self, pricer: Pricer) -> None:
        """Begin with the gates of a network that was trained locally, where such a network can be priced."""
        if not self.task.cone or self.task.penalty != "group_l1" or self._is_late(pricer):
            return
        deadline = self.options.deadline
        worth, until = WORTH * self.goal, Deadline(deadline.share(TRAINED))
        descent = AlternatingDescent(self.program, pricer, self.rng, worth, until, self._note)
        try:
            descent.run()
        finally:
            # An interruption loses nothing.
            if descent.lowest < self.best.objective:
                self.best = network_solution(self.task, descent.best, deadline.seconds)
                self.gates = self.best.program.patterns.generators
                self.start = warm_start(self.best, np.arange(len(self.gates)), 0)

    def _is_late(self, pricer: Pricer) -> bool:
        """Whether the rest of the time belongs to the proof."""
        deadline = self.options.deadline
        share = LEFT if pricer.exact else 0.0
        return deadline.time_limit is not None and deadline.seconds >= (1.0 - share) * deadline.time_limit

    def _has_time_to_solve(self) -> bool:
        """Whether one iteration and the certificate, which ask no clock, fit into what is left.

        With cones each projects every neuron, by as many steps as there are rows or inputs.
        """
        left, (n, d) = self.options.deadline.share(1.0), self.program.rows.shape
        neurons = self.program.n_outputs * self.program.n_parts * len(self.gates)
        steps = min(n, d) if self.task.cone else 1
        return left is None or neurons * n * d * steps <= RATE * left

    def _solved(self) -> Solution:
        """Solve over the gates held; keep the best."""
        program = self.task.program(self.gates)
        solution = solve_held(program, self.start, self.levels[0], self.options.deadline.share(1.0))
        if solution.objective < self.best.objective:
            self.best = solution
        return solution

    def _priced(self, pricer: Pricer, solution: Solution) -> bool:
        """Price at the solution's dual point, and add gates; return whether the run is over."""
        program, theta = solution.program, dual_point(solution)
        values, points = pricer.search(theta, live_neurons(solution), self.rng)
        level = level_for(program, theta, self.best.objective + self._rounding() - AIM * self.goal)
        strength = self.task.strength
        beat = strength * (1.0 + WORTH * (0.0 if level is None else level / strength - 1.0)) + 1e-9 * strength
        added = self._add(solution, points[values > beat])
        worst, proven = values[0], False
        over = False
        if not added and not (level is None and pricer.exact and self._tighten()):
            worst, proven, over = self._proved(pricer, solution, level, beat)
        self._note(solution.objective, len(solution.program.patterns), float(worst) / strength, proven)
        return over

    def _proved(self, pricer: Pricer, solution: Solution, level: float | None, beat: float) -> tuple[float, bool, bool]:
        """Try to prove that no gate is missing; return the bound of the prices, and whether the run is over."""
        theta, strength = dual_point(solution), self.task.strength
        target = strength * (1.0 + 1e-6) if level is None else level
        pricing = pricer.prove(theta, target, beat, self.options.deadline.share(1.0))
        self._know(solution.program, theta, pricing.bound)
        if self.best.objective + self._rounding() - self.bound <= self.goal:
            self.status, self.reason = Status.CONVERGED, "all prices are bounded"
            return pricing.bound, True, True
        self.reason = pricing.reason
        if len(pricing.points):
            values, points = pricer.search(theta, pricing.points, self.rng)
            candidates = np.concatenate([points[values > beat], pricing.points])
            if self._add(solution, candidates):
                return pricing.bound, True, False
        # Where no proof is in reach, a finer dual point serves nothing.
        if pricer.exact and self._tighten():
            return pricing.bound, True, False
        if pricing.reason == "beaten":
            # Patterns that are held are priced too high: the solver is at its end, and the bound is what is left to do.
            top = max(pricing.value, strength)
            pricing = pricer.prove(theta, top * (1.0 + CLOSE), float("inf"), self.options.deadline.share(1.0))
            self._know(solution.program, theta, pricing.bound)
        if pricer.exact:
            late = self._is_late(pricer)
            self.status = Status.TIME_LIMIT if late else Status.INACCURATE
        return pricing.bound, True, True

    def _last_proof(self, pricer: Pricer) -> None:
        """Use the time that is left to bound the prices at the best solution."""
        theta, strength = dual_point(self.best), self.task.strength
        level = level_for(self.best.program, theta, self.best.objective + self._rounding() - AIM * self.goal)
        target = strength * (1.0 + 1e-6) if level is None else level
        pricing = pricer.prove(theta, target, float("inf"), self.options.deadline.share(1.0))
        self.reason = pricing.reason
        self._know(self.best.program, theta, pricing.bound)
        if self.best.objective + self._rounding() - self.bound <= self.goal:
            self.status, self.reason = Status.CONVERGED, "all prices are bounded"

    def _know(self, program: ConvexProgram, theta: Floats, most: float) -> None:
        self.bound = max(self.bound, proven_bound(program, theta, most))

    def _tighten(self) -> bool:
        """Solve more exactly from now on; False where that is used up."""
        if len(self.levels) == 1:
            return False
        self.levels.pop(0)
        return True

    def _add(self, solution: Solution, candidates: Floats) -> int:
        """Hold the live gates and the new ones among the candidates; return how many were new."""
        rows, held = solution.program.rows, solution.program.patterns.generators
        fresh = new_gates(rows, candidates, set(mask_keys(rows, held)), ADDED)
        if len(fresh):
            # Idle gates go where that cannot turn in circles: after a round that gained.
            kept = solution.live if solution is self.best and len(solution.live) else np.arange(len(held))
            self.gates = np.concatenate([held[kept], fresh])
            self.start = warm_start(solution, kept, len(fresh))
        return len(fresh)

    def _rounding(self) -> float:
        return objective_rounding(self.best.program, self.best.objective)

    def _note(self, objective: float, gates: int, worst: float, proven: bool = False) -> None:
        """Keep how the round went, and tell the caller."""
        now = OptimumProgress(
            iteration=len(self.rounds) + 1,
            objective=objective,
            best=min([self.best.objective, objective, *(one.best for one in self.rounds[-1:])]),
            seconds=self.options.deadline.seconds,
            bound=self.bound,
            gates=gates,
            worst=worst,
            proven=proven,
        )
        self.rounds.append(now)
        if self.options.callback is not None:
            self.options.callback(now)

    def _result(self) -> GlobalOptimum:
        best = self.best
        gap = max(0.0, best.objective + self._rounding() - self.bound)
        if self.bound == best.objective:
            gap = 0.0
        known = {field.name: getattr(best, field.name) for field in fields(Solution)}
        known |= {
            "solver": "global_optimum",
            "gap": gap,
            "gap_of_patterns": min(gap, best.gap) if best.gap is not None else gap,
            "status": self.status,
            "iterations": len(self.rounds),
            "seconds": self.options.deadline.seconds,
            "history": np.array([one.best for one in self.rounds]),
        }
        return GlobalOptimum(**known, rounds=tuple(self.rounds), reason=self.reason)


def _zero(program: ConvexProgram) -> Solution:
    """Return zero weights as a solution."""
    nothing = np.zeros(0, dtype=np.int64)
    run = RunRecord("global_optimum", Status.SEARCH_ENDED, 0, 0.0, np.zeros(0))
    zero = certify_support(program, nothing, np.zeros(0), run)
    if not program.cone:
        return zero
    blank = np.zeros(program.weights_shape)
    return replace(zero, pair=(blank, blank.copy()))

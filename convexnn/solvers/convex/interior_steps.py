"""The primal-dual steps of the interior point method: one Newton system, neurons and multipliers together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np

from convexnn.checks import Floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.penalties import into_ball
from convexnn.solvers.convex.arrays import UNSOLVABLE, Array, ArrayLibrary, NumpyArrays, largest
from convexnn.solvers.convex.barriers import Barrier, barrier_of
from convexnn.solvers.convex.gate_cones import GateCones
from convexnn.solvers.convex.newton_system import TILE, NewtonSystem

# Share of the way to the boundary of the cones and the dual ball that a step may take.
FRACTION_TO_BOUNDARY = 0.98

# Imbalance of the dual at which a run without a penalty may end, as a share of the first slope.
BALANCED = 1e-6

# A predictor that reaches no further than this is not followed: the step is for the centre instead.
TIMID = 0.1

# Share of the gap asked for at which complementarity is no longer pressed.
HELD = 0.01

# Accuracy of the predictor, which only tells how far a step gets.
ROUGHLY = 1e-4

# A change of the neurons by less than this share of the largest is rounding: the certificate has the last word.
STALLED = 1e-12

# Share of the largest eigenvalue of a block below which it counts as zero; libraries have defaults of their own.
SINGULAR = 1e-15


@dataclass(frozen=True)
class InteriorIterate:
    """An iterate: neurons inside their cones, and the multipliers that come with them.

    `neurons` (q, d) inside their cones, as coordinates in the basis of these; their `slacks` (n, q) = (2 D - I) X u,
    all above 0; `multipliers` (n, q) > 0 of the cones; `penalty_dual` that of the penalty, inside its ball; `smoothing`
    the barrier's parameter for the penalty.
    """

    neurons: Array
    slacks: Array
    multipliers: Array
    penalty_dual: Array
    smoothing: float
    objective: float
    final: bool = False


class InteriorPoint:
    """What stays fixed in a run, and the step.

    Parameters
    ----------
    program : ConvexProgram
        The program.
    target : ndarray (n,)
        One column of its targets; all of them, (n, k), where the loss couples outputs.
    tolerance : float
        The goal of the relative gap.
    tile : int
        Entries of one tile of the n x n system's factor.
    arrays : ArrayLibrary, optional
        NumPy, the default, or torch on a device.
    """

    def __init__(
        self,
        program: ConvexProgram,
        target: Floats,
        tolerance: float,
        tile: int = TILE,
        arrays: ArrayLibrary | None = None,
    ) -> None:
        assert program.penalty is not None
        self.loss, self.penalty, self.strength = program.loss, program.penalty, program.strength or 0.0
        self.arrays: ArrayLibrary = NumpyArrays() if arrays is None else arrays
        self.functions, self.y, self.tile = self.arrays.functions, self.arrays.array(target), tile
        self.cones = self._cones_of(program)
        self.zero_loss = self.loss.value(self.functions.zeros_like(self.y), self.y)
        self.goal = tolerance * self.zero_loss
        self.barrier: Barrier = barrier_of(self.penalty.name, self.strength, self.cones.basis, self.arrays)
        self.first_slope = largest(self.cones.adjoint(self._gradient(self.arrays.zeros(*self.cones.owned.shape))))

    def _cones_of(self, program: ConvexProgram) -> GateCones:
        return GateCones(program, self.arrays)

    def _system(self, now: InteriorIterate, weights: Array, penalty: Array) -> NewtonSystem:
        return NewtonSystem(self.cones, self._curvature(now.neurons) ** 0.5, weights, penalty, self.tile)

    def begin(self) -> InteriorIterate:
        """Return a point well inside the cones, its penalty and barrier of the size of the loss at zero."""
        inner = self.cones.interior_points()
        loss, q = max(self.zero_loss, 1e-300), len(inner)
        linear = sqrt(float(((self.cones.X @ inner.T) ** 2).mean()))
        size = sqrt(2.0 * loss) / (linear * sqrt(q)) if linear > 0.0 else 1.0
        size = max(size, self.barrier.size_at(loss / q, inner))
        neurons = size * inner
        slacks = self.cones.slacks(neurons)
        multipliers = self.functions.where(self.cones.bound, loss / self.cones.n_constraints / slacks, 0.0)
        smoothing = self.barrier.first_smoothing(neurons)
        penalty_dual = 0.5 * self.barrier.target(neurons, smoothing)
        return InteriorIterate(neurons, slacks, multipliers, penalty_dual, smoothing, self._objective(neurons))

    def step(self, now: InteriorIterate) -> InteriorIterate:
        """Return the next iterate; where rounding has the last word, one whose objective is not finite."""
        try:
            with np.errstate(all="ignore"):
                return self._step(now)
        except UNSOLVABLE:
            return replace(now, objective=float("nan"))

    def _step(self, now: InteriorIterate) -> InteriorIterate:
        """Return the next iterate: one factorisation, a predictor and a corrector."""
        weights = now.multipliers / now.slacks
        linearised = self.barrier.linearise(now.neurons, now.penalty_dual, now.smoothing)
        system = self._system(now, weights, linearised)
        slope = self.cones.adjoint(self._gradient(now.neurons))
        pure = self.barrier.target(now.neurons, 0.0)
        move = system.solve(-slope - pure, ROUGHLY)
        change = NewtonStep(self, now, system, move, self.functions.zeros_like(now.slacks), pure)
        reach = change.longest()
        quadratic = self.loss.name == "squared"
        shrink = min(1.0, max((1.0 - reach) ** 2, 1e-3 if quadratic else 0.1))
        if self._estimate(now) <= HELD * self.goal:
            # Small enough: from here on only the balance of the dual is worked at.
            shrink = 1.0
        mean = float((now.slacks * now.multipliers).sum()) / self.cones.n_constraints
        # Where the predictor gets nowhere, neither its products nor the dual's balance are made up for at once.
        # A loss that is not quadratic is never followed so far: iterates would run into a corner of their constraints.
        timid = 1.0 if reach < TIMID or not quadratic else 0.0
        product = shrink * mean - (reach**2 if timid else 1.0) * change.slacks * change.multipliers
        wanted = self.functions.where(self.cones.bound, product / now.slacks, 0.0)
        owed = timid * min(shrink, 1.0 - reach) * (slope + now.penalty_dual - self.cones.slack_adjoint(now.multipliers))
        smoothed = self.barrier.target(now.neurons, shrink * now.smoothing)
        move = system.solve(owed - slope - smoothed + self.cones.slack_adjoint(wanted))
        change = NewtonStep(self, now, system, move, wanted, smoothed)
        length = min(1.0, FRACTION_TO_BOUNDARY * change.longest())
        return self._moved(now, change, length, now.smoothing * (1.0 - length * (1.0 - shrink)))

    def balanced(self, now: InteriorIterate) -> Array:
        """Return multipliers a >= 0 near those of the iterate with A^T theta + X^T (2 D_j - I) a_j = z again.

        For the l1 penalty alone: the others certify by projection. Late in a run the stiff directions of the system
        lose this balance to rounding. The change is a share of a itself, a X (2 D_j - I) y with y from one d x d
        system a neuron, so that a stays positive where it matters.
        """
        multipliers = now.multipliers
        if self.penalty.name != "l1":
            return multipliers
        pulled = self.cones.adjoint(self._gradient(now.neurons)) + now.penalty_dual
        for _ in range(3):
            blocks = self.cones.blocks(multipliers)
            # In a basis that centres features those that a gate does not own have slopes too, and nothing to balance.
            missing = pulled * self.cones.owned - self.cones.slack_adjoint(multipliers)
            inverse = self.functions.linalg.pinv(blocks, rtol=SINGULAR, hermitian=True)
            shares = (inverse @ missing[:, :, None])[:, :, 0]
            multipliers = multipliers * (1.0 + (self.cones.X @ shares.T) * self.cones.sides).clip(0.0, None)
        return multipliers

    def _objective(self, neurons: Array) -> float:
        penalty = self.penalty.value(self.cones.basis.weights(neurons))
        return self.loss.value(self.cones.forward(neurons), self.y) + self.strength * penalty

    def _gradient(self, neurons: Array) -> Array:
        gradient: Array = self.loss.gradient(self.cones.forward(neurons), self.y)
        return gradient

    def _curvature(self, neurons: Array) -> Array:
        """Return the diagonal of the loss's Hessian (n,) in the predictions."""
        if self.loss.name == "squared":
            return self.functions.full_like(self.y, 1.0 / len(self.y))
        share = abs(self._gradient(neurons)) * len(self.y)
        return share * (1.0 - share) / len(self.y)

    def _moved(self, now: InteriorIterate, change: NewtonStep, length: float, smoothing: float) -> InteriorIterate:
        neurons, slacks, length = self._inside(now, change, length)
        after = InteriorIterate(
            neurons,
            slacks,
            now.multipliers + length * change.multipliers,
            now.penalty_dual + length * change.penalty_dual,
            smoothing,
            self._objective(neurons),
        )
        moved = largest(neurons - now.neurons) > STALLED * largest(neurons)
        return replace(after, final=not moved or self._is_final(after))

    def _inside(self, now: InteriorIterate, change: NewtonStep, length: float) -> tuple[Array, Array, float]:
        """Return neurons, slacks and a length no longer than asked, shortened until rounding leaves all slacks above 0.

        Slacks are those of the neurons, not their own sum of steps, or they would drift apart.
        """
        for _ in range(60):
            neurons = now.neurons + length * change.neurons
            slacks = self.cones.slacks(neurons)
            if (slacks > 0.0).all():
                return neurons, slacks, length
            length *= 0.7
        return now.neurons, now.slacks, 0.0

    def _estimate(self, now: InteriorIterate) -> float:
        """Return the gap that the multipliers would prove if the dual were in balance."""
        complementarity = float((now.slacks * now.multipliers * self.cones.bound).sum())
        return complementarity + self.barrier.gap(now.neurons, now.penalty_dual)

    def _is_final(self, now: InteriorIterate) -> bool:
        """Whether the gap that the iterate certifies is small; it is looked at once the barriers' gap is."""
        if self._estimate(now) > 0.3 * self.goal or not isfinite(now.objective):
            return False
        if self.penalty.name == "none":
            slope = self.cones.adjoint(self._gradient(now.neurons))
            imbalance = self.cones.slack_adjoint(now.multipliers) - slope
            return largest(imbalance) <= BALANCED * self.first_slope
        theta = -self._gradient(now.neurons)
        slope = self.cones.weight_adjoint(theta)
        lifted = slope + self.cones.weight_slack_adjoint(self.balanced(now))
        if now.objective - self._bound(theta, lifted) <= self.goal:
            return True
        return self.penalty.name != "l1" and now.objective - self._bound(theta, self.cones.project(slope)) <= self.goal

    def _bound(self, theta: Array, slope: Array) -> float:
        """Return the lower bound that theta (n,) proves with its adjoint less an element of the polar cones, (q, d)."""
        factor = into_ball(self.penalty.dual_norm(slope), self.strength)
        return self.loss.dual(factor * theta, self.y) - self.penalty.conjugate(factor * slope, self.strength)


class NewtonStep:
    """The step of all variables that follows from the step of the neurons."""

    def __init__(
        self,
        method: InteriorPoint,
        now: InteriorIterate,
        system: NewtonSystem,
        neurons: Array,
        wanted: Array,
        target: Array,
    ) -> None:
        self.method, self.now, self.neurons = method, now, neurons
        self.slacks = (method.cones.X @ neurons.T) * method.cones.sides
        self.multipliers = wanted - now.multipliers - system.weights * self.slacks
        self.penalty_dual = target - now.penalty_dual + method.functions.einsum("bij,bj->bi", system.penalty, neurons)

    def longest(self) -> float:
        """Return the longest step up to 1 that keeps slacks and multipliers at least 0, and the dual in its ball."""
        bound, where = self.method.cones.bound, self.method.functions.where
        shrinking = [
            float(where(bound, -change / value, 0.0).max())
            for change, value in ((self.slacks, self.now.slacks), (self.multipliers, self.now.multipliers))
        ]
        within_ball = self.method.barrier.longest_step(self.now.penalty_dual, self.penalty_dual)
        return min(1.0 / max(1.0, *shrinking), within_ball)

"""The primal-dual steps of the interior point method: one Newton system, neurons and multipliers together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from convexnn.checks import Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import Bools, gate_tiles, masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.penalties import into_ball
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.barriers import Barrier, barrier_of

# Share of the way to the boundary of the cones and the dual ball that a step may take.
INSIDE = 0.98

# Imbalance of the dual at which a run without a penalty may end, as a share of the first slope.
BALANCED = 1e-6

# A predictor that reaches no further than this is not followed: the step is for the centre instead.
TIMID = 0.1

# Share of the gap asked for at which complementarity is no longer pressed.
HELD = 0.01

# A change of the neurons by less than this share of the largest is rounding: the certificate has the last word.
STALLED = 1e-12

# Rounds of refinement of each Newton step: late in a run the blocks span many orders of magnitude.
REFINEMENTS = 3

# Entries of one tile of the n x n system's factor.
TILE = 1 << 24


@dataclass(frozen=True)
class Interior:
    """An iterate: neurons inside their cones, and the multipliers that come with them.

    `neurons` (q, d), their `slacks` (n, q) = (2 D - I) X u > 0, `multipliers` (n, q) > 0 of the cones, `ball` the dual
    of the penalty, inside its ball, `smoothing` the barrier's parameter for the penalty.
    """

    neurons: Floats
    slacks: Floats
    multipliers: Floats
    ball: Floats
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
        One column of its targets.
    tolerance : float
        The goal of the relative gap.
    """

    def __init__(self, program: ConvexProgram, target: Floats, tolerance: float) -> None:
        assert program.penalty is not None
        self.loss, self.penalty, self.strength = program.loss, program.penalty, program.strength or 0.0
        self.X, self.y, self.owned = program.rows, target, np.tile(program.patterns.features, (2, 1))
        self.zero_loss = self.loss.value(np.zeros_like(target), target)
        self.goal = tolerance * self.zero_loss
        self.gates: Bools = masks(program.rows, program.patterns.generators)
        self.m = self.gates.shape[1]
        self.barrier: Barrier = barrier_of(self.penalty.name, self.strength)
        self.sides = np.where(np.tile(self.gates, (1, 2)), 1.0, -1.0)
        # Rows that are zero on what a gate owns constrain nothing.
        self.bound: Bools = np.square(self.X) @ self.owned.T > 0.0
        self.sides *= self.bound
        self.upper = np.triu_indices(self.X.shape[1])
        self.squares = self.X[:, self.upper[0]] * self.X[:, self.upper[1]]
        self.first_slope = float(np.abs(self.adjoint(self._gradient(np.zeros(self.owned.shape)))).max(initial=0.0))

    def forward(self, neurons: Floats) -> Floats:
        """Return the prediction (n,) of neurons (q, d)."""
        difference = neurons[: self.m] - neurons[self.m :]
        return np.einsum("ij,ij->i", self.X @ difference.T, self.gates)

    def adjoint(self, residual: Floats) -> Floats:
        """Return the adjoint (q, d) of a residual (n,), zero where not owned."""
        half = (self.gates * residual[:, None]).T @ self.X
        return np.concatenate([half, -half]) * self.owned

    def pull(self, multipliers: Floats) -> Floats:
        """Return X^T (2 D_j - I) a_j of every neuron, (q, d), zero where not owned."""
        return (self.sides * multipliers).T @ self.X * self.owned

    def begin(self) -> Interior:
        """Return a point well inside the cones, its penalty and barrier of the size of the loss at zero."""
        inner = self._centres()
        loss, q = max(self.zero_loss, 1e-300), len(inner)
        linear = float(np.sqrt(np.mean(np.square(self.X @ inner.T))))
        size = float(np.sqrt(2.0 * loss)) / (linear * np.sqrt(q)) if linear > 0.0 else 1.0
        size = max(size, self.barrier.size_at(loss / q, inner))
        neurons = size * inner
        slacks = self._slacks(neurons)
        multipliers = np.where(self.bound, loss / max(1, int(self.bound.sum())) / slacks, 0.0)
        smoothing = self.barrier.first_smoothing(neurons)
        ball = 0.5 * self.barrier.target(neurons, smoothing)
        return Interior(neurons, slacks, multipliers, ball, smoothing, self._objective(neurons))

    def step(self, now: Interior) -> Interior:
        """Return the next iterate; where rounding has the last word, one whose objective is not finite."""
        try:
            with np.errstate(all="ignore"):
                return self._step(now)
        except (np.linalg.LinAlgError, ValueError):
            # Cholesky's complaint of a matrix that is not positive, or not finite.
            return replace(now, objective=float("nan"))

    def _step(self, now: Interior) -> Interior:
        """Return the next iterate: one factorisation, a predictor and a corrector."""
        weights = now.multipliers / now.slacks
        linearised = self.barrier.linearise(now.neurons, now.ball, now.smoothing)
        system = System(self, self._curvature(now.neurons), weights, linearised)
        slope = self.adjoint(self._gradient(now.neurons))
        pure = self.barrier.target(now.neurons, 0.0)
        move = system.solve(-slope - pure)
        change = Change(self, now, system, move, np.zeros_like(now.slacks), pure)
        reach = change.length()
        quadratic = self.loss.name == "squared"
        shrink = min(1.0, max((1.0 - reach) ** 2, 1e-3 if quadratic else 0.1))
        if self._estimate(now) <= HELD * self.goal:
            # Small enough: from here on only the balance of the dual is worked at.
            shrink = 1.0
        mean = float((now.slacks * now.multipliers).sum()) / max(1, int(self.bound.sum()))
        # Where the predictor gets nowhere, neither its products nor the dual's balance are made up for at once.
        # A loss that is not quadratic is never followed so far: iterates would run into a corner of their constraints.
        timid = 1.0 if reach < TIMID or not quadratic else 0.0
        product = shrink * mean - (reach**2 if timid else 1.0) * change.slacks * change.multipliers
        wanted = np.where(self.bound, product / now.slacks, 0.0)
        owed = timid * min(shrink, 1.0 - reach) * (slope + now.ball - self.pull(now.multipliers))
        smoothed = self.barrier.target(now.neurons, shrink * now.smoothing)
        move = system.solve(owed - slope - smoothed + self.pull(wanted))
        change = Change(self, now, system, move, wanted, smoothed)
        length = min(1.0, INSIDE * change.length())
        return self._moved(now, change, length, now.smoothing * (1.0 - length * (1.0 - shrink)))

    def balanced(self, now: Interior) -> Floats:
        """Return multipliers a >= 0 near those of the iterate with A^T theta + X^T (2 D_j - I) a_j = z again.

        For the l1 penalty alone: the others certify by projection. Late in a run the stiff directions of the system
        lose this balance to rounding. The change is a share of a itself, a X (2 D_j - I) y with y from one d x d
        system a neuron, so that a stays positive where it matters.
        """
        multipliers = now.multipliers
        if self.penalty.name != "l1":
            return multipliers
        pulled = self.adjoint(self._gradient(now.neurons)) + now.ball
        for _ in range(3):
            blocks = self.blocks(multipliers)
            missing = pulled - self.pull(multipliers)
            shares = (np.linalg.pinv(blocks, hermitian=True) @ missing[:, :, None])[:, :, 0]
            multipliers = multipliers * np.maximum(1.0 + (self.X @ shares.T) * self.sides, 0.0)
        return multipliers

    def blocks(self, weights: Floats, penalty: Floats | float = 0.0) -> Floats:
        """Return X^T diag(w_j) X + penalty for weights (n, q), (q, d, d), the identity where not owned."""
        own, (i, j) = self.owned, self.upper
        entries = (weights * self.bound).T @ self.squares
        blocks = np.empty((len(own), own.shape[1], own.shape[1]))
        blocks[:, i, j] = blocks[:, j, i] = entries
        blocks += penalty
        blocks *= own[:, :, None] & own[:, None, :]
        diagonal = np.einsum("bii->bi", blocks)
        # Nothing penalised and no active row would leave a block singular.
        diagonal += np.where(own, 1e-13 * diagonal.max(axis=1, keepdims=True), 1.0)
        return blocks

    def _centres(self) -> Floats:
        """Return a unit point well inside each neuron's cone (q, d): the nearest to zero at distance 1 of all rows."""
        features = self.owned[: self.m]
        # In units in which all columns have the same size, or else far points are hard to tell from none.
        units = np.sqrt(np.square(self.X).mean(axis=0))
        units[units == 0.0] = 1.0
        scaled = self.X / units
        lengths = np.sqrt(np.square(scaled) @ features.T)
        found = least_distance(scaled, self.gates, np.zeros(features.shape), lengths, features)
        points = found.points / units
        slack = (self.X @ points.T) * np.where(self.gates, 1.0, -1.0)
        inside = found.feasible & (~self.bound[:, : self.m] | (slack > 0.0)).all(axis=0)
        if not inside.all():
            gate = int(np.flatnonzero(~inside)[0])
            raise UnsuitedError(
                f"the cone of gate {gate} has no interior, or is too thin for solver 'interior_point'; solver 'admm' "
                "can do it"
            )
        sizes = np.sqrt(np.square(points).sum(axis=1))[:, None]
        points /= np.where(sizes > 0.0, sizes, 1.0)
        return np.concatenate([points, points])

    def _slacks(self, neurons: Floats) -> Floats:
        return np.where(self.bound, (self.X @ neurons.T) * self.sides, 1.0)

    def _objective(self, neurons: Floats) -> float:
        return self.loss.value(self.forward(neurons), self.y) + self.strength * self.penalty.value(neurons)

    def _gradient(self, neurons: Floats) -> Floats:
        gradient: Floats = self.loss.gradient(self.forward(neurons), self.y)
        return gradient

    def _curvature(self, neurons: Floats) -> Floats:
        """Return the diagonal of the loss's Hessian (n,) in the predictions."""
        if self.loss.name == "squared":
            return np.full(len(self.y), 1.0 / len(self.y))
        share = np.abs(self._gradient(neurons)) * len(self.y)
        return share * (1.0 - share) / len(self.y)

    def _moved(self, now: Interior, change: Change, length: float, smoothing: float) -> Interior:
        neurons, slacks, length = self._inside(now, change, length)
        after = Interior(
            neurons,
            slacks,
            now.multipliers + length * change.multipliers,
            now.ball + length * change.ball,
            smoothing,
            self._objective(neurons),
        )
        moved = float(np.abs(neurons - now.neurons).max()) > STALLED * float(np.abs(neurons).max())
        return replace(after, final=not moved or self._is_final(after))

    def _inside(self, now: Interior, change: Change, length: float) -> tuple[Floats, Floats, float]:
        """Return neurons, slacks and a length no longer than asked, shortened until rounding leaves all slacks above 0.

        Slacks are those of the neurons, not their own sum of steps, or they would drift apart.
        """
        for _ in range(60):
            neurons = now.neurons + length * change.neurons
            slacks = self._slacks(neurons)
            if (slacks > 0.0).all():
                return neurons, slacks, length
            length *= 0.7
        return now.neurons, now.slacks, 0.0

    def _estimate(self, now: Interior) -> float:
        """Return the gap that the multipliers would prove if the dual were in balance."""
        return float((now.slacks * now.multipliers * self.bound).sum()) + self.barrier.gap(now.neurons, now.ball)

    def _is_final(self, now: Interior) -> bool:
        """Whether the gap that the iterate certifies is small; it is looked at once the barriers' gap is."""
        if self._estimate(now) > 0.3 * self.goal or not np.isfinite(now.objective):
            return False
        slope = -self.adjoint(self._gradient(now.neurons))
        if self.penalty.name == "none":
            imbalance = slope + self.pull(now.multipliers)
            return float(np.abs(imbalance).max(initial=0.0)) <= BALANCED * self.first_slope
        if self.penalty.name == "l1":
            slope = slope + self.pull(self.balanced(now))
        else:
            slope = least_distance(self.X, np.tile(self.gates, (1, 2)), slope, features=self.owned).points
        factor = into_ball(self.penalty.dual_norm(slope), self.strength)
        bound = self.loss.dual(-factor * self._gradient(now.neurons), self.y)
        return now.objective - bound + self.penalty.conjugate(factor * slope, self.strength) <= self.goal


class System:
    """The Newton matrix B + A^T H A of one iterate, factored by blocks and by rows."""

    def __init__(self, method: InteriorPoint, curvature: Floats, weights: Floats, penalty: Floats) -> None:
        self.method, self.root, self.penalty = method, np.sqrt(curvature), penalty
        self.weights = weights
        self.blocks = method.blocks(weights, penalty)
        own = method.owned
        pairs = own[:, :, None] & own[:, None, :]
        self.inverse = np.linalg.inv(self.blocks) * pairs
        self.inverse = (self.inverse + self.inverse.transpose(0, 2, 1)) / 2
        self.factor = cho_factor(self._gram())

    def solve(self, right: Floats) -> Floats:
        """Return the neurons (q, d) that the matrix maps to `right`, with rounds of refinement."""
        found = self._solve(right)
        for _ in range(REFINEMENTS):
            found = found + self._solve(right - self._apply(found))
        return found

    def _solve(self, right: Floats) -> Floats:
        plain = np.einsum("bij,bj->bi", self.inverse, right)
        dual = cho_solve(self.factor, self.root * self.method.forward(plain))
        return plain - np.einsum("bij,bj->bi", self.inverse, self.method.adjoint(self.root * dual))

    def _apply(self, neurons: Floats) -> Floats:
        along = self.method.adjoint(self.root**2 * self.method.forward(neurons))
        return (np.einsum("bij,bj->bi", self.blocks, neurons) + along) * self.method.owned

    def _gram(self) -> Floats:
        """Return I + H^1/2 A B^-1 A^T H^1/2, (n, n)."""
        method, d = self.method, self.method.X.shape[1]
        both = self.inverse[: method.m] + self.inverse[method.m :]
        both += np.eye(d) * ~method.owned[: method.m, :, None]
        factors = np.linalg.cholesky(both) * method.owned[: method.m, :, None]
        gram = np.eye(len(method.X))
        for gates in gate_tiles(len(method.X), method.m, max(1, TILE // d)):
            part = factors[gates]
            columns = (method.X @ part.transpose(1, 0, 2).reshape(d, -1)).reshape(len(gram), len(part), d)
            columns *= (method.gates[:, gates] * self.root[:, None])[:, :, None]
            flat = columns.reshape(len(gram), -1)
            gram += flat @ flat.T
        return gram


class Change:
    """The step of all variables that follows from the step of the neurons."""

    def __init__(
        self, method: InteriorPoint, now: Interior, system: System, neurons: Floats, wanted: Floats, target: Floats
    ) -> None:
        self.method, self.now, self.neurons = method, now, neurons
        self.slacks = (method.X @ neurons.T) * method.sides
        self.multipliers = wanted - now.multipliers - system.weights * self.slacks
        self.ball = target - now.ball + np.einsum("bij,bj->bi", system.penalty, neurons)

    def length(self) -> float:
        """Return the longest step up to 1 that keeps slacks and multipliers at least 0, and the dual in its ball."""
        bound = self.method.bound
        shrinking = [
            float((-change[bound] / value[bound]).max(initial=0.0))
            for change, value in ((self.slacks, self.now.slacks), (self.multipliers, self.now.multipliers))
        ]
        return min(1.0 / max(1.0, *shrinking), self.method.barrier.length(self.now.ball, self.ball))

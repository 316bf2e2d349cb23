"""The best weights on many supports at once, by Newton's method, for any loss, with a ridge or without."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from convexnn.checks import Floats, Ints
from convexnn.program.losses import Loss
from convexnn.theory.supports.curvature import hessians
from convexnn.theory.supports.design import Design

MAX_ITERATIONS = 200
HALVINGS = 40
# Share of a Hessian's trace that is added to it, so that directions without curvature have a step.
DAMPING = 1e-13
# Entries of the columns of supports that are held at one time.
TILE_ENTRIES = 1 << 22
# The share of what the quadratic model promises that a step must gain (Armijo), and what rounding explains.
ARMIJO = 1e-4
ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Fits:
    """Weights (b, s), the objective (b,) there, the largest entry of the gradient (b,) of b supports."""

    weights: Floats
    objectives: Floats
    slopes: Floats


@dataclass(frozen=True, eq=False)
class _Problem:
    """What b supports (b, s) of a design are fitted with; the ridge has a strength for each weight (b, s)."""

    columns: Floats
    outputs: Ints
    targets: Floats
    loss: Loss
    strength: Floats

    def part(self, chosen: Ints) -> _Problem:
        columns, outputs, strength = self.columns[chosen], self.outputs[chosen], self.strength[chosen]
        return replace(self, columns=columns, outputs=outputs, strength=strength)

    def predict(self, weights: Floats) -> Floats:
        spread = np.zeros((*weights.shape, self.targets.shape[1]))
        np.put_along_axis(spread, self.outputs[:, :, None], weights[:, :, None], axis=2)
        return self.columns @ spread

    def objectives(self, predictions: Floats, weights: Floats) -> Floats:
        losses: Floats = np.array([self.loss.value(prediction, self.targets) for prediction in predictions])
        return losses + 0.5 * np.einsum("bs,bs->b", self.strength * weights, weights)

    def gradients(self, predictions: Floats, weights: Floats) -> Floats:
        theta = np.stack([self.loss.gradient(prediction, self.targets) for prediction in predictions])
        slopes: Floats = np.take_along_axis(self.columns.transpose(0, 2, 1) @ theta, self.outputs[:, :, None], axis=2)
        entries: Floats = slopes[:, :, 0] + self.strength * weights
        return entries

    def directions(self, predictions: Floats, slopes: Floats) -> Floats:
        curved = hessians(self.loss.name, self.columns, self.outputs, predictions)
        # Columns of one size, so that what is added to the trace weighs alike for all of them, whatever their units.
        sizes = np.sqrt(np.square(self.columns).mean(axis=1))
        sizes[sizes == 0.0] = 1.0
        curved /= sizes[:, :, None] * sizes[:, None, :]
        diagonal = np.arange(curved.shape[1])
        traces = curved[:, diagonal, diagonal].sum(axis=1) + np.finfo(np.float64).tiny
        curved[:, diagonal, diagonal] += self.strength / np.square(sizes) + DAMPING * traces[:, None]
        steps = np.linalg.solve(curved, (slopes / sizes)[:, :, None])[:, :, 0]
        return -(steps / sizes).astype(np.float64, copy=False)


def fit_supports(
    design: Design,
    supports: Ints,
    *,
    strength: float | Floats | None = None,
    start: Floats | None = None,
    tolerance: float | Floats = 1e-12,
    max_iterations: int = MAX_ITERATIONS,
) -> Fits:
    """Return the minimisers of the loss + strength/2 ||w||^2 on each support.

    Parameters
    ----------
    design : Design
        The smooth part of a program.
    supports : ndarray (b, s) of int
        Flat indices i k + c into its values.
    strength : float or ndarray (b, s), optional
        Of the ridge, or of that on each weight; default the program's own.
    start : ndarray (b, s), optional
        Weights to begin with; default zero.
    tolerance : float or ndarray (b, s), default 1e-12
        Largest entry of the gradient at which a fit ends, or that for each weight; it ends too where no step lowers the
        objective.
    max_iterations : int, default 200
        Most Newton steps; a fit that they cut short never has a higher objective than where it began.
    """
    b, s = supports.shape
    ridge = np.broadcast_to(design.strength if strength is None else strength, (b, s))
    enough = np.broadcast_to(tolerance, (b, s))
    fits = Fits(np.zeros((b, s)) if start is None else start.copy(), np.empty(b), np.zeros(b))
    step = max(1, TILE_ENTRIES // max(1, design.n_rows * s))
    for first in range(0, b, step):
        part = slice(first, first + step)
        own = Fits(fits.weights[part], fits.objectives[part], fits.slopes[part])
        # Where labels are separated the Hessian vanishes and a step may be of any length; too long a one is refused.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            _fit(design, supports[part], ridge[part], (enough[part], max_iterations), own)
    return fits


def _fit(design: Design, supports: Ints, strength: Floats, ends: tuple[Floats, int], fits: Fits) -> None:
    """Fit the supports (b, s) in place of the weights they begin with; `ends` are tolerances (b, s) and a limit."""
    program, k = design.program, design.program.n_outputs
    columns = design.columns(supports.ravel() // k).reshape(design.n_rows, *supports.shape).transpose(1, 0, 2)
    problem = _Problem(columns, supports % k, program.targets, program.loss, strength)
    live, before = np.arange(len(supports)), np.full((2, len(supports)), np.inf)
    fits.objectives[:] = problem.objectives(problem.predict(fits.weights), fits.weights)
    for _ in range(ends[1]):
        now = problem.part(live)
        predictions = now.predict(fits.weights[live])
        slopes = now.gradients(predictions, fits.weights[live])
        fits.slopes[live] = np.abs(slopes).max(axis=1, initial=0.0)
        after = np.stack([fits.objectives[live], fits.slopes[live]])
        # At the floor of rounding steps neither lower the objective nor the slope any more.
        idle = (after[0] >= before[0, live] * (1.0 - ROUNDING)) & (after[1] > 0.5 * before[1, live])
        going, before[:, live] = (np.abs(slopes) > ends[0][live]).any(axis=1) & ~idle, after
        live, now = live[going], now.part(np.flatnonzero(going))
        if not len(live):
            return
        along = now.directions(predictions[going], slopes[going])
        live = live[_moved(now, fits, live, along, slopes[going])]
        if not len(live):
            return


def _moved(problem: _Problem, fits: Fits, live: Ints, along: Floats, slopes: Floats) -> Ints:
    """Move the fits `live` along a direction, as far as the objective falls; return which of them moved."""
    size, waiting = np.ones(len(live)), np.arange(len(live))
    promised = (along * slopes).sum(axis=1)
    moved: list[Ints] = []
    for _ in range(HALVINGS):
        there = live[waiting]
        points = fits.weights[there] + size[waiting, None] * along[waiting]
        part = problem.part(waiting)
        values = part.objectives(part.predict(points), points)
        # Near the optimum a fall is below rounding, and the full step of Newton's method is still right.
        most = fits.objectives[there] + ARMIJO * size[waiting] * promised[waiting]
        good = (values <= most) | _unnoticed(fits.objectives[there], promised[waiting], size[waiting], values)
        fits.weights[there[good]], fits.objectives[there[good]] = points[good], values[good]
        moved.append(waiting[good])
        waiting = waiting[~good]
        size[waiting] *= 0.5
        if not len(waiting):
            break
    return np.concatenate(moved)


def _unnoticed(
    before: Floats, promised: Floats, size: Floats, after: Floats
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return where a full step promises less than rounding shows, and costs no more than that."""
    slight = ROUNDING * np.maximum(before, np.finfo(np.float64).tiny)
    result: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        (size == 1.0) & (-promised <= slight) & (after <= before + slight)
    )
    return result

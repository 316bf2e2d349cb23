"""Warm starts: the neurons to begin with, from a Solution or from weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator
from convexnn.solution import Solution
from convexnn.solvers.common.certificate import TOLERANCE, RunRecord, certify, certify_support

Start = Solution | ArrayLike | None


def start_neurons(program: ConvexProgram, start: Start) -> Floats | None:
    """Return the neurons (q, d) of a warm start, None for None.

    `start` is the Solution of a program of the same shape, or weights of :attr:`ConvexProgram.weights_shape`; with a
    cone (u, v), shape (2, m, d) or (2, m, d, k).
    """
    if start is None:
        return None
    if isinstance(start, Solution):
        given = start.weights if start.pair is None else np.stack(start.pair)
        name, have = "the weights of start", "have"
    else:
        given, name, have = np.asarray(start), "start", "has"
    expected = ((2,) if program.cone else ()) + program.weights_shape
    if given.shape != expected:
        parts = "; (u, v) of a program with cone=True" if program.cone else ""
        raise ValueError(f"{name} {have} shape {given.shape}; expected {expected}{parts}")
    checked = as_floats(given, name, len(expected), f"an array of shape {expected}")
    return program.neurons(checked) * program.owned


def unmoved(program: ConvexProgram, neurons: Floats | None, run: RunRecord, tolerance: float = TOLERANCE) -> Solution:
    """Return the answer to a convex program of a run that was interrupted before it had one: `neurons`, or zero."""
    point = np.zeros(program.neurons_shape) if neurons is None else neurons
    return certify(program, point, NeuronOperator(program), run, tolerance=tolerance)


def begun(program: ConvexProgram, start: Start, run: RunRecord) -> Solution:
    """Return the answer to a budget of a run that was interrupted before it had one: its start, or zero weights.

    A start above the budget, or worse than zero weights, is none.
    """
    neurons, nothing = start_neurons(program, start), np.zeros(0, dtype=np.int64)
    zero = certify_support(program, nothing, np.zeros(0), run)
    weights = np.zeros(program.weights_shape) if neurons is None else program.parts(neurons)[0]
    own = np.count_nonzero(weights.reshape(len(weights), -1), axis=1)
    caps = (program.budget, program.budget_per_neuron)
    if any(cap is not None and count > cap for count, cap in zip((own.sum(), own.max()), caps, strict=True)):
        return zero
    support = np.flatnonzero(weights)
    given = certify_support(program, support, weights.flat[support], run)
    return given if given.objective < zero.objective else zero

"""Robustness by the textbook MILP: one a target, big-M from intervals, nothing else; what is compared with."""

from __future__ import annotations

from time import perf_counter

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.answers.checked_result import rejection_of
from verify.backends.engine_chain import sound_chain
from verify.backends.registry import candidates
from verify.bounds.layer_bounds import interval_bounds
from verify.milp.request import Request
from verify.regions.intervals import Interval

# The MILP engine, without a licence.
ENGINE = "highspy"


def by_textbook(network: cx.SparseReLUNetwork, region: verify.Box, label: int, limit: float) -> verify.Verdict:
    """Say whether the class `label` holds over a region, by one MILP for each other class (Tjeng et al., 1711.07356).

    Bounds of neurons are those of intervals; there is no ascent, no tighter bound, no branching but the engine's. The
    engine stops at a point of another class, checked in the network, and at a bound that proves there is none. `limit`
    is in seconds of wall clock for all classes together.
    """
    outputs = network.predict(region.center[None])[0]
    if (np.delete(outputs, label) > outputs[label]).any():
        return verify.Verdict.MISCLASSIFIED
    ends, known = perf_counter() + limit, interval_bounds(network, region)
    for target in np.argsort(-outputs, kind="stable").tolist():
        if target == label:
            continue
        verdict = _beaten(network, region, np.eye(len(outputs))[[label, target]], known, ends)
        if verdict is not verify.Verdict.ROBUST:
            return verdict
    return verify.Verdict.ROBUST


def _beaten(
    network: cx.SparseReLUNetwork,
    region: verify.Box,
    pair: Floats,
    known: tuple[Interval, ...],
    ends: float,
) -> verify.Verdict:
    """Ask whether one class, the second of a pair of unit rows (2, k), ever wins against the first."""
    row, left = pair[1] - pair[0], ends - perf_counter()
    if left <= 0.0:
        return verify.Verdict.UNKNOWN
    encoding = verify.encode(network, region, row, known)
    found = list[bool]()

    def wins(values: Floats) -> bool:
        won = float(network.predict(encoding.point(values)[None])[0] @ row) > 0.0
        found.extend([True] * won)
        return won

    chain, _ = sound_chain(candidates(ENGINE))
    if chain is None:
        return verify.Verdict.UNKNOWN
    outcome = chain.maximise(encoding.milp, Request(left, enough=0.0, on_incumbent=wins))
    if found or (outcome.values is not None and wins(outcome.values)):
        return verify.Verdict.COUNTEREXAMPLE
    # An engine that contradicts the network at the center proves nothing.
    sound = rejection_of(outcome, float(network.predict(region.center[None])[0] @ row)) is None
    return verify.Verdict.ROBUST if sound and outcome.bound < -outcome.allowance else verify.Verdict.UNKNOWN

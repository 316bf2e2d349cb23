"""Engines asked about an inquiry: a MILP, or its linear relaxation, and what of the answer counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.answers.checked_result import CheckedResult, rejection_at_point, rejection_of
from verify.answers.witness import WitnessTest
from verify.backends.engine_chain import EngineChain, sound_chain
from verify.bounds.duals import milp_bound
from verify.encoding.encode import Encoding, Milp, encode
from verify.encoding.outer_approximation import maximise, with_cube
from verify.milp.conjunction import least_of
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.request import Request
from verify.questions.inquiry import Inquiry
from verify.regions.balls import L2Ball
from verify.regions.intervals import EPS

# Seconds that it takes to hand an entry of the weights over to an engine, whose clock does not count them.
HANDOVER = 2e-7


def out_of_time(inquiry: Inquiry) -> bool:
    """Whether no time is left for an engine, or less than it takes to hand it a model."""
    entries = sum(weight.nnz for weight, _ in inquiry.functions.network.layers)
    return inquiry.clock.left <= HANDOVER * entries


def choose_engine(inquiry: Inquiry) -> str | None:
    """Choose the engines of an inquiry; return why none can be asked, or None."""
    if not inquiry.resources.engines:
        return "Branch and bound did not decide it, and no engine was to be asked."
    engine, trouble = sound_chain(inquiry.resources.engines)
    if engine is None:
        return trouble
    if not all(layer.finite for layer in inquiry.layers):
        return "A pre-activation bound is infinite, so there is no finite big-M."
    inquiry.engine = engine
    return None


def ask_milp(
    inquiry: Inquiry, chosen: Sequence[int], test: WitnessTest | None = None, share: float = 1.0
) -> CheckedResult:
    """Ask the engine for the maximum of the least of the chosen functions, for a share of the time that is left.

    With a `test` the question is whether it is positive, and a witness that passes may end the work early.
    """
    engine, index = _chosen_engine(inquiry), list(chosen)
    encoding = _encode_least(inquiry, index)
    result = _maximise(inquiry, engine, encoding, index, test, inquiry.clock.seconds + share * inquiry.clock.left)
    certified = _certify(inquiry, index, encoding, result)
    _note_engine(inquiry, engine, f"{encoding.milp}; {result.detail}", result.bound, certified)
    checked = replace(_checked(inquiry, encoding, result, index), certified=certified)
    inquiry.leak = checked.leak if abs(checked.leak) > abs(inquiry.leak) else inquiry.leak
    return checked


def ask_relaxation(inquiry: Inquiry, chosen: Sequence[int], until: float = np.inf) -> CheckedResult:
    """Ask for the maximum of the linear relaxation, where binaries may be fractions: an upper bound and a start.

    The engine has until some time, at most that of the question. It costs a hundredth of the MILP, decides some
    questions by what its multipliers prove, and its point, though no optimum of the network, lies near witnesses that
    gradient ascent from anywhere else misses. Over an L2 ball the engine gets a cube in its place, so nothing but its
    multipliers is a proof.
    """
    engine, index = _chosen_engine(inquiry), list(chosen)
    encoding = _encode_least(inquiry, index)
    milp = encoding.milp.relaxed()
    ball = isinstance(inquiry.region.base, L2Ball)
    inquiry.relaxed.add(tuple(chosen))
    time = min(inquiry.clock.left, inquiry.clock.left_until(until))
    result = engine.maximise(with_cube(encoding, milp) if ball else milp, time)
    certified = _certify(inquiry, index, encoding, result)
    result = replace(result, bound=certified, allowance=0.0) if ball else result
    _note_engine(inquiry, engine, f"linear relaxation; {result.detail}", result.bound, certified)
    point = None if result.values is None else encoding.point(result.values)
    rejection = None if ball else rejection_of(result, inquiry.reached_together(index))
    if rejection is not None:
        inquiry.caveat = inquiry.caveat or f"In the linear relaxation {rejection}"
    limited = result.status is EngineStatus.LIMIT
    return CheckedResult(point, result.bound, result.allowance, limited, rejection, certified=certified)


def _chosen_engine(inquiry: Inquiry) -> EngineChain:
    if inquiry.engine is None:
        raise RuntimeError("no engine was chosen; expected choose_engine() to be called before")
    return inquiry.engine


def _encode_least(inquiry: Inquiry, chosen: list[int]) -> Encoding:
    """Return the MILP of the least of the chosen functions."""
    functions = inquiry.functions
    encodings = [encode(functions.network, inquiry.region, functions.row(index), inquiry.layers) for index in chosen]
    offsets = functions.offsets[chosen]
    milps = [_with_constant(found.milp, offset) for found, offset in zip(encodings, offsets, strict=True)]
    milp = milps[0] if len(milps) == 1 else least_of(milps, inquiry.lower[chosen], inquiry.upper[chosen])
    return replace(encodings[0], milp=milp)


def _with_constant(milp: Milp, offset: float) -> Milp:
    """Return the model with a constant added to its objective."""
    if offset == 0.0:
        return milp
    error = milp.error + 2.0 * EPS * (abs(milp.constant) + abs(float(offset)))
    return replace(milp, constant=milp.constant + float(offset), error=error)


def _maximise(
    inquiry: Inquiry,
    engine: EngineChain,
    encoding: Encoding,
    chosen: list[int],
    test: WitnessTest | None,
    until: float,
) -> EngineResult:
    """Hand a model over, until some time.

    With a test a bound below zero is enough, and so is an incumbent that passes.
    """
    left = partial(inquiry.clock.left_until, until)
    if isinstance(inquiry.region.base, L2Ball):
        return maximise(engine, encoding, left, partial(_settles, inquiry, test), test is not None)
    if test is None:
        return _maximise_and_record(inquiry, engine, encoding, left())
    request = Request(
        left(),
        enough=0.0,
        top=float(inquiry.upper[chosen].min()),
        on_incumbent=lambda values: _settles(inquiry, test, encoding.point(values)),
    )
    return engine.maximise(encoding.milp, request)


def _maximise_and_record(inquiry: Inquiry, engine: EngineChain, encoding: Encoding, seconds: float) -> EngineResult:
    """Hand a model over; its last incumbent is recorded whatever ends the engine, Ctrl-C too."""
    found: list[Floats] = []

    def keep(values: Floats) -> bool:
        # In the engine's thread: the inquiry is the caller's alone.
        found[:] = [encoding.point(values)]
        return False

    try:
        return engine.maximise(encoding.milp, Request(seconds, on_incumbent=keep))
    finally:
        for point in found:
            inquiry.record(point)


def _settles(inquiry: Inquiry, test: WitnessTest | None, point: Floats) -> bool:
    if test is None:
        inquiry.record(point)
        return False
    return inquiry.try_witness(point, test).holds


def _certify(inquiry: Inquiry, chosen: list[int], encoding: Encoding, result: EngineResult) -> float:
    """Return what the multipliers of an engine prove of the least of the chosen functions, and keep that of one."""
    if result.duals is None:
        return np.inf
    bound = milp_bound(encoding.milp, result.duals, encoding.inputs)
    if len(chosen) == 1 and bound < inquiry.upper[chosen[0]]:
        inquiry.upper[chosen[0]], inquiry.proof = bound, Proof.LP
    return bound


def _note_engine(inquiry: Inquiry, engine: EngineChain, finding: str, bound: float, certified: float) -> None:
    inquiry.engine_asked = engine.name
    for trouble in engine.notes:
        inquiry.note("auto", trouble)
    proven = f", {certified:.6g} by its multipliers" if np.isfinite(certified) else ""
    inquiry.note(engine.name, f"{finding}; margin at most {bound:.6g}{proven}")


def _checked(inquiry: Inquiry, encoding: Encoding, result: EngineResult, chosen: list[int]) -> CheckedResult:
    """Hold what an engine says of a MILP against the network."""
    point, leak, milp = None, 0.0, encoding.milp
    if result.values is not None:
        point = encoding.point(result.values)
        leak = float(milp.cost @ result.values) + milp.constant - float(inquiry.record(point)[chosen].min())
    # Of one function any point is evidence; of several the least at one and the same point.
    known = inquiry.reached_together(chosen)
    rejection = rejection_of(result, known)
    if rejection is None and not inquiry.region.is_loose:
        rejection = rejection_at_point(result, leak, known, inquiry.error_at(point, chosen))
    return CheckedResult(point, result.bound, result.allowance, result.status is EngineStatus.LIMIT, rejection, leak)

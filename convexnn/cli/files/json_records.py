"""What `verify` answers, as records for machines: what is not finite is null."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import verify


def answer_record(answer: verify.Answer) -> dict[str, Any]:
    """Return the record of an attack."""
    return {
        "verdict": answer.status.name,
        "label": answer.label,
        "margin": _finite(answer.value),
        "bound": _finite(answer.bound),
        "proof": answer.proof.value if answer.proof else None,
        "leak": _finite(answer.leak),
        "replayed": answer.replayed,
        "reason": answer.reason,
        "seconds": answer.seconds,
        "backend": answer.backend,
        "witness": None if answer.witness is None else answer.witness.tolist(),
    }


def optimum_record(optimum: verify.Optimum) -> dict[str, Any]:
    """Return the record of a largest or smallest value."""
    return {
        "status": optimum.status.name,
        "sense": optimum.sense,
        "value": _finite(optimum.value),
        "bound": _finite(optimum.bound),
        "tolerance": _finite(optimum.tolerance),
        "allowance": _finite(optimum.allowance),
        "leak": _finite(optimum.leak),
        "proof": optimum.proof.value if optimum.proof else None,
        "reason": optimum.reason,
        "seconds": optimum.seconds,
        "backend": optimum.backend,
        "replayed": optimum.replayed,
        "witness": optimum.witness.tolist(),
    }


def check_record(check: verify.Check) -> dict[str, Any]:
    """Return the record of a property."""
    return {
        "verdict": check.status.name,
        "proof": check.proof.value if check.proof else None,
        "bound": _finite(check.bound),
        "leak": _finite(check.leak),
        "reason": check.reason,
        "seconds": check.seconds,
        "backend": check.backend,
        "witness": None if check.witness is None else check.witness.tolist(),
        "outputs": None if check.outputs is None else check.outputs.tolist(),
    }


def radius_record(radius: verify.Radius) -> dict[str, Any]:
    """Return the record of a smallest adversarial radius."""
    return {
        "status": radius.status.name,
        "label": radius.label,
        "lower": _finite(radius.lower),
        "upper": _finite(radius.upper),
        "reason": radius.reason,
        "questions": len(radius.answers),
        "seconds": radius.seconds,
        "witness": None if radius.witness is None else radius.witness.tolist(),
    }


def range_record(found: verify.OutputRange) -> dict[str, Any]:
    """Return the record of the ranges of all outputs; its status is the least certain one."""
    statuses = [optimum.status.name for optimum in (*found.minima, *found.maxima)]
    certain = ("OPTIMAL", "LIMIT", "UNKNOWN", "INTERRUPTED")
    return {
        "status": max(statuses, key=certain.index),
        "lower": list(map(_finite, found.lower.tolist())),
        "upper": list(map(_finite, found.upper.tolist())),
        "reached_lower": list(map(_finite, found.reached_lower.tolist())),
        "reached_upper": list(map(_finite, found.reached_upper.tolist())),
        "minima": [optimum.status.name for optimum in found.minima],
        "maxima": [optimum.status.name for optimum in found.maxima],
        "seconds": found.seconds,
    }


def evaluation_record(found: verify.Evaluation) -> dict[str, Any]:
    """Return the record of a data set."""
    return {
        "rows": len(found.answers),
        "accuracy": found.accuracy,
        "certified_accuracy": found.certified_accuracy,
        "attacked_accuracy": found.attacked_accuracy,
        "verdicts": [answer.status.name for answer in found.answers],
        "seconds": found.seconds,
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None

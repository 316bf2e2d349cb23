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


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None

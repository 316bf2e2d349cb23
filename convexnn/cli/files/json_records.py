"""What `verify` answers, as records for machines: what `to_dict` tells, by the names that `--json` and logs have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convexnn.records import Record

if TYPE_CHECKING:
    import verify


def answer_record(answer: verify.Answer) -> dict[str, Any]:
    """Return the record of an attack."""
    return _renamed(answer, status="verdict", value="margin")


def optimum_record(optimum: verify.Optimum) -> dict[str, Any]:
    """Return the record of a largest or smallest value."""
    return _renamed(optimum)


def check_record(check: verify.Check) -> dict[str, Any]:
    """Return the record of a property."""
    return _renamed(check, status="verdict")


def radius_record(radius: verify.Radius) -> dict[str, Any]:
    """Return the record of a smallest adversarial radius."""
    told = radius.to_dict()
    questions = len(told.pop("answers"))
    return {**told, "questions": questions}


def range_record(found: verify.OutputRange) -> dict[str, Any]:
    """Return the record of the ranges of all outputs; its status is the least certain one."""
    told = found.to_dict()
    ends = {end: [optimum["status"] for optimum in told[end]] for end in ("minima", "maxima")}
    certain = ("OPTIMAL", "LIMIT", "UNKNOWN", "INTERRUPTED")
    return {"status": max(ends["minima"] + ends["maxima"], key=certain.index), **told, **ends}


def evaluation_record(found: verify.Evaluation) -> dict[str, Any]:
    """Return the record of a data set."""
    told = found.to_dict()
    verdicts = [answer["status"] for answer in told.pop("answers")]
    return {"rows": len(verdicts), **told, "verdicts": verdicts}


def _renamed(result: Record, **names: str) -> dict[str, Any]:
    """Return what a result tells but for the steps on the way, some of it by other names."""
    return {names.get(name, name): value for name, value in result.to_dict().items() if name != "trace"}

"""Checked results: what is said of a bound that proves nothing is true of it."""

from __future__ import annotations

import pytest

from verify.answers.checked_result import CheckedResult, rejection_at_point
from verify.milp.engine_result import EngineResult, EngineStatus


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (3.99984e-05, "the margin is at most 3.99984e-05, above zero by more than the tolerance 4.3e-09."),
        (1e-9, "the margin is at most 1e-09, within the tolerance 4.3e-09 of zero."),
        (-1e-9, "the margin is at most -1e-09, within the tolerance 4.3e-09 of zero."),
        (-1e-8, None),
    ],
)
def test_a_bound_beyond_the_tolerance_is_not_called_within_it(bound: float, words: str | None) -> None:
    assert CheckedResult(None, bound, 4.3e-9, False, None).why_unproven() == words


def test_a_point_is_not_held_against_an_engine_for_what_rounding_amounts_to() -> None:
    result = EngineResult(EngineStatus.OPTIMAL, None, 0.0, "a margin of 0", 0.0)
    assert rejection_at_point(result, 3.76e-18, 0.0, error=1e-17) is None
    assert rejection_at_point(result, 3.76e-17, 0.0, error=1e-17) is not None
    assert rejection_at_point(result, 3.76e-18, 0.0) is not None

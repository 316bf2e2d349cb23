"""Checked results: what is said of a bound that proves nothing is true of it."""

from __future__ import annotations

import pytest

from verify.answers.checked_result import CheckedResult


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

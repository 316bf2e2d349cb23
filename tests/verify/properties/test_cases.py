"""Multiplying out asks the clock: what was made in time is a part of all cases, and proves nothing."""

from __future__ import annotations

from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from verify import Holding
from verify.clock import Clock
from verify.properties.cases import Cases, cases_of
from verify.properties.input_box import InputBox

HEAD = "".join(f"(declare-const {name}_{index} Real)" for name in "XY" for index in range(2))


def ways_of(cases: Cases) -> set[tuple[bytes, ...]]:
    """Return the boxes with each of their conditions."""
    arrays = [(case.lower, case.upper, way.rows, way.levels) for case in cases.found for way in case.conditions]
    return {tuple(part.tobytes() for part in way) for way in arrays}


def test_what_is_made_in_time_is_a_part_of_all() -> None:
    one = "(or (and (<= X_0 0) (>= Y_0 1)) (and (>= X_0 0.5) (>= Y_1 1)))"
    asserted = verify.parse_property(f"{HEAD}(assert {one}) (assert (or (<= Y_0 3) (>= Y_1 4)))").asserted
    every, sizes = cases_of((2, 2), asserted), list[int]()
    for last in range(12):
        moments = chain(repeat(False, last), repeat(True))
        found = cases_of((2, 2), asserted, stop=partial(next, moments))
        sizes.append(len(ways_of(found)))
        assert ways_of(found) <= ways_of(every)
        assert found.whole == (sizes[-1] == 4)
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1], every.whole) == (1, 4, True)


@pytest.mark.parametrize("strict", ["<", "<="])
def test_points_are_tried_where_the_time_is_over_amid_alternatives(
    strict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both outputs are the inputs; what is multiplied out first is never met, what is met is far down.
    network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
    parts = " ".join(f"(and (>= X_0 {index / 500}) (<= X_0 1))" for index in range(300))
    never = " ".join(f"(>= Y_0 {1000 + index})" for index in range(5))
    ends = "(assert (<= X_1 1)) (assert (>= X_1 0))"
    text = f"{HEAD}{ends}(assert (or {parts})) (assert (or {never} (and ({strict} Y_1 0.75) (<= Y_0 1))))"
    monkeypatch.setattr(Clock, "overdue", lambda self: True)
    found = verify.check_vnnlib(network, verify.parse_property(text), time_limit=0.0)
    assert found.status is Holding.VIOLATED
    assert found.witness is not None
    assert found.witness[1] <= 0.75
    # Where no input is a witness, the points say nothing.
    text = f"{HEAD}{ends}(assert (or {parts})) (assert (or {never}))"
    assert verify.check_vnnlib(network, verify.parse_property(text), time_limit=0.0).status is Holding.UNKNOWN


def test_boxes_of_contradictions_are_tried_by_what_all_alternatives_share(monkeypatch: pytest.MonkeyPatch) -> None:
    network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
    ends = "".join(f"(assert (<= X_{index} 1)) (assert (>= X_{index} 0))" for index in range(2))
    text = f"{HEAD}{ends}(assert (or (>= X_0 2) (>= X_0 0.25))) (assert (or (>= X_1 3) (>= Y_0 0.5)))"
    monkeypatch.setattr(Clock, "overdue", lambda self: True)
    found = verify.check_vnnlib(network, verify.parse_property(text), time_limit=0.0)
    assert found.status is Holding.VIOLATED


def test_points_tried_at_a_limit_are_no_witness_by_values_before_a_sigmoid(monkeypatch: pytest.MonkeyPatch) -> None:
    # No output is above 1; before the sigmoid they are up to 5. What is multiplied out in time asks about no output.
    network = cx.SparseReLUNetwork([(np.eye(2), None), (5.0 * np.eye(2), None)], final="sigmoid")
    ends = "".join(f"(assert (<= X_{index} 1)) (assert (>= X_{index} 0))" for index in range(2))
    text = f"{HEAD}{ends}(assert (or (>= X_0 2) (>= X_0 0.25))) (assert (or (>= X_1 3) %s))"
    monkeypatch.setattr(Clock, "overdue", lambda self: True)
    by_value = verify.check_vnnlib(network, verify.parse_property(text % "(>= Y_0 2)"), time_limit=0.0)
    assert by_value.status is Holding.UNKNOWN
    by_order = verify.check_vnnlib(network, verify.parse_property(text % "(>= Y_0 Y_1)"), time_limit=0.0)
    assert by_order.status is Holding.VIOLATED


def test_points_tried_at_a_limit_may_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    network = cx.SparseReLUNetwork([(np.full((2, 2), 1e200), None), (1e200 * np.eye(2), None)])
    ends = "".join(f"(assert (<= X_{index} 1)) (assert (>= X_{index} 0))" for index in range(2))
    text = f"{HEAD}{ends}(assert (or (>= X_0 2) (>= X_0 0.25))) (assert (or (>= X_1 3) (>= (- Y_0 Y_1) 1)))"
    monkeypatch.setattr(Clock, "overdue", lambda self: True)
    assert verify.check_vnnlib(network, verify.parse_property(text), time_limit=0.0).status is Holding.UNKNOWN


def test_alternatives_that_no_time_is_left_for_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
    parts = " ".join(f"(and (>= X_0 {index / 500}) (<= X_0 1))" for index in range(300))
    ends = "(assert (<= X_1 1)) (assert (>= X_1 0))"
    text = f"{HEAD}{ends}(assert (or {parts})) (assert (or (>= Y_0 1000) (>= Y_1 1000)))"
    made, before = [0], InputBox.within

    def within(self: InputBox, atoms: Any) -> InputBox:
        made[0] += 1
        return before(self, atoms)

    monkeypatch.setattr(InputBox, "within", within)
    # Each box takes a second of this clock to be made.
    monkeypatch.setattr(Clock, "seconds", property(lambda self: float(made[0])))
    found = verify.check_vnnlib(network, verify.parse_property(text), time_limit=20.0)
    assert made[0] == 20
    assert (found.status, found.bound, found.proof) == (Holding.UNKNOWN, np.inf, None)
    said = "1 boxes were looked at; what others there are was not multiplied out."
    assert found.reason == f"The time limit was reached. {said}"
    assert verify.check_vnnlib(network, verify.parse_property(text), time_limit=1e5).status is Holding.HOLDS

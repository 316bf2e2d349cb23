"""Ties: what is reached exactly is decided in rational arithmetic, or named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Holding, Status, Verdict

# y0 = x0, y1 = max(x1, 0), over -1 <= x <= 1.
PAIR = cx.SparseReLUNetwork([([[1, 0], [-1, 0], [0, 1]], None), ([[1, -1, 0], [0, 0, 1]], None)])
SQUARE = verify.Box([-1, -1], [1, 1])
DECLARED = "".join(f"(declare-const {letter}_{i} Real)\n" for letter in "XY" for i in (0, 1))
WIDE = "".join(f"(assert (>= X_{i} -1)) (assert (<= X_{i} 1))\n" for i in (0, 1))


def asked(text: str, network: cx.SparseReLUNetwork = PAIR, box: str = WIDE, **options: Any) -> verify.Check:
    return verify.check_vnnlib(network, verify.parse_property(DECLARED + box + text), time_limit=10, **options)


class TestProperties:
    @pytest.mark.parametrize(
        "text",
        [
            "(assert (>= Y_0 1))",
            "(assert (<= Y_0 -1))",
            "(assert (>= (+ Y_0 Y_1) 2))",
            "(assert (>= Y_0 1)) (assert (>= Y_1 1))",
            "(assert (or (>= Y_0 2) (>= Y_1 1)))",
            "(assert (= Y_0 0.5))",
            "(assert (<= Y_1 0))",
        ],
    )
    @pytest.mark.parametrize("backend", ["auto", "branching", "scipy"])
    def test_a_bound_that_is_reached_is_met(self, text: str, backend: str) -> None:
        found = asked(text, backend=backend)
        assert found.status is Holding.VIOLATED, str(found)
        assert found.witness is not None

    def test_so_is_one_where_equalities_leave_a_single_input(self) -> None:
        found = asked("(assert (= (+ X_0 X_1) 1)) (assert (>= Y_0 0.75)) (assert (>= Y_1 0.25))")
        assert found.status is Holding.VIOLATED, str(found)

    @pytest.mark.parametrize(
        "text",
        [
            "(assert (> Y_0 1))",
            "(assert (< Y_0 -1))",
            "(assert (> (+ Y_0 Y_1) 2))",
            "(assert (< Y_1 0))",
            "(assert (or (> Y_0 1) (> Y_1 1)))",
        ],
    )
    @pytest.mark.parametrize("backend", ["auto", "branching", "scipy"])
    def test_a_strict_one_is_not(self, text: str, backend: str) -> None:
        found = asked(text, backend=backend)
        assert found.status is Holding.HOLDS, str(found)

    def test_boxes_are_not_halved_along_a_tie_for_ever(self) -> None:
        # relu(x0 + x1) - 1 is 0 where x0 + x1 = 1, which the constraint leaves out: no boxes close that line.
        network = cx.SparseReLUNetwork([([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0]), ([[1.0, 0.0]], [-1.0])])
        box = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in (0, 1))
        text = f"{box}(declare-const Y_0 Real)(assert (< (+ X_0 X_1) 1))(assert (>= Y_0 0))"
        found = verify.check_vnnlib(network, verify.parse_property(text), time_limit=1000.0)
        assert found.status is Holding.UNKNOWN
        assert found.reason.startswith("A tie")

    def test_what_a_relaxation_cannot_prove_is_called_a_tie(self) -> None:
        # |x0| - relu(|x0| - 1/2) is 1/2 at most, and a tie at every input beyond.
        cap = cx.SparseReLUNetwork(
            [([[1, 0], [-1, 0]], None), ([[1, 1], [1, 1]], [0, -0.5]), ([[1, -1], [0, 0]], None)]
        )
        assert asked("(assert (>= Y_0 0.5))", cap).status is Holding.VIOLATED
        found = asked("(assert (> Y_0 0.5))", cap)
        assert found.status is Holding.HOLDS or found.reason.startswith("A tie: a strict constraint is reached exactly")

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ("(assert (>= Y_1 0.3))", Holding.VIOLATED),
            ("(assert (> Y_1 0.3))", Holding.HOLDS),
            ("(assert (>= Y_0 0.7))", Holding.VIOLATED),
            ("(assert (> Y_0 0.7))", Holding.HOLDS),
            ("(assert (>= Y_0 0.7000000000000001))", Holding.HOLDS),
            ("(assert (= Y_0 0.7)) (assert (= Y_1 0.3))", Holding.VIOLATED),
        ],
    )
    def test_a_single_input_is_decided(self, text: str, status: Holding) -> None:
        found = asked(text, box="(assert (= X_0 0.7)) (assert (= X_1 0.3))")
        assert found.status is status, str(found)

    def test_an_end_that_does_not_belong_to_the_box_is_no_witness(self) -> None:
        found = asked("(assert (>= Y_0 1))", box=WIDE.replace("(<= X_0 1)", "(< X_0 1)"))
        assert found.status is Holding.UNKNOWN
        assert found.reason.startswith("A tie")


class TestAttacks:
    def test_a_tie_of_two_outputs_is_none(self) -> None:
        # The margin x1 - x0 - 2 is 0 at one corner.
        network = cx.SparseReLUNetwork([([[1, 0], [0, 1]], [2, 0])])
        answer = verify.find_adversarial(network, SQUARE, 0)
        assert (answer.status, answer.bound) == (Verdict.ROBUST, 0.0)
        assert verify.find_adversarial(network, verify.Box([-1, 1], [-1, 1]), 0).status is Verdict.ROBUST

    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
    def test_a_single_input_is_decided(self, seed: int, kind: Any) -> None:
        rng = np.random.default_rng(seed)
        sizes = (3, 4, 4, 2)
        layers = [(rng.integers(-2, 3, (b, a)) / 10, rng.integers(-1, 2, b) / 10) for a, b in pairwise(sizes)]
        network, x = cx.SparseReLUNetwork(layers), rng.integers(-2, 3, 3) / 10
        first, second = zoo.exact_outputs(network, x)[-1]
        for label, margin in ((0, second - first), (1, first - second)):
            answer = verify.find_adversarial(network, kind(x, 0.0), label)
            assert answer.status is (Verdict.MISCLASSIFIED if margin > 0 else Verdict.ROBUST)

    def test_the_class_at_the_center_is_that_of_the_exact_outputs(self) -> None:
        # 0.1 + 0.2 - 0.3 is 2^-55 as these floats are, and 2^-54 where sums are rounded.
        network = cx.SparseReLUNetwork([([[0.1, 0.2, -0.3]], [-1.5 * 2.0**-55])])
        assert network.predict(np.ones((1, 3)))[0] > 0 > zoo.exact_outputs(network, np.ones(3))[-1][0]
        answer = verify.find_adversarial(network, verify.LinfBall(np.ones(3), 0.0))
        assert answer.label == -1
        assert answer.status is Verdict.ROBUST

    def test_dust_is_decided_by_its_sign(self) -> None:
        # The margin is (0.1 + 0.2 - 0.3) x, no more than rounding, and its slope is above 0.
        network = cx.SparseReLUNetwork([(np.array([[0.1], [0.2], [0.3]]), None), ([[1, 1, -1]], None)])
        ball = verify.LinfBall([1.0], 0.25)
        assert verify.find_adversarial(network, ball, 1).status is Verdict.ROBUST
        assert verify.find_adversarial(network, ball, -1).status is Verdict.MISCLASSIFIED
        assert verify.find_adversarial(network, verify.Box([-1.0], [1.0]), -1).status is Verdict.COUNTEREXAMPLE


class TestExtremes:
    def test_a_value_that_is_the_bound_is_the_optimum(self) -> None:
        network = cx.SparseReLUNetwork([(np.array([[0.1], [0.2], [0.3]]), None), ([[1, 1, -1]], None)])
        for find in (verify.maximize, verify.minimize):
            found = find(network, verify.Box([0.5], [1.0]))
            assert found.status is Status.OPTIMAL
            assert found.gap == 0.0
            assert found.value > 0.0

    def test_at_a_single_input_value_and_bound_are_one(self) -> None:
        network = zoo.network((3, 5, 5, 1), seed=1)
        found = verify.maximize(network, verify.Box(np.full(3, 0.3), np.full(3, 0.3)))
        assert found.status is Status.OPTIMAL
        assert found.value == pytest.approx(found.bound, rel=1e-12)

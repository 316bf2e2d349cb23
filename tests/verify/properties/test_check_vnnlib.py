"""VNN-LIB: the reader against hand-written truth, verdicts against enumeration, errors with their line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Holding, Proof
from verify.clock import Clock
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.properties.vnnlib import parse
from verify.questions import check_vnnlib as check_vnnlib_room
from verify.questions.open_case import OpenCondition

HEAD = """
(declare-const X_0 Real)
(declare-const X_1 Real) ; a comment (with parentheses
(declare-const Y_0 Real)
(declare-const Y_1 Real)
"""
BOX = "(assert (>= X_0 -1)) (assert (<= X_0 1.0)) (assert (>= X_1 -1e0)) (assert (<= X_1 1))"


class TestReader:
    def test_a_box_and_one_condition(self) -> None:
        found = verify.parse_property(f"{HEAD}{BOX} (assert (<= Y_0 (+ (* 2 Y_1) 3)))")
        (case,) = found.cases
        (condition,) = case.conditions
        assert (case.lower.tolist(), case.upper.tolist()) == ([-1, -1], [1, 1])
        assert (condition.rows.tolist(), condition.levels.tolist()) == ([[-1, 2]], [-3])
        assert str(found) == "property of 2 inputs, 2 outputs: 1 box, 1 condition"

    def test_and_within_or_shares_its_box(self) -> None:
        text = f"{HEAD}{BOX} (assert (or (and (<= Y_0 1) (> Y_1 2)) (and (>= Y_0 Y_1))))"
        (case,) = verify.parse_property(text).cases
        first, second = case.conditions
        assert (first.rows.tolist(), first.levels.tolist(), first.strict) == ([[-1, 0], [0, 1]], [-1, 2], (False, True))
        assert (second.rows.tolist(), second.levels.tolist()) == ([[1, -1]], [0])

    def test_a_disjunction_of_boxes(self) -> None:
        boxes = """(assert (or
            (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (>= Y_0 5))
            (and (>= X_0 2) (<= X_0 3) (>= X_1 0) (<= X_1 1) (>= Y_0 5))
            (and (>= X_0 3) (<= X_0 2) (>= X_1 0) (<= X_1 1) (>= Y_0 5))))"""
        found = verify.parse_property(HEAD + boxes)
        assert [case.lower.tolist() for case in found.cases] == [[0, 0], [2, 0]]

    def test_alternatives_multiply_out(self) -> None:
        text = f"{HEAD}{BOX} (assert (or (<= Y_0 0) (<= Y_1 0))) (assert (or (>= Y_0 5) (>= Y_1 5) (= Y_0 Y_1)))"
        (case,) = verify.parse_property(text).cases
        # Y_0 <= 0 with Y_0 >= 5 contradicts itself, and so does the same of Y_1.
        assert sorted(len(condition.levels) for condition in case.conditions) == [2, 2, 3, 3]

    def test_terms(self) -> None:
        text = f"{HEAD}{BOX} (assert (<= (- (* Y_0 -2) Y_1 (- 1)) (+ Y_0 1 0.5)))"
        condition = verify.parse_property(text).cases[0].conditions[0]
        assert condition.rows.tolist() == [[3, 1]]
        assert condition.levels.tolist() == [-0.5]

    def test_the_tighter_bound_counts_and_strict_ends_are_kept(self) -> None:
        text = f"{HEAD}{BOX} (assert (< X_0 1)) (assert (>= X_1 0.25)) (assert (<= 0.5 X_1)) (assert (>= Y_0 0))"
        (case,) = verify.parse_property(text).cases
        assert case.lower.tolist() == [-1, 0.5]
        assert case.contains(np.array([0.999, 0.5]))
        assert not case.contains(np.array([1.0, 0.5]))

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("(assert", 7, "a parenthesis is not closed by line 7, the last"),
            (")", 7, "')' stands outside of parentheses"),
            ("X_0", 7, "'X_0' stands outside of parentheses"),
            ("\n(assert (<= X_2 1))", 8, "X_2 is not declared"),
            ("\n\n(assert (<= X_0 1.0.0))", 9, "'1.0.0' is neither a variable nor a finite number"),
            ("(assert (<= X_0 nan))", 7, "'nan' is neither"),
            ("(assert (<= X_0 1_0))", 7, "'1_0' is neither"),
            ("(assert (<= X_0))", 7, "'<=' has 1 arguments; expected (<= term term)"),
            ("(assert (implies (<= X_0 1)))", 7, "'implies' is not supported; expected one of: and, or, not, <="),
            ("(assert (not (<= X_0 1) (<= X_1 1)))", 7, "'not' has 2 arguments; expected (not formula)"),
            ("(assert (=> (<= X_0 1)))", 7, "'=>' has 1 arguments; expected (=> formula formula)"),
            ("(assert (ite (<= X_0 1) (<= X_0 1)))", 7, "'ite' has 2 arguments"),
            ("(assert (let ((a)) (<= X_0 1)))", 7, "'let' is of another form; expected (let ((name term)) formula)"),
            ("(assert (let ((X_0 1)) (<= X_0 1)))", 7, "'X_0' is declared already; expected a name of its own"),
            ("(assert (let ((a (<= X_0 1))) (<= a 1)))", 7, "'a' is a formula; expected a linear term"),
            ("(assert (let ((a X_0)) a))", 7, "'a' is no formula"),
            ("(assert X_0)", 7, "'X_0' is no formula"),
            ("(assert)", 7, "'assert' has 0 arguments"),
            ("(assert (or))", 7, "'or' is empty"),
            ("(assert (<= (* Y_0 Y_1) 2))", 7, "a product of variables is not linear"),
            ("(assert (<= (/ 2 Y_0) 2))", 7, "a division by a variable, which is not linear"),
            ("(assert (<= (/ Y_0 (- 1 1)) 2))", 7, "a division by 0 stands here"),
            ("(assert (<= (mod Y_0 2) 2))", 7, "'mod' is no linear term; expected +, -, * or /"),
            ("(assert (<= (+ X_0 X_1) 1e200))", 7, "a constraint on inputs has a number of size 1e+200"),
            ("(assert (<= Y_0 (* 1e200 1e200)))", 7, "a number overflows"),
            ("(declare-const X_0 Real)", 7, "X_0 is declared twice"),
            ("(declare-const Z_0 Real)", 7, "Z_0 of type Real is declared; expected X_0, Y_0"),
            ("(declare-const X_2 Int)", 7, "X_2 of type Int"),
            ('(declare-const "a\nb" Real)', 7, "'\"a\\nb\"' of type Real is declared"),
            ("(declare-const X_3 Real)", 1, "X_2 is not declared; expected X_0 and so on without a gap"),
            (
                "(declare-fun X_2 (Real) Real)",
                7,
                "'declare-fun' is of another form; expected (declare-fun X_0 () Real)",
            ),
            ("(define-fun f)", 7, "'define-fun' is of another form; expected (define-fun name () Real term)"),
            ("(define-fun a () Real 1) (define-fun a () Real 2)", 7, "'a' is defined twice"),
            ("(push 1)", 7, "the command 'push' is not supported; expected declare-const, declare-network or assert"),
            ("(vnnlib-version <3.0>)", 7, "the version is '<3.0>'; expected <1.0> or <2.0>"),
            ("()", 7, "the command '' is not supported"),
        ],
    )
    def test_a_broken_file_names_its_line(self, text: str, line: int, words: str, tmp_path: Path) -> None:
        path = tmp_path / "broken.vnnlib"
        path.write_text(f"{HEAD}{BOX}\n{text}")
        with pytest.raises(ValueError, match="broken") as caught:
            verify.read_property(path)
        assert f"broken.vnnlib, line {line}: {words}" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_empty_text_declares_nothing(self) -> None:
        with pytest.raises(ValueError, match="X_0 is not declared"):
            verify.parse_property("")

    def test_a_file_that_is_missing_or_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"property '.*none\.vnnlib' cannot be read"):
            verify.read_property(tmp_path / "none.vnnlib")
        (tmp_path / "bytes.vnnlib").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match="is not a text file"):
            verify.read_property(tmp_path / "bytes.vnnlib")

    def test_numbers_keep_every_bit(self) -> None:
        value = 0.1 + 0.2
        assert parse(f"{HEAD}(assert (<= X_0 {value!r}))").asserted[0].bound == value  # type: ignore[union-attr]


def asked(region: verify.Box, formula: str, n_outputs: int) -> verify.Property:
    """Return the property of a box and one formula."""
    names = [f"X_{i}" for i in range(region.size)]
    lines = [f"(declare-const {name} Real)" for name in [*names, *(f"Y_{j}" for j in range(n_outputs))]]
    for name, low, high in zip(names, region.lower.tolist(), region.upper.tolist(), strict=True):
        lines += [f"(assert (>= {name} {low}))", f"(assert (<= {name} {high}))"]
    return verify.parse_property("\n".join([*lines, f"(assert {formula})"]))


def least(outputs: Any, rows: Any, levels: Any) -> Any:
    """Return how far the constraints hold together."""
    return (outputs @ np.array(rows).T - levels).min(axis=1)


def enumerated_depth(network: cx.SparseReLUNetwork, region: verify.Box, rows: Any, levels: Any) -> float:
    """Return max min_j (rows_j . outputs - levels_j) for two functions, from a network that has the minimum built in.

    min(g_1, g_2) = g_1 - relu(g_1 - g_2): another layer, enumerated without anything of `verify`.
    """
    (weight, bias), rows, levels = network.layers[-1], np.array(rows), np.array(levels)
    slope, offset = rows @ weight.toarray(), rows @ bias - levels
    # g_1 = relu(g_1) - relu(-g_1)
    last = np.stack([slope[0], -slope[0], slope[0] - slope[1]])
    shift = np.array([offset[0], -offset[0], offset[0] - offset[1]])
    deeper = cx.SparseReLUNetwork([*network.layers[:-1], (last, shift), ([[1.0, -1.0, -1.0]], None)])
    return zoo.enumerated_maximum(deeper, region.lower, region.upper, np.ones(1))


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("seed", range(12))
def test_conjunctions_are_decided_as_enumeration_does(seed: int, backend: str) -> None:
    rng = np.random.default_rng(seed)
    network = zoo.network((2, 4, 3), seed=seed)
    region = verify.LinfBall(rng.standard_normal(2), 0.6)
    middle = network.predict(region.center[None])[0]
    rows = rng.standard_normal((2, 3)).round(3)
    levels = (rows @ middle + rng.uniform(-0.2, 0.8, 2)).round(3)
    terms = [" ".join(f"(* {c} Y_{j})" for j, c in enumerate(row)) for row in rows.tolist()]
    formula = "(and " + " ".join(f"(>= (+ {t}) {b})" for t, b in zip(terms, levels.tolist(), strict=True)) + ")"
    answer = verify.check_vnnlib(network, asked(region, formula, 3), backend=backend, seed=seed)
    truth = enumerated_depth(network, region, rows, levels)
    if abs(truth) > 1e-4:
        assert answer.status is (Holding.VIOLATED if truth > 0 else Holding.HOLDS), str(answer)
    assert answer.bound >= truth - 1e-6 or answer.status is Holding.VIOLATED
    if answer.witness is not None:
        assert region.contains(answer.witness)
        assert answer.outputs is not None
        assert least(answer.outputs[None], rows, levels)[0] >= 0


def identity() -> cx.SparseReLUNetwork:
    """Return f(x) = (x_0, x_1), with neurons that switch."""
    return cx.SparseReLUNetwork([([[1, 0], [-1, 0], [0, 1], [0, -1]], None), ([[1, -1, 0, 0], [0, 0, 1, -1]], None)])


SQUARE = verify.Box([-1.0, -1.0], [1.0, 1.0])


class TestVerdicts:
    @pytest.mark.parametrize(
        ("formula", "status"),
        [
            ("(>= Y_0 2)", Holding.HOLDS),
            ("(>= Y_0 1.001)", Holding.HOLDS),
            ("(>= Y_0 0.999)", Holding.VIOLATED),
            ("(and (>= Y_0 0.5) (<= Y_1 -0.5))", Holding.VIOLATED),
            ("(and (>= (+ Y_0 Y_1) 1) (<= (+ Y_0 Y_1) 0.9))", Holding.HOLDS),
            ("(and (>= (+ Y_0 Y_1) 1.5) (<= Y_0 0.25))", Holding.HOLDS),
            ("(or (>= Y_0 2) (>= Y_1 0.5))", Holding.VIOLATED),
            ("(>= X_0 0)", Holding.VIOLATED),
            ("(>= X_0 2)", Holding.HOLDS),
        ],
    )
    @pytest.mark.parametrize("backend", zoo.ENGINES)
    def test_what_is_plain_to_see(self, formula: str, status: Holding, backend: str) -> None:
        answer = verify.check_vnnlib(identity(), asked(SQUARE, formula, 2), backend=backend)
        assert answer.status is status, str(answer)
        assert (answer.witness is not None) == (status is Holding.VIOLATED)
        assert (answer.proof is not None) == (status is Holding.HOLDS)

    def test_ties_count_as_written(self) -> None:
        # Both outputs are the same sum: Y_0 >= Y_1 holds with equality everywhere, Y_0 > Y_1 nowhere.
        network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[2.0, 1.0], [2.0, 1.0]], [0.25, 0.25])])
        box = verify.Box([-1.0], [1.0])
        assert verify.check_vnnlib(network, asked(box, "(>= Y_0 Y_1)", 2)).status is Holding.VIOLATED
        assert verify.check_vnnlib(network, asked(box, "(> Y_0 Y_1)", 2)).status is Holding.HOLDS

    def test_several_boxes(self) -> None:
        text = (
            HEAD
            + """(assert (or
            (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (<= Y_0 -0.5))
            (and (>= X_0 -1) (<= X_0 0) (>= X_1 0) (<= X_1 1) (<= Y_0 -0.5))))"""
        )
        answer = verify.check_vnnlib(identity(), verify.parse_property(text))
        assert answer.status is Holding.VIOLATED
        assert answer.witness is not None
        assert answer.witness[0] <= -0.5

    def test_no_time_decides_only_what_needs_none(self) -> None:
        formula = "(and (>= (+ Y_0 Y_1) 1.5) (<= Y_0 0.25))"
        answer = verify.check_vnnlib(identity(), asked(SQUARE, formula, 2), time_limit=0)
        assert answer.status is Holding.UNKNOWN
        assert "time limit" in answer.reason
        assert verify.check_vnnlib(identity(), asked(SQUARE, "(>= Y_0 2)", 2), time_limit=0).status is Holding.HOLDS

    @pytest.mark.parametrize(
        ("ending", "bound"),
        [(EngineStatus.INFEASIBLE, -1.0), (EngineStatus.FAILED, -1.0), (EngineStatus.OPTIMAL, np.nan)],
    )
    def test_an_engine_that_is_wrong_proves_nothing(
        self, ending: EngineStatus, bound: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = SimpleNamespace(maximise=lambda milp, request: EngineResult(ending, None, bound, ""))
        monkeypatch.setattr("verify.backends.registry.import_module", lambda name: wrong)
        formula = "(and (>= (+ Y_0 Y_1) 1.5) (<= Y_0 0.25))"
        monkeypatch.setattr("verify.backends.engine_chain.self_test", lambda name: None)
        answer = verify.check_vnnlib(identity(), asked(SQUARE, formula, 2), backend="scipy")
        assert answer.status is Holding.UNKNOWN
        assert answer.proof is None

    def test_sizes_must_match(self) -> None:
        with pytest.raises(ValueError, match="the property has 2 inputs; expected 3, as the network has"):
            verify.check_vnnlib(zoo.network((3, 2)), asked(SQUARE, "(>= Y_0 2)", 2))
        with pytest.raises(ValueError, match="the property has 2 outputs; expected 1, as the network has"):
            verify.check_vnnlib(zoo.network((2, 1)), asked(SQUARE, "(>= Y_0 2)", 2))

    def test_it_reads_well(self) -> None:
        answer = verify.check_vnnlib(identity(), asked(SQUARE, "(>= Y_0 2)", 2))
        assert str(answer).startswith("HOLDS: No input of the property's boxes meets its conditions; this is proven.\n")
        assert answer.proof in (Proof.INTERVAL, Proof.CROWN)


def test_the_point_of_the_linear_relaxation_is_where_ascent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import verify.questions.inquiry
    from verify.points.ascent import ascend

    starts = []

    def nearby(network: Any, region: verify.Box, objective: Any, rng: Any, **options: Any) -> Any:
        starts.append(options.get("near"))
        if len(starts) < 3:  # from all over the box, and from the peak of the CROWN bound
            return region.center, -np.inf
        return ascend(network, region, objective, rng, **options)

    monkeypatch.setattr(verify.questions.inquiry, "ascend", nearby)
    formula = "(and (>= (+ Y_0 Y_1) 1.5) (>= Y_0 0.7))"
    answer = verify.check_vnnlib(identity(), asked(SQUARE, formula, 2), backend="scipy")
    assert answer.status is Holding.VIOLATED
    assert "gradient ascent from the linear relaxation" in answer.reason
    assert len(starts) == 3
    assert starts[0] is None


def test_a_bound_covers_conditions_that_branching_rules_out_beside_its_own() -> None:
    # Sharper bounds alone rule out both; that of the first, a million times as large, is far below the second.
    network, region = zoo.network((2, 6, 6, 1), seed=0), verify.Box([-0.7, -0.7], [0.7, 0.7])
    largest = zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1))
    level = float(0.02 * largest + 0.98 * verify.bound(network, region)[-1].upper[0])
    formula = f"(or (>= (* 1000000 Y_0) {1e6 * level}) (and (>= Y_0 {level}) (>= (* 2 Y_0) {2 * level - 0.001})))"
    answer = verify.check_vnnlib(network, asked(region, formula, 1), backend="branching")
    assert answer.status is Holding.HOLDS
    assert answer.proof is Proof.BRANCHED
    assert answer.bound >= largest - level


@pytest.mark.data
@pytest.mark.parametrize(("number", "status"), [("1_0.03", Holding.HOLDS), ("7_0.05", Holding.VIOLATED)])
def test_a_property_of_mnist_fc_has_its_known_label(number: str, status: Holding, data_folder: Path) -> None:
    folder = data_folder / "mnist_fc"
    answer = verify.check_vnnlib(folder / "mnist-net_256x2.onnx", folder / f"prop_{number}.vnnlib", time_limit=5)
    # A slow machine may leave a proof open; it may never turn it round.
    assert answer.status in (status, Holding.UNKNOWN)
    if status is Holding.VIOLATED:
        assert answer.replayed is not None
        assert answer.witness is not None
        assert (answer.witness.astype(np.float32) == answer.witness).all()


class TestLimits:
    def test_boxes_that_no_time_is_left_for_are_not_looked_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
        parts = " ".join(f"(and (>= X_0 {i / 100}) (<= X_0 1) (>= Y_0 1000))" for i in range(50))
        asked = verify.parse_property(f"{HEAD}(assert (<= X_1 1)) (assert (>= X_1 0)) (assert (or {parts}))")
        looked: list[int] = []
        before = check_vnnlib_room._PropertyCheck._look

        def look(self: Any, case: Any, number: int) -> Any:
            looked.append(number)
            return before(self, case, number)

        monkeypatch.setattr(check_vnnlib_room._PropertyCheck, "_look", look)
        # Each box takes a second of this clock.
        monkeypatch.setattr(Clock, "seconds", property(lambda self: float(len(looked))))
        found = verify.check_vnnlib(network, asked, time_limit=3.0)
        assert looked == [0, 1, 2]
        assert (found.status, found.bound) == (Holding.UNKNOWN, np.inf)
        assert found.reason == "The time limit was reached. 47 of 50 boxes were not looked at."
        assert verify.check_vnnlib(network, asked, time_limit=100.0).status is Holding.HOLDS

    def test_no_point_is_tried_once_the_time_is_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
        parts = " ".join(f"(and (>= Y_0 {0.5 + i / 1000}) (<= Y_0 {0.5 + i / 1000}))" for i in range(40))
        asked = verify.parse_property(f"{HEAD}{BOX} (assert (or {parts}))")
        tried: list[int] = []
        monkeypatch.setattr(Clock, "seconds", property(lambda self: float(len(tried))))
        monkeypatch.setattr(OpenCondition, "try_witness", lambda self, point: tried.append(1))
        monkeypatch.setattr(OpenCondition, "climb", lambda self, near: None)
        assert verify.check_vnnlib(network, asked, time_limit=5.0).status is Holding.UNKNOWN
        assert len(tried) == 5


def test_a_box_without_a_float_and_without_a_question_is_unknown() -> None:
    # 3 X_0 + X_1 = 1 / 3 has real solutions next to 0.1, and no float64 ones in so thin a box.
    network = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)])
    thin = "(assert (>= X_0 0.1)) (assert (<= X_0 0.1)) (assert (>= X_1 0.1)) (assert (<= X_1 0.2))"
    asked = verify.parse_property(f"{HEAD}{thin} (assert (= (+ (* 3 X_0) X_1) 0.43333333333333335))")
    found = verify.check_vnnlib(network, asked, time_limit=10.0)
    assert found.status is Holding.UNKNOWN
    assert "is met by every input of its box" in found.reason

"""Properties as other tools write them: SMT printers, packed files, VNN-LIB 2.0; each with its right verdict."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Holding
from verify.bounds.layer_bounds import crown_bounds
from verify.properties.formulas import Atom
from verify.properties.s_expressions import VnnlibError

# The network y_0 = x_0, y_1 = max(x_1, 0).
NETWORK = cx.SparseReLUNetwork([([[1, 0], [-1, 0], [0, 1]], None), ([[1, -1, 0], [0, 0, 1]], None)])
NAMES = ("X_0", "X_1", "Y_0", "Y_1")
DECLARED = "".join(f"(declare-const {name} Real)\n" for name in NAMES)
SQUARE = "(assert (<= -1 X_0 1)) (assert (<= (- 1) X_1 1.0))\n"


def found(text: str) -> Holding:
    """Return what is known of a property of the network."""
    return verify.check_vnnlib(NETWORK, verify.parse_property(text)).status


# Beside the square -1 <= x_0, x_1 <= 1; True where some input meets it.
FORMS = {
    "(<= (* 3 X_0) 1)) (assert (>= Y_0 0.33)": True,
    "(<= (* 3 X_0) 1)) (assert (>= Y_0 0.34)": False,
    "(>= (* -2 X_0) 1)) (assert (>= Y_0 -0.49)": False,
    "(<= (/ X_0 4) (/ 1 8))) (assert (>= Y_0 0.51)": False,
    "(>= Y_0 (/ 1 3))": True,
    "(>= (/ Y_0 2) (/ 3 4 2))": True,
    "(>= (* 2 Y_0 (/ 1 4)) 0.45)": True,
    "(>= Y_0 (- (/ 7 6)))": True,
    "(not (<= Y_0 0.25))": True,
    "(not (or (<= Y_0 2) (>= Y_1 0)))": False,
    "(not (not (>= Y_1 1.5)))": False,
    "(=> (>= Y_0 -2) (>= Y_1 0.5))": True,
    "(=> (>= Y_0 -2) (<= Y_0 2) (>= Y_1 1.5))": False,
    "(xor (>= Y_0 -2) (<= Y_1 0.5))": True,
    "(xor (>= Y_0 -2) (<= Y_1 1.5))": False,
    "(ite (>= Y_0 0) (>= Y_1 2) (<= Y_0 -0.5))": True,
    "(ite (>= Y_0 0) (>= Y_1 2) (<= Y_0 -1.5))": False,
    "(= (>= Y_0 0.5) (>= Y_1 2))": True,
    "(= (>= Y_0 -2) (>= Y_1 2))": False,
    "(distinct Y_0 Y_0)": False,
    "(!= Y_0 Y_1)": True,
    "(< 0.25 Y_0 Y_1)": True,
    "(< 1.125 Y_0 Y_1)": False,
    "(let ((a (+ Y_0 Y_1)) (b (* 2 Y_0))) (let ((a (- a b))) (>= a 1.5)))": True,
    "(let ((a (+ Y_0 Y_1)) (b (* 2 Y_0))) (let ((a (- a b))) (>= a 2.5)))": False,
    "(let ((a!1 (>= Y_0 0.5)) (a!2 (<= Y_1 -1))) (or a!2 (and a!1 (not a!2))))": True,
    "(! (>= Y_0 0.5) :named goal)": True,
    "(and true (>= |Y_0| 0.5))": True,
    "(or false (>= Y_0 1.5))": False,
    "(<= 1 2)": True,
    "(< 1 (+ 0.5 0.5))": False,
    # Inputs and outputs in one constraint.
    "(>= Y_0 (+ X_0 0.125))": False,
    "(>= (- Y_1 X_1) 0.75)": True,
    "(>= (- Y_1 X_1) 1.25)": False,
    "(and (>= (- Y_1 X_1) 0.5) (>= (+ X_1 Y_0) 0.25))": True,
    "(and (>= (- Y_1 X_1) 0.5) (>= (+ X_1 Y_0) 0.75))": False,
    "(or (>= Y_0 (+ X_0 0.5)) (> (* 3 Y_1) (+ 2.25 X_1)))": False,
}


@pytest.mark.parametrize(("formula", "met"), FORMS.items())
def test_a_form_has_the_verdict_that_is_right(formula: str, met: bool) -> None:
    assert found(f"{DECLARED}{SQUARE}(assert {formula})") is (Holding.VIOLATED if met else Holding.HOLDS)


def test_definitions_and_functions_without_arguments() -> None:
    declared = "".join(f"(declare-fun {name} () Real)" for name in NAMES)
    text = "(define-fun sum () Real (+ Y_0 Y_1)) (define-fun goal () Bool (>= sum {})) (assert (and goal))"
    assert found(declared + SQUARE + text.format(1.5)) is Holding.VIOLATED
    assert found(declared + SQUARE + text.format(2.5)) is Holding.HOLDS


def test_numbers_are_exact_until_float64_cannot_hold_them() -> None:
    def atom(formula: str) -> Atom:
        (only,) = verify.parse_property(f"{DECLARED}(assert {formula})").asserted
        assert isinstance(only, Atom)
        return only

    assert (atom("(<= (/ Y_0 3) 1)").outputs, atom("(<= (/ Y_0 3) 1)").bound) == ({0: 1}, 3)
    assert (atom("(<= Y_0 (/ 1 7))").outputs, atom("(<= Y_0 (/ 1 7))").bound) == ({0: 7}, 1)
    assert atom("(<= (+ Y_0 1e16 1) (+ 1e16 3))").bound == 2
    assert atom("(<= (* 0.1 (/ 1 0.1) Y_0) 5)").outputs == {0: 1}


def test_a_bound_that_no_float_is_lies_outside_and_is_open() -> None:
    (case,) = verify.parse_property(f"{DECLARED}{SQUARE}(assert (<= (* 3 X_0) 1)) (assert (>= Y_0 0))").cases
    inside = np.nextafter(case.upper[0], -1.0)
    assert 3 * inside < 1 or inside * 3.0 == 1.0
    assert case.contains(np.array([inside, 0.0]))
    assert not case.contains(np.array([case.upper[0], 0.0]))
    assert case.upper[0] > inside


@pytest.mark.parametrize("name", ["plain.vnnlib", "packed.vnnlib.gz", "packed.vnnlib"])
def test_files_may_be_packed_and_may_begin_with_a_byte_order_mark(name: str, tmp_path: Path) -> None:
    data = f"\ufeff{DECLARED}{SQUARE}(assert (>= Y_0 0.5))".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if "packed" in name else data)
    assert verify.check_vnnlib(NETWORK, tmp_path / name).status is Holding.VIOLATED
    assert verify.parse_property(data.decode()).n_inputs == 2


def test_a_damaged_or_swollen_packed_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "torn.vnnlib.gz"
    path.write_bytes(gzip.compress(b"(check-sat)" * 100)[:-9])
    with pytest.raises(ValueError, match=r"torn\.vnnlib\.gz is damaged, gzip cannot unpack it"):
        verify.read_property(path)
    path.write_bytes(gzip.compress(b" " * 2000))
    monkeypatch.setattr("verify.properties.vnnlib.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="holds more than 1,000 bytes"):
        verify.read_property(path)


class TestWork:
    def test_alternatives_that_repeat_themselves_do_not_multiply(self) -> None:
        pairs = "".join(f"(assert (or (>= Y_0 {i / 100}) (<= Y_1 {-1 - i})))" for i in range(18))
        assert found(DECLARED + SQUARE + pairs) is Holding.VIOLATED

    def test_alternatives_that_bounds_rule_out_do_not_multiply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Y_1 <= -1 - i Y_0 / 1000 never holds: 2^40 ways are one.
        pairs = "".join(f"(assert (or (>= Y_0 0.5) (<= (+ Y_1 (* {i / 1000} Y_0)) -1.5)))" for i in range(40))
        assert found(DECLARED + SQUARE + pairs) is Holding.VIOLATED
        monkeypatch.setattr("verify.properties.property.MOST_CASES", 5000)
        with pytest.raises(ValueError, match="more than 5000 alternatives"):
            _ = verify.parse_property(DECLARED + SQUARE + pairs.replace("(>= Y_0 0.5)", "(>= Y_0 Y_1)")).cases

    def test_too_many_that_are_left_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("verify.properties.property.MOST_CASES", 5000)
        pairs = "".join(f"(assert (or (>= Y_0 (* {i} Y_1)) (<= Y_0 (* {i + 0.5} Y_1))))" for i in range(20))
        (tmp_path / "many.vnnlib").write_text(DECLARED + SQUARE + pairs)
        with pytest.raises(ValueError, match=r"many\.vnnlib, line 1: the file has more than 5000 alternatives"):
            verify.check_vnnlib(NETWORK, tmp_path / "many.vnnlib")

    def test_names_that_double_each_line_are_refused(self) -> None:
        doubled = "(let ((a (or (>= Y_0 1) (>= Y_1 1))))" + "".join(
            "(let ((a (and a (or a (<= Y_0 0)))))" for _ in range(60)
        )
        with pytest.raises(VnnlibError, match=r"constraints; expected at most|terms; expected fewer"):
            verify.parse_property(f"{DECLARED}(assert {doubled} a {')' * 61})")
        product = "(* 1e300 " * 150 + "1" + ")" * 150
        with pytest.raises(VnnlibError, match="a number overflows"):
            verify.parse_property(f"{DECLARED}(assert (<= Y_0 {product}))")

    def test_boxes_and_constraints_are_limited_by_what_they_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("verify.properties.cases.MOST_ENTRIES", 500_000)
        many = "".join(f"(declare-const X_{i} Real)(assert (<= 0 X_{i} 1))" for i in range(2, 2000))
        either = "".join(f"(assert (or (>= X_{i} 0.5) (<= X_{i} 0.5)))" for i in range(14))
        with pytest.raises(VnnlibError, match="boxes of 2000 inputs and"):
            _ = verify.parse_property(DECLARED + SQUARE + many + either).cases


class TestInputs:
    def test_linear_constraints_alone_bound_the_inputs(self) -> None:
        triangle = "(assert (>= X_0 0)) (assert (>= X_1 0)) (assert (<= (+ X_0 (* 3 X_1)) 1))"
        (case,) = verify.parse_property(f"{DECLARED}{triangle}(assert (>= Y_0 0.25))").cases
        assert (case.lower.tolist(), case.upper[0]) == ([0, 0], 1)
        assert 0 <= case.upper[1] - 1 / 3 < 1e-16
        assert found(f"{DECLARED}{triangle}(assert (>= Y_1 0.3))") is Holding.VIOLATED
        assert found(f"{DECLARED}{triangle}(assert (>= Y_1 0.34))") is Holding.HOLDS

    def test_none_of_the_constraints_bounds_an_input_alone(self) -> None:
        lines = "".join(f"(assert (<= (+ (* {a} X_0) (* {b} X_1)) 1))" for a in (1, -1) for b in (0.5, -0.5))
        (case,) = verify.parse_property(f"{DECLARED}{lines}(assert (>= Y_0 0))").cases
        assert (case.lower.tolist(), case.upper.tolist()) == ([-1, -2], [1, 2])
        assert found(f"{DECLARED}{lines}(assert (>= (+ Y_0 Y_1) 1.5))") is Holding.VIOLATED
        assert found(f"{DECLARED}{lines}(assert (>= (+ Y_0 Y_1) 2.5))") is Holding.HOLDS

    def test_constraints_that_no_input_meets_leave_no_case(self) -> None:
        none = "(assert (<= (+ X_0 X_1) 0)) (assert (>= (+ X_0 X_1) 0.001))"
        assert verify.parse_property(f"{DECLARED}{none}(assert (>= Y_0 0))").cases == ()

    @pytest.mark.parametrize("more", ["", "(assert (<= (- X_0 X_1) 0))", "(assert (>= X_0 0))"])
    def test_an_input_that_is_read_needs_bounds(self, more: str, tmp_path: Path) -> None:
        (tmp_path / "half.vnnlib").write_text(f"{DECLARED}(assert (<= -1 X_1 1)){more}(assert (>= Y_0 0))")
        words = r"half\.vnnlib: X_0 has no finite bounds, and the network reads it; expected a lower and an upper one"
        with pytest.raises(ValueError, match=words):
            verify.check_vnnlib(NETWORK, tmp_path / "half.vnnlib")

    def test_an_input_that_a_constraint_on_others_reads_needs_bounds(self) -> None:
        asked = verify.parse_property(f"{DECLARED}(assert (<= -1 X_0 1))(assert (>= Y_0 0))(assert (>= X_1 Y_0))")
        with pytest.raises(ValueError, match="X_1 has no finite bounds, and a constraint on others reads it"):
            verify.check_vnnlib(NETWORK, asked)

    @pytest.mark.parametrize(("bound", "value"), [("", 0), ("(assert (> X_1 2))", 4), ("(assert (<= X_1 -3))", -3)])
    def test_an_input_that_nothing_reads_may_be_anything(self, bound: str, value: float) -> None:
        # Y_0 = X_0: whatever X_1 is, this is right.
        text = f"{DECLARED}(assert (<= -1 X_0 1)){bound}"
        answer = verify.check_vnnlib(NETWORK, verify.parse_property(f"{text}(assert (>= Y_0 0.5))"))
        assert answer.status is Holding.VIOLATED
        assert answer.witness is not None
        assert answer.witness[1] == value
        note = f"X_1 has no bounds and no output asked about reads it: it is {value}"
        assert note in [event.finding for event in answer.trace]
        assert found(f"{text}(assert (>= Y_0 5))") is Holding.HOLDS

    def test_open_ends_are_left_where_the_largest_value_is_reached(self) -> None:
        text = f"{DECLARED}(assert (< X_0 1)) (assert (>= X_0 -1)) (assert (<= -1 X_1 1)) (assert (>= Y_0 {{}}))"
        for model in (None, NETWORK.to_torch()):
            asked = verify.parse_property(text.format(0.999))
            answer = verify.check_vnnlib(NETWORK, asked, model=model)
            assert answer.status is Holding.VIOLATED
            assert answer.witness is not None
            assert asked.cases[0].contains(answer.witness)


TENSORS = """(vnnlib-version <2.0>)
(declare-network N
  (declare-input X float32 [1, 2] "input")
  (declare-output Y Real [2]))
(assert (and (<= X[0,0] 1.0) (>= X[0, 0] -1.0) (<= X [0,1] 1) (>= X[0,1] -1)))
"""


class TestTensors:
    def test_one_network_of_version_2(self) -> None:
        asked = verify.parse_property(TENSORS + "(assert (>= (+ Y[0] Y [ 1 ]) 1.5))")
        assert str(asked) == "property of 2 inputs, 2 outputs: 1 box, 1 condition"
        assert verify.check_vnnlib(NETWORK, asked).status is Holding.VIOLATED
        never = verify.parse_property(TENSORS + "(assert (or (>= Y[0] 1.5) (== Y[1] -0.5)))")
        assert verify.check_vnnlib(NETWORK, never).status is Holding.HOLDS

    def test_entries_are_in_row_major_order(self) -> None:
        text = "(vnnlib-version <2.0>)(declare-network f (declare-input A real [2,3]) (declare-output b real []))"
        bounds = "".join(f"(assert (<= {3 * i + j} A[{i},{j}] 9))" for i in range(2) for j in range(3))
        (case,) = verify.parse_property(f"{text}{bounds}(assert (>= b 0))").cases
        assert case.lower.tolist() == [0, 1, 2, 3, 4, 5]

    def test_blanks_part_the_numbers_of_a_shape_and_of_an_index(self) -> None:
        # Put together, [2 3] would be 23 and X[1 2] would be X[12].
        text = "(vnnlib-version 2.0)(declare-network f (declare-input A real [2 3]) (declare-output b real [ 13 ]))"
        bounds = "".join(f"(assert (<= {3 * i + j} A[{i} {j}] 9))" for i in range(2) for j in range(3))
        asked = verify.parse_property(f"{text}{bounds}(assert (>= b[12] 0))")
        assert asked.cases[0].lower.tolist() == [0, 1, 2, 3, 4, 5]
        with pytest.raises(VnnlibError, match="has indices for the shape"):
            verify.parse_property(f"{text}{bounds}(assert (>= b[1 2] 0))")

    def test_zeros_before_an_index_change_nothing(self) -> None:
        text = "(declare-network f (declare-input A real [2]) (declare-output b real [1]))(assert (<= A[{}] 0))"
        for index in ("1", "01", "00000000000001"):
            (atom,) = verify.parse_property(text.format(index)).asserted
            assert atom.inputs == {1: 1.0}  # type: ignore[union-attr]

    def test_several_inputs_lie_one_after_the_other(self) -> None:
        text = """(declare-network N (declare-input image Real [1]) (declare-input more Real [1, 1])
            (declare-output Y Real [2])) (assert (and (<= -1 image[0] 1) (<= {} more[0,0] 1))) (assert (>= Y[0] {}))"""
        for low, level in ((-1, 0.5), (0.5, 0.5), (-1, 5)):
            single = f"{DECLARED}(assert (<= -1 X_0 1))(assert (<= {low} X_1 1))(assert (>= Y_0 {level}))"
            asked, same = (verify.parse_property(form) for form in (text.format(low, level), single))
            assert asked.cases[0].lower.tolist() == [-1, low]
            assert verify.check_vnnlib(NETWORK, asked).status is verify.check_vnnlib(NETWORK, same).status

    def test_several_outputs_or_no_input_are_refused_by_name(self) -> None:
        for tensors, words in (
            ("(declare-input X Real [2]) (declare-output Y Real [1]) (declare-output Z Real [1])", "Y and Z; expected"),
            ("(declare-output Y Real [2])", "the network N without an input; expected"),
        ):
            asked = verify.parse_property(f"(declare-network N {tensors}) (assert (<= Y[0] 1))")
            with pytest.raises(ValueError, match=words):
                verify.check_vnnlib(NETWORK, asked)

    def test_an_unbounded_entry_is_named_as_declared(self) -> None:
        text = TENSORS.replace("(<= X[0,0] 1.0)", "") + "(assert (>= Y[0] 0))"
        with pytest.raises(ValueError, match=r"^X\[0,0\] has no finite bounds"):
            verify.check_vnnlib(NETWORK, verify.parse_property(text))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("(assert (<= X[0] 1))", r"line 6: 'X\[0\]' has indices for the shape \[1, 2\]; expected 2 of them"),
            ("(assert (<= X[0,2] 1))", r"'X\[0,2\]' has indices for the shape"),
            ("(assert (<= X[0,,1] 1))", "has indices for the shape"),
            ("(assert (<= X 1))", "'X' has indices for the shape"),
            ("(assert (<= Z[0] 1))", "Z is not declared"),
            ("(assert (<= X[0,a] 1))", "is neither a variable nor a finite number"),
            ("(declare-network N (declare-input A real [1]))", "a network is declared twice"),
            ('(declare-network M (declare-hidden H real [1] "h"))', "a hidden tensor is declared"),
            ("(declare-network M (declare-input A int8 [1]))", "A has the type int8; expected one of: real"),
            ("(declare-network M (declare-input A real [0]))", "A has 0 entries"),
            ("(declare-network M (declare-input A real [999999999,999999999]))", "entries; expected 1 to"),
            ("(declare-network M (declare-input A real))", "'declare-input' is of another form"),
            ("(declare-network M (declare-input X real [1]))", "X is declared twice"),
            ("(declare-network M (other))", "'other' stands in a network"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, text: str, words: str) -> None:
        with pytest.raises(VnnlibError, match=words) as caught:
            verify.parse_property(TENSORS + text)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(8))
def test_mixed_constraints_of_deep_networks_are_decided_as_enumeration_does(seed: int) -> None:
    # c . y - x_0 >= level: an enumeration of the network whose last layer has x_0 built in, as another tool would.
    rng = np.random.default_rng(seed)
    network = zoo.network((2, 4, 3, 2), seed=seed)
    (first, b1), (second, b2), (last, b3) = ((weight.toarray(), bias) for weight, bias in network.layers)
    signs = np.array([[1.0, 0.0], [-1.0, 0.0]])
    widened = cx.SparseReLUNetwork(
        [
            (np.vstack([first, signs]), np.append(b1, [0, 0])),
            (np.block([[second, np.zeros((3, 2))], [np.zeros((2, 4)), np.eye(2)]]), np.append(b2, [0, 0])),
            (np.hstack([last, np.array([[-1.0, 1.0], [0.0, 0.0]])]), b3),
        ]
    )
    box = verify.Box(*(np.sort(rng.uniform(-2, 2, (2, 2)), axis=0)))
    largest = zoo.enumerated_maximum(widened, box.lower, box.upper, np.array([1.0, 0.0]))
    bounds = "".join(
        f"(assert (<= {low!r} X_{i} {high!r}))"
        for i, (low, high) in enumerate(zip(box.lower.tolist(), box.upper.tolist(), strict=True))
    )
    for shift, status in ((-0.01, Holding.VIOLATED), (0.01, Holding.HOLDS)):
        text = f"{DECLARED}{bounds}(assert (>= Y_0 (+ X_0 {largest + shift})))"
        answer = verify.check_vnnlib(network, verify.parse_property(text), model=network.to_torch("float64"))
        assert answer.status is status, str(answer)
        if answer.witness is not None:
            assert answer.outputs is not None
            assert answer.outputs[0] - answer.witness[0] >= largest + shift


def test_many_alternatives_keep_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded: list[int] = []

    def counting(network: cx.SparseReLUNetwork, region: verify.Box) -> Any:
        bounded.append(1)
        return crown_bounds(network, region)

    monkeypatch.setattr("verify.bounds.ruled_out.crown_bounds", counting)
    network = zoo.network((2, 3, 1), seed=0)
    head = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)"
    box = "".join(f"(assert (>= X_{index} 0))(assert (<= X_{index} 1))" for index in range(2))
    ways = " ".join(f"(and (>= X_0 {number / 2000}) (>= Y_0 1000))" for number in range(2000))
    asked = verify.parse_property(f"{head}{box}(assert (or {ways}))")
    # Each box that is bounded takes a second of this clock; they have half the time.
    monkeypatch.setattr("verify.clock.Clock.seconds", property(lambda clock: float(len(bounded))))
    for limit, most in ((0.0, 0), (10.0, 5), (1e4, 2000)):
        bounded.clear()
        assert verify.check_vnnlib(network, asked, time_limit=limit).status is not Holding.VIOLATED
        assert len(bounded) == most


@pytest.mark.parametrize("end", ["x", ".5.", "e", "e+"])
def test_a_long_word_that_is_no_number_is_told_at_once(end: str) -> None:
    # Of a pattern that can split digits in two ways this would take a minute.
    text = f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 {'9' * 200_000}{end}))"
    with pytest.raises(VnnlibError, match="is neither a variable nor a finite number"):
        verify.parse_property(text)

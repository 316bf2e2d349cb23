"""Formulas against direct evaluation: random texts, and points at which both say whether they hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import verify
from verify.properties.case import Condition
from verify.properties.formulas import Atom, Formula
from verify.properties.polytope import bounds_within
from verify.regions.halfspaces import halfspaces

NAMES = ("X_0", "X_1", "Y_0", "Y_1")
DECLARED = "".join(f"(declare-const {name} Real)" for name in NAMES)
BOX = "(assert (<= -2 X_0 2)) (assert (<= -2 X_1 2))"

SMALL = st.sampled_from(["0", "1", "2", "0.5", "-1", "(/ 1 3)", "(- 2)", "1.5"])
TERMS = st.recursive(
    st.one_of(st.sampled_from(NAMES), SMALL),
    lambda inner: st.one_of(
        st.builds("(+ {} {})".format, inner, inner),
        st.builds("(- {} {})".format, inner, inner),
        st.builds("(* {} {})".format, SMALL, inner),
        st.builds("(/ {} 3)".format, inner),
    ),
    max_leaves=3,
)
RELATIONS = st.builds("({} {} {})".format, st.sampled_from(["<=", "<", ">=", ">", "=", "!="]), TERMS, TERMS)
FORMULAS = st.recursive(
    RELATIONS,
    lambda inner: st.one_of(
        st.builds("(and {} {})".format, inner, inner),
        st.builds("(or {} {})".format, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("(=> {} {})".format, inner, inner),
        st.builds("(xor {} {})".format, inner, inner),
        st.builds("(ite {} {} {})".format, inner, inner, inner),
        st.builds("(let ((p {})) (or (not p) (and p {})))".format, inner, inner),
    ),
    max_leaves=5,
)

# Points of few bits, among them ties.
POINTS = [
    dict(zip(NAMES, map(Fraction, point), strict=True))
    for point in np.random.default_rng(0).integers(-2, 3, (25, 4)).tolist()
]


def value(expression: Any, names: dict[str, Any]) -> Any:
    """Return what an expression is at a point, as its words say: a second reading of the language, word by word."""
    if isinstance(expression, str):
        return names[expression] if expression in names else Fraction(expression)
    head, *rest = expression
    if head == "let":
        bound = {pair[0]: value(pair[1], names) for pair in rest[0]}
        return value(rest[1], names | bound)
    given = [value(part, names) for part in rest]
    first, second = given[0], given[-1]
    table: dict[str, Any] = {
        "+": lambda: first + second,
        "-": lambda: first - second if len(given) > 1 else -first,
        "*": lambda: first * second,
        "/": lambda: first / second,
        "<=": lambda: first <= second,
        "<": lambda: first < second,
        ">=": lambda: first >= second,
        ">": lambda: first > second,
        "=": lambda: first == second,
        "!=": lambda: first != second,
        "and": lambda: first and second,
        "or": lambda: first or second,
        "not": lambda: not first,
        "=>": lambda: not first or second,
        "xor": lambda: first != second,
        "ite": lambda: given[1] if first else second,
    }
    return table[head]()


def tree(text: str) -> Any:
    """Return nested lists of the words of a text."""
    stack: list[list[Any]] = [[]]
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return stack[0][0]


def holds(formula: Formula, point: dict[str, Fraction]) -> bool:
    """Whether a formula that was read holds at a point."""
    if not isinstance(formula, Atom):
        parts = (holds(part, point) for part in formula.parts)
        return all(parts) if formula.every else any(parts)
    total = sum((Fraction(factor) * point[f"X_{i}"] for i, factor in formula.inputs.items()), Fraction(0))
    total += sum((Fraction(factor) * point[f"Y_{i}"] for i, factor in formula.outputs.items()), Fraction(0))
    return total < Fraction(formula.bound) if formula.strict else total <= Fraction(formula.bound)


def condition_holds(condition: Condition, point: dict[str, Fraction]) -> bool:
    inputs = np.zeros((len(condition.rows), 2)) if condition.inputs is None else condition.inputs.toarray()
    for row, read, level, strict in zip(condition.rows, inputs, condition.levels, condition.strict, strict=True):
        weights = dict(zip(NAMES, map(Fraction, [*read.tolist(), *row.tolist()]), strict=True))
        total = sum((weight * point[name] for name, weight in weights.items()), Fraction(0)) - Fraction(float(level))
        if not (total > 0 if strict else total >= 0):
            return False
    return True


@settings(max_examples=60, deadline=None)
@given(st.lists(FORMULAS, min_size=1, max_size=3))
def test_formulas_and_cases_hold_where_the_text_does(texts: list[str]) -> None:
    asked = verify.parse_property(DECLARED + BOX + "".join(f"(assert {text})" for text in texts))
    trees = [tree(text) for text in texts]
    for point in POINTS:
        truth = all(value(part, point) for part in trees)
        assert all(holds(formula, point) for formula in asked.asserted) is truth
        x = np.array([float(point["X_0"]), float(point["X_1"])])
        inside = [case for case in asked.cases if case.contains(x)]
        assert any(condition_holds(condition, point) for case in inside for condition in case.conditions) is truth


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_bounds_of_polytopes_are_those_of_linear_programs_rounded_outward(seed: int) -> None:
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 5)), int(rng.integers(1, 9))
    rows = rng.integers(-3, 4, (count, size)).astype(float)
    sides = rng.integers(-2, 5, count) / 2.0
    lower, upper = np.full(size, -np.inf), np.where(rng.random(size) < 0.3, 1.0, np.inf)
    rows[:, :] = np.where(rng.random((count, size)) < 0.2, 0.0, rows)
    cut = halfspaces(rows, sides, size)
    if not len(cut.mentioned):
        return
    found = bounds_within(cut, lower, upper)
    limits = [(None, None if np.isinf(high) else high) for high in upper]
    for place in range(size):
        for sign in (1.0, -1.0):
            cost = np.zeros(size)
            cost[place] = -sign
            truth = linprog(cost, A_ub=rows, b_ub=sides, bounds=limits, method="highs-ipm")
            if found is None:
                assert truth.status == 2
            elif truth.status == 0:
                end = found[1][place] if sign > 0 else -found[0][place]
                assert end >= -truth.fun - 1e-9
                if place in cut.mentioned and np.isinf((upper if sign > 0 else lower)[place]):
                    assert end == pytest.approx(-truth.fun, abs=1e-7)

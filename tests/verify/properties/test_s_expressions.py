"""S-expressions: comments end with their line, words are ASCII, hostile texts are refused in one line."""

from __future__ import annotations

import re

import pytest

import verify
from verify.properties.s_expressions import DEEPEST, Group, VnnlibError, Word, groups

HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))\n"


def flat(text: str) -> list[str]:
    """Return the words of all expressions, in order."""

    def words(expression: Word | Group) -> list[str]:
        return (
            [expression.text] if isinstance(expression, Word) else [w for part in expression.parts for w in words(part)]
        )

    return [word for group in groups(text) for word in words(group)]


# What Python takes for the end of a line and SMT-LIB does not.
@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_a_comment_ends_with_its_line_alone(mark: str) -> None:
    (case,) = verify.parse_property(f"{HEAD}; words {mark}(assert (>= Y_0 1e9))\n(assert (>= Y_0 0))").cases
    assert [condition.levels.tolist() for condition in case.conditions] == [[0.0]]
    with pytest.raises(ValueError, match=re.escape(f"line 2: the character {mark!r} stands outside of comments")):
        verify.parse_property(f"{HEAD}(assert{mark}(>= Y_0 0))")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_are_counted_as_any_editor_counts(end: str) -> None:
    found = list(groups(end.join(["; first (", "(a", "b) ; c)", "", "(d)"])))
    assert [group.line for group in found] == [2, 5]
    assert [part.line for part in found[0].parts] == [2, 3]


def test_quotes_hold_what_they_hold() -> None:
    text = '(set-info :source "a ; b ( ""c"" \n)") (set-info :x |a ; ( b|) (check-sat)'
    assert flat(text) == ["set-info", ":source", '"a ; b ( ""c"" \n)"', "set-info", ":x", "|a ; ( b|", "check-sat"]
    assert [group.line for group in groups(text)] == [1, 2, 2]
    verify.parse_property(f"{text} {HEAD} (assert (>= Y_0 0))")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(assert (>= Y_0 0))(exit)\n(assert (>= Y_0 1e9))", "line 3: a command stands after (exit)"),
        ('(set-info :source "open)', "line 2: a quote that is not closed"),
        ("(assert (>= Y_0 \u0661))", "line 2: the character '\u0661'"),
        ("(assert (>= Y_0 1_0))", "line 2: '1_0' is neither a variable nor a finite number"),
        ("(assert (>= Y_0 inf))", "line 2: 'inf' is neither"),
        ("(assert (>= Y_0 0x1p3))", "line 2: '0x1p3' is neither"),
        ("(assert (>= Y_0 1e999))", "line 2: '1e999' is neither"),
        (f"(declare-const X_1{'0' * 9999} Real)", "of type Real is declared; expected X_0"),
        (f"(assert (>= Y_0 {'9' * 100_000}))", "'... (100,000 characters) is neither"),
        (f"(assert {'(and ' * 900}(>= Y_0 0){')' * 900})", f"stand in each other more than {DEEPEST} deep"),
        (f"(assert (>= Y_0 {'(- ' * 2000}1{')' * 2000}))", f"stand in each other more than {DEEPEST} deep"),
    ],
)
def test_hostile_texts_are_one_line(text: str, words: str) -> None:
    with pytest.raises(VnnlibError) as caught:
        verify.parse_property(HEAD + text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_an_assertion_costs_the_same_beside_many_inputs() -> None:
    # The box of all inputs was copied for each assertion once: 150,000 inputs took minutes.
    many = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} {i}))(assert (<= X_{i} 9e9))" for i in range(1, 9000))
    (case,) = verify.parse_property(f"{HEAD}{many}(assert (>= Y_0 0))").cases
    assert case.lower.tolist() == list(range(9000))

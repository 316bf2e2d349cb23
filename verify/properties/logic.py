"""Logic: what an expression of a file says, as a formula with ``not`` pushed inwards, or as a linear term."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import combinations, pairwise

from verify.properties.formulas import FALSE, LARGEST, TRUE, Formula, joined, negated, size_of
from verify.properties.names import Names
from verify.properties.s_expressions import Expression, Group, VnnlibError, Word, shown
from verify.properties.terms import CONSTANT, Term, atom, bound_of_one, constant_of, number, times, total

RELATIONS = ("<=", "<", ">=", ">", "=", "==", "!=", "distinct")
CONNECTIVES = ("and", "or", "not", "=>", "xor", "ite", "let", "!")

# What names of `let` and of definitions stand for.
Meaning = Term | Formula
Scope = ChainMap[str, Meaning]


class Reader:
    """Reads expressions over declared names; `scope` has what names are defined to be."""

    def __init__(self, names: Names) -> None:
        self.names, self.scope = names, Scope()
        self.work = 0

    def define(self, command: Group) -> None:
        """Take ``(define-fun a () Bool (<= X_0 1))``, or the same of type Real."""
        parts = (
            command.parts if command.head == "define-fun" else (*command.parts[:2], Group((), 0), *command.parts[2:])
        )
        form = len(parts) == 5 and isinstance(parts[1], Word) and isinstance(parts[2], Group) and not parts[2].parts
        if not form:
            expected = "expected (define-fun name () Real term), or Bool with a formula"
            raise VnnlibError(command.line, f"{command.head!r} is of another form; {expected}")
        assert isinstance(parts[1], Word)
        name = self._new_name(parts[1])
        if name in self.scope:
            raise VnnlibError(command.line, f"{parts[1].shown} is defined twice")
        self.scope[name] = self.meaning(parts[4], self.scope)

    def formula(self, expression: Expression, scope: Scope, positive: bool = True) -> Formula:
        """Return what an expression says, or, unless `positive`, what holds where it does not."""
        expression, scope = self._without_wrapping(expression, scope)
        if isinstance(expression, Word):
            return self._named_formula(expression, scope, positive)
        head, parts, line = expression.head, expression.parts[1:], expression.line
        read = partial(self.formula, scope=scope)
        if head in RELATIONS:
            return self._relation(expression, scope, positive)
        if head in ("and", "or"):
            if not parts:
                raise VnnlibError(line, f"{head!r} is empty; expected at least one formula")
            return joined((head == "and") is positive, [read(part, positive=positive) for part in parts], line)
        if head == "not":
            _expect(expression, 2, "(not formula)")
            return read(parts[0], positive=not positive)
        if head == "=>":
            if len(parts) < 2:
                _expect(expression, 3, "(=> formula formula)")
            *causes, effect = parts
            some = [read(part, positive=not positive) for part in causes]
            return joined(not positive, [*some, read(effect, positive=positive)], line)
        if head == "ite":
            _expect(expression, 4, "(ite formula formula formula)")
            return self._choice(parts, read, positive, line)
        if head == "xor":
            _expect(expression, 3, "(xor formula formula)")
            return self._equal(parts, read, not positive, line)
        known = ", ".join(("and", "or", "not", *RELATIONS))
        raise VnnlibError(line, f"{shown(head)} is not supported; expected one of: {known}")

    def meaning(self, expression: Expression, scope: Scope) -> Meaning:
        """Return the formula or the term that an expression is."""
        expression, scope = self._without_wrapping(expression, scope)
        if self._is_formula(expression, scope):
            return self.formula(expression, scope)
        return self.term(expression, scope)

    def term(self, expression: Expression, scope: Scope) -> Term:
        """Return the linear term that an expression is."""
        expression, scope = self._without_wrapping(expression, scope)
        if isinstance(expression, Word):
            return self._leaf(expression, scope)
        terms, line = [self.term(part, scope) for part in expression.parts[1:]], expression.line
        self._pay(sum(map(len, terms)), line)
        head = expression.head
        if head == "+" and terms:
            return total(terms, line)
        if head == "-" and terms:
            rest = [times(term, Fraction(-1), line) for term in terms[1:] or terms]
            return total([terms[0], *rest] if len(terms) > 1 else rest, line)
        if head == "*" and len(terms) > 1:
            return _product(terms, line)
        if head == "/" and len(terms) > 1:
            return _quotient(terms, line)
        raise VnnlibError(line, f"{shown(head)} is no linear term; expected +, -, * or / with arguments")

    def _without_wrapping(self, expression: Expression, scope: Scope) -> tuple[Expression, Scope]:
        """Return what `let` and annotations are around, and what names mean there."""
        while isinstance(expression, Group) and expression.head in ("let", "!"):
            if expression.head == "!":
                if len(expression.parts) < 2:
                    _expect(expression, 2, "(! formula :named a)")
                expression = expression.parts[1]
                continue
            _expect(expression, 3, "(let ((name term)) formula)")
            pairs = expression.parts[1]
            found: dict[str, Meaning] = {}
            for pair in pairs.parts if isinstance(pairs, Group) else (pairs,):
                if not isinstance(pair, Group) or len(pair.parts) != 2 or not isinstance(pair.parts[0], Word):
                    raise VnnlibError(expression.line, "'let' is of another form; expected (let ((name term)) formula)")
                found[self._new_name(pair.parts[0])] = self.meaning(pair.parts[1], scope)
            expression, scope = expression.parts[2], scope.new_child(found)
        return expression, scope

    def _new_name(self, word: Word) -> str:
        """Return a name that is defined, none of the file's variables."""
        if self.names.find(Word(word.symbol, word.line)) is not None:
            raise VnnlibError(word.line, f"{word.shown} is declared already; expected a name of its own")
        return word.symbol

    def _is_formula(self, expression: Expression, scope: Scope) -> bool:
        if isinstance(expression, Word):
            known = scope.get(expression.symbol)
            return expression.text in ("true", "false") or (known is not None and not isinstance(known, dict))
        return expression.head in RELATIONS or expression.head in CONNECTIVES

    def _named_formula(self, word: Word, scope: Scope, positive: bool) -> Formula:
        known = scope.get(word.symbol)
        if word.text in ("true", "false"):
            known = TRUE if word.text == "true" else FALSE
        if known is None or isinstance(known, dict):
            raise VnnlibError(word.line, f"{word.shown} is no formula; expected (and ...), (or ...) or (<= ...)")
        self._pay(size_of(known), word.line)
        return known if positive else negated(known)

    def _relation(self, expression: Group, scope: Scope, positive: bool) -> Formula:
        """Return a relation of two terms, or of each two neighbors in a row, or an equality of formulas."""
        head, parts, line = expression.head, expression.parts[1:], expression.line
        if len(parts) < 2:
            _expect(expression, 3, f"({head} term term)")
        plain = self._bound_of_one(expression, scope) if positive and len(parts) == 2 else None
        if plain is not None:
            return plain
        if (
            head in ("=", "==")
            and len(parts) == 2
            and self._is_formula(self._without_wrapping(parts[0], scope)[0], scope)
        ):
            return self._equal(parts, partial(self.formula, scope=scope), positive, line)
        terms = [self.term(part, scope) for part in parts]
        apart = head in ("!=", "distinct")
        pairs = list(combinations(terms, 2) if apart else pairwise(terms))
        self._pay(sum(len(left) + len(right) for left, right in pairs), line)
        held = joined(True, [_compared(head, left, right, line) for left, right in pairs], line)
        return held if positive else negated(held)

    def _bound_of_one(self, expression: Group, scope: Scope) -> Formula | None:
        """Return the bound that most lines are, a variable beside a number; None where it is something else."""
        head, (left, right) = expression.head, expression.parts[1:]
        if head not in ("<=", "<", ">=", ">") or not (isinstance(left, Word) and isinstance(right, Word)):
            return None
        below = head.startswith("<")
        for word, other, sign in ((left, right, 1.0), (right, left, -1.0)):
            known = None if word.symbol in scope else self.names.find(Word(word.symbol, word.line))
            if known is not None and other.text[0] in "+-.0123456789":
                side = sign if below else -sign
                return bound_of_one(known, side, number(other), head in ("<", ">"), expression.line)
        return None

    def _choice(self, parts: Sequence[Expression], read: Callable[..., Formula], positive: bool, line: int) -> Formula:
        first, second, third = parts
        yes = joined(True, [read(first), read(second, positive=positive)], line)
        no = joined(True, [read(first, positive=False), read(third, positive=positive)], line)
        return joined(False, [yes, no], line)

    def _equal(self, parts: Sequence[Expression], read: Callable[..., Formula], positive: bool, line: int) -> Formula:
        """Return that two formulas are both true or both false, or, unless `positive`, that they are not."""
        first, second = parts
        both = joined(True, [read(first), read(second, positive=positive)], line)
        none = joined(True, [read(first, positive=False), read(second, positive=not positive)], line)
        return joined(False, [both, none], line)

    def _leaf(self, word: Word, scope: Scope) -> Term:
        known = scope.get(word.symbol)
        if known is not None:
            if not isinstance(known, dict):
                raise VnnlibError(word.line, f"{word.shown} is a formula; expected a linear term")
            return known
        variable = self.names.find(Word(word.symbol, word.line))
        return {CONSTANT: Fraction(number(word))} if variable is None else {variable: Fraction(1)}

    def _pay(self, count: int, line: int) -> None:
        """Count the work that names cause which stand for much."""
        self.work += count
        if self.work > 10 * LARGEST:
            raise VnnlibError(line, f"the formulas have more than {10 * LARGEST:,} terms; expected fewer")


def _expect(group: Group, size: int, form: str) -> None:
    if len(group.parts) != size:
        raise VnnlibError(group.line, f"{group.head!r} has {len(group.parts) - 1} arguments; expected {form}")


def _compared(head: str, left: Term, right: Term, line: int) -> Formula:
    """Return the relation of two terms."""
    if head in ("=", "=="):
        return joined(True, [atom(left, right, False, line), atom(right, left, False, line)], line)
    if head in ("!=", "distinct"):
        return joined(False, [atom(left, right, True, line), atom(right, left, True, line)], line)
    left, right = (right, left) if head.startswith(">") else (left, right)
    return atom(left, right, head in ("<", ">"), line)


def _product(terms: list[Term], line: int) -> Term:
    result = terms[0]
    for term in terms[1:]:
        for factor, other in ((constant_of(term), result), (constant_of(result), term)):
            if factor is not None:
                result = times(other, factor, line)
                break
        else:
            raise VnnlibError(line, "a product of variables is not linear; expected a number beside one")
    return result


def _quotient(terms: list[Term], line: int) -> Term:
    result = terms[0]
    for term in terms[1:]:
        divisor = constant_of(term)
        if not divisor:
            what = "a division by 0" if divisor is not None else "a division by a variable, which is not linear"
            raise VnnlibError(line, f"{what} stands here; expected a number that is not 0")
        result = times(result, 1 / divisor, line)
    return result

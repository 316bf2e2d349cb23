"""What is true of a small network over a region, by z3 in rational arithmetic, and by fractions at single points.

Nothing of `verify` is used but the numbers that a region states.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import z3

import convexnn as cx
from convexnn.checks import Floats

# Sides of the polygon inside a disc.
SIDES = 16

Row = Sequence[Fraction]


def fractions(values: Any) -> list[Fraction]:
    """Return numbers as fractions."""
    return [Fraction(float(value)) for value in np.ravel(values)]


def outputs_at(network: cx.SparseReLUNetwork, x: Floats) -> list[Fraction]:
    """Return the outputs at `x`, exactly."""
    hidden = fractions(x)
    for index, (weight, bias) in enumerate(network.layers):
        rows = [fractions(row) for row in weight.toarray()]
        hidden = [
            sum((a * b for a, b in zip(row, hidden, strict=True)), Fraction(float(c)))
            for row, c in zip(rows, bias, strict=True)
        ]
        if index < len(network.layers) - 1:
            hidden = [max(value, Fraction(0)) for value in hidden]
    return hidden


def dot(row: Any, values: Sequence[Fraction]) -> Fraction:
    """Return row . values, exactly."""
    return sum((a * b for a, b in zip(fractions(row), values, strict=True)), Fraction(0))


def inside(region: Any, kind: str, x: Floats) -> bool:
    """Whether `x` lies in the region, exactly."""
    point, low, high = fractions(x), fractions(region.lower), fractions(region.upper)
    if not all(a <= b <= c for a, b, c in zip(low, point, high, strict=True)):
        return False
    cut = region.constraints
    if any(dot(row, point) > Fraction(float(side)) for row, side in zip(cut.rows.toarray(), cut.upper, strict=True)):
        return False
    return ("l1" not in kind and "l2" not in kind) or within(region, kind, point, Fraction(float(region.base.radius)))


def within(region: Any, kind: str, point: Row, radius: Fraction) -> bool:
    """Whether a point is at most `radius` from the center of a ball, exactly."""
    moves = [a - b for a, b in zip(point, fractions(region.base.center), strict=True)]
    if "l1" in kind:
        return sum(map(abs, moves), Fraction(0)) <= radius
    if "l2" in kind:
        return sum((move * move for move in moves), Fraction(0)) <= radius * radius
    return all(abs(move) <= radius for move in moves)


class Truth:
    """A network over a region in z3, with its inputs and outputs as terms."""

    def __init__(self, network: cx.SparseReLUNetwork, region: Any, kind: str, milliseconds: int) -> None:
        self.milliseconds, self.region, self.kind = milliseconds, region, kind
        self.inputs = [z3.Real(f"x{index}") for index in range(network.n_inputs)]
        self.rules: list[Any] = []
        self.outputs = self.add(network, "h")

    def add(self, network: cx.SparseReLUNetwork, name: str) -> list[Any]:
        """Return the outputs of a network at the same inputs."""
        hidden = list(self.inputs)
        for depth, (weight, bias) in enumerate(network.layers):
            sums = [total(row, hidden, shift) for row, shift in zip(weight.toarray(), bias, strict=True)]
            if depth == len(network.layers) - 1:
                return sums
            hidden = [z3.Real(f"{name}{depth}_{index}") for index in range(len(sums))]
            self.rules += [value == z3.If(before > 0, before, 0) for value, before in zip(hidden, sums, strict=True)]
        raise AssertionError("a network has a last layer")

    def exists(self, claim: Any, radius: float | None = None) -> bool | None:
        """Whether some input of the region meets a claim; None where z3 does not say.

        Over an L2 ball True is by a polytope inside it, or by z3's own nonlinear arithmetic.
        """
        region, cut = self.region, self.region.constraints
        rules = [
            z3.And(x >= number(a), x <= number(b))
            for x, a, b in zip(self.inputs, region.lower, region.upper, strict=True)
        ]
        rules += [
            total(row, self.inputs, 0.0) <= number(side)
            for row, side in zip(cut.rows.toarray(), cut.upper, strict=True)
        ]
        rules += [*self.rules, claim]
        if not hasattr(region.base, "radius") or ("linf" in self.kind and radius is None):
            return self._solve(rules)
        reach = Fraction(float(region.base.radius if radius is None else radius))
        moves = [x - number(c) for x, c in zip(self.inputs, region.base.center, strict=True)]
        if "l2" not in self.kind:
            return self._solve([*rules, *_ball(self.kind, moves, reach)])
        found = self._solve([*rules, _inner(moves, reach)])
        return (
            self._solve([*rules, z3.Sum([move * move for move in moves]) <= rational(reach * reach)])
            if found is False
            else found
        )

    def _solve(self, rules: list[Any]) -> bool | None:
        solver = z3.Solver()
        solver.set("timeout", self.milliseconds)
        solver.add(rules)
        answer = str(solver.check())
        return None if answer == "unknown" else answer == "sat"


def rational(value: Fraction) -> Any:
    """Return a fraction as z3 has it."""
    return z3.Q(value.numerator, value.denominator)


def number(value: Any) -> Any:
    """Return a float as z3 has it."""
    return rational(Fraction(float(value)))


def total(row: Any, terms: Sequence[Any], shift: Any) -> Any:
    """Return row . terms + shift."""
    return z3.Sum([number(shift), *(number(factor) * term for factor, term in zip(row, terms, strict=True) if factor)])


def _ball(kind: str, moves: list[Any], radius: Fraction) -> list[Any]:
    if "l1" in kind:
        return [z3.Sum([z3.If(move > 0, move, -move) for move in moves]) <= rational(radius)]
    return [z3.And(move >= -rational(radius), move <= rational(radius)) for move in moves]


def _inner(moves: list[Any], radius: Fraction) -> Any:
    """Return that moves lie in a polytope inside the L2 ball: a polygon, or an L1 ball or a cube."""
    if len(moves) == 2:
        angles = 2.0 * np.pi * np.arange(SIDES) / SIDES
        # Normals a little longer than 1, and a height a little lower than that of the polygon.
        height = Fraction(float(np.cos(np.pi / SIDES) * (1.0 - 1e-9))) * radius
        return z3.And([number(np.cos(t)) * moves[0] + number(np.sin(t)) * moves[1] <= rational(height) for t in angles])
    half = Fraction(float(np.sqrt(1.0 / len(moves)) * (1.0 - 1e-9))) * radius
    return z3.Or(*[z3.And(_ball(kind, moves, size)) for kind, size in (("l1", radius), ("linf", half))])

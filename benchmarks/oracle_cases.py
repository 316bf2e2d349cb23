"""Random small networks, regions and properties whose questions z3 can answer: few bits, exact ties, any scale."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from oracle_truth import fractions, outputs_at

import convexnn as cx
import verify
from convexnn.checks import Floats

KINDS = ("box", "point", "linf", "l1", "l2", "cut box", "cut linf", "cut l1", "cut l2")

# Powers of two nearest to 1e-8, 1e-4, 1, 1e3 and 1e6: what is multiplied by them keeps its bits.
SCALES = (2.0**-27, 2.0**-13, 1.0, 1.0, 1.0, 2.0**10, 2.0**20)


@dataclass(frozen=True)
class Alternative:
    """Constraints on the outputs that hold together: rows . y (relation) level."""

    rows: Floats
    relations: tuple[str, ...]
    levels: tuple[float, ...]


def drawn_network(rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return a network of 1 to 20 layers, narrow where it is deep; its scale is that of one of its layers."""
    depth = int(rng.choice([1, 2, 2, 2, 3, 3, 4, 6, 10, 20]))
    widest = {1: 1, 2: 7, 3: 5, 4: 4, 6: 3}.get(depth, 2)
    hidden = [int(rng.integers(1, widest + 1)) for _ in range(depth - 1)]
    sizes = [int(rng.integers(1, 5 if depth < 5 else 3)), *hidden, int(rng.integers(1, 4))]
    scaled, scale = int(rng.integers(depth)), float(rng.choice(SCALES))
    # Numbers of all bits are hard for z3: there they are few.
    bits, density = int(rng.choice([1, 2, 4, 8, 50] if depth < 3 else [1, 2, 4, 8])), float(rng.choice([0.5, 0.8, 1.0]))
    layers: list[tuple[Floats, Floats]] = []
    size = 1.0
    for index, (before, after) in enumerate(pairwise(sizes)):
        own = scale if index == scaled else 1.0
        # Biases are as large as what they are added to.
        size *= own
        weight = few_bits((after, before), bits, rng) * (rng.random((after, before)) < density)
        layers.append((own * weight, size * few_bits((after,), bits, rng) * (rng.random() < 0.7)))
    return cx.SparseReLUNetwork(layers)


def few_bits(shape: tuple[int, ...], bits: int, rng: np.random.Generator) -> Floats:
    """Return numbers in [-2, 2] of few bits, 0 among them."""
    return np.asarray(rng.integers(-(2**bits), 2**bits + 1, shape) / 2.0 ** (bits - 1))


def drawn_region(kind: str, size: int, rng: np.random.Generator) -> Any:
    """Return a region around a center of few bits, of a width of few bits or not."""
    center = few_bits((size,), int(rng.choice([1, 3, 6])), rng)
    radius = float(rng.choice([0.25, 0.5, 1.0, 0.1, 0.3, 2.0]))
    plain = kind.removeprefix("cut ")
    clip = (center - radius * rng.integers(0, 3, size) / 2, center + 1.0) if rng.random() < 0.3 else None
    if plain in ("box", "point"):
        widths = radius * rng.integers(0, 3, size) * (plain == "box")
        region: Any = verify.Box(center - widths / 2, center + widths)
    else:
        ball = {"linf": verify.LinfBall, "l1": verify.L1Ball, "l2": verify.L2Ball}[plain]
        region = ball(center, radius, clip=clip)
    return region if plain == kind else cut(region, rng)


def cut(region: Any, rng: np.random.Generator) -> Any:
    """Return a region with one to three constraints of few bits, none of which cuts off the center."""
    rows = few_bits((int(rng.integers(1, 4)), region.size), 2, rng)
    # A constraint on one input is a bound, as VNN-LIB has it.
    rows = np.where((rows != 0.0).sum(axis=1, keepdims=True) == 1, np.sign(rows), rows)
    upper = rows @ region.center + rng.integers(0, 4, len(rows)) / 4.0
    return region.where(rows, upper)


def corner(region: Any, rng: np.random.Generator) -> Floats:
    """Return the center of a region, or an input of few bits near its rim."""
    tips = np.where(rng.random(region.size) < 0.5, region.lower, region.upper)
    return np.asarray(rng.choice([region.center, tips, 0.5 * (region.center + tips)]))


def tied(network: cx.SparseReLUNetwork, region: Any, row: Floats, rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return the network with one bias moved so that row . outputs is 0 at some corner, where floats can have it."""
    layers = list(network.layers)
    weight, bias = layers[-1]
    at = sum(a * b for a, b in zip(fractions(row), outputs_at(network, corner(region, rng)), strict=True))
    place = int(np.argmax(np.abs(row)))
    moved = bias.copy()
    moved[place] -= float(at) / row[place]
    return cx.SparseReLUNetwork([*layers[:-1], (weight, moved)])


def drawn_property(network: cx.SparseReLUNetwork, region: Any, rng: np.random.Generator) -> list[Alternative]:
    """Return alternatives of constraints, many of them reached exactly at some corner."""
    found = []
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        count = int(rng.choice([1, 1, 2]))
        rows = few_bits((count, network.n_outputs), 1, rng)
        rows[:, 0] += rows.any(axis=1) == 0
        values = outputs_at(network, corner(region, rng))
        levels = [float(sum(a * b for a, b in zip(fractions(row), values, strict=True))) for row in rows]
        size = max(map(abs, levels)) or 1.0
        levels = [level + size * float(rng.choice([0.0, 0.0, 0.25, -0.25, 2.0, -2.0])) for level in levels]
        relations = tuple(str(rng.choice(["<=", "<", ">=", ">"])) for _ in rows)
        found.append(Alternative(rows, relations, tuple(levels)))
    return found


def vnnlib_text(region: Any, alternatives: list[Alternative], outputs: int) -> str:
    """Return a property over a box with its linear constraints, as a VNN-LIB text."""
    lines = [f"(declare-const X_{i} Real)" for i in range(region.size)]
    lines += [f"(declare-const Y_{i} Real)" for i in range(outputs)]
    for i, (low, high) in enumerate(zip(region.lower, region.upper, strict=True)):
        lines += [f"(assert (>= X_{i} {float(low)!r}))", f"(assert (<= X_{i} {float(high)!r}))"]
    for row, side in zip(region.constraints.rows.toarray(), region.constraints.upper, strict=True):
        if row.any():
            lines.append(f"(assert (<= {_sum(row, 'X')} {float(side)!r}))")
    ways = [
        " ".join(
            f"({relation} {_sum(row, 'Y')} {level!r})"
            for row, relation, level in zip(way.rows, way.relations, way.levels, strict=True)
        )
        for way in alternatives
    ]
    return "\n".join([*lines, f"(assert (or {' '.join(f'(and {way})' for way in ways)}))"])


def _sum(row: Floats, letter: str) -> str:
    terms = [f"(* {float(value)!r} {letter}_{i})" for i, value in enumerate(row) if value]
    return f"(+ {' '.join(terms)})" if len(terms) > 1 else terms[0]

"""Hold splitting, by boxes, programs, neurons and all, against enumeration: alternatives of several constraints.

    python benchmarks/splitting.py [--questions 2000] [--seed 0] [--seconds 5] [--jobs 1] [--means boxes ...]

Networks of 1 to 6 inputs and at most 6 hidden neurons over the regions of `differential.py`; one to three alternatives
of one to five constraints each, some strict. The truth is the largest least constraint of every alternative, by one
program a pattern of activation; constants are then moved so that the best alternative is met, or missed, by .1 to 1e-5.
A proof is wrong where the truth is above zero, a witness where it is below. A quarter of the questions is left to boxes
alone, one to neurons alone (where some can switch), one to linear programs (over boxes; over other regions and for
several constraints to neurons and boxes). With `--jobs` above 1 whatever is open is dealt out to so many threads,
however little it is.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from time import perf_counter
from typing import Any

import clarabel
import joblib
import numpy as np
import scipy.sparse as sp
from differential import KINDS, drawn_region
from scipy.optimize import linprog

import convexnn as cx
from convexnn.checks import Floats
from verify.answers.witness import all_hold
from verify.bounds.functions import Functions
from verify.branching import box_search
from verify.crew import Crew
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting import box_splitting, program_splitting
from verify.splitting.goals import Goal
from verify.splitting.turns import Splitting

GAPS = (0.1, 1e-3, 1e-5)

# What splits: question after question.
MEANS = ("boxes", "programs", "neurons", "all")


def drawn_network(rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return a random network with at most 6 hidden neurons."""
    depth = int(rng.integers(1, 4))
    hidden = [int(rng.integers(1, 1 + 6 // depth)) for _ in range(depth)]
    sizes = [int(rng.integers(1, 7)), *hidden, int(rng.integers(1, 4))]
    density = rng.choice([0.5, 0.8, 1.0])
    layers = [
        (rng.standard_normal((o, i)) * (rng.random((o, i)) < density), rng.standard_normal(o))
        for i, o in pairwise(sizes)
    ]
    return cx.SparseReLUNetwork(layers)


def largest_least(functions: Functions, chosen: list[int], region: Any, kind: str) -> float:
    """Return the maximum over the region of the least of the chosen functions, by a program for every pattern."""
    network, best = functions.network, -np.inf
    sizes = [weight.shape[0] for weight, _ in network.layers[:-1]]
    rows = functions.rows[chosen].toarray()
    for pattern in product(*(product((0.0, 1.0), repeat=size) for size in sizes)):
        slope, offset = np.eye(network.n_inputs), np.zeros(network.n_inputs)
        held, levels = [np.zeros((0, network.n_inputs))], [np.zeros(0)]
        for (weight, bias), active in zip(network.layers[:-1], map(np.array, pattern), strict=True):
            slope, offset = weight @ slope, weight @ offset + bias
            held.append((1.0 - 2.0 * active)[:, None] * slope)
            levels.append((2.0 * active - 1.0) * offset)
            slope, offset = slope * active[:, None], offset * active
        weight, bias = network.layers[-1]
        gains = rows @ (weight @ slope)
        constants = rows @ (weight @ offset + bias) + functions.offsets[chosen]
        best = max(best, least_of_piece(gains, constants, np.concatenate(held), np.concatenate(levels), region, kind))
    return best


def least_of_piece(gains: Floats, constants: Floats, rows: Floats, levels: Floats, region: Any, kind: str) -> float:
    """Return max min (gains x + constants) over rows x <= levels inside the region; -inf where there is no such x."""
    size, kind = region.size, kind.removeprefix("cut ")
    rows = np.vstack([rows, region.constraints.rows.toarray()])
    levels = np.append(levels, region.constraints.upper)
    if kind == "l1":
        signs = np.array(list(product([-1.0, 1.0], repeat=size)))
        rows, levels = np.vstack([rows, signs]), np.append(levels, signs @ region.center + region.base.radius)
    # The last variable is the least of the functions.
    rows = np.vstack([np.column_stack([rows, np.zeros(len(rows))]), np.column_stack([-gains, np.ones(len(gains))])])
    levels, cost = np.append(levels, constants), np.append(np.zeros(size), -1.0)
    if kind != "l2":
        bounds = [*zip(region.lower, region.upper, strict=True), (None, None)]
        result = linprog(cost, A_ub=rows, b_ub=levels, bounds=bounds)
        return -float(result.fun) if result.status == 0 else -np.inf
    eye = np.column_stack([np.eye(size), np.zeros(size)])
    A = np.vstack([rows, eye, -eye, np.zeros((1, size + 1)), -eye])
    b = np.concatenate([levels, region.upper, -region.lower, [region.base.radius], -region.center])
    cones = [clarabel.NonnegativeConeT(len(rows) + 2 * size), clarabel.SecondOrderConeT(size + 1)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    solution = clarabel.DefaultSolver(
        sp.csc_matrix((size + 1,) * 2), cost, sp.csc_matrix(A), b, cones, settings
    ).solve()
    return -float(solution.obj_val) if str(solution.status) in ("Solved", "AlmostSolved") else -np.inf


def confine(splitting: Splitting, means: str) -> None:
    """Leave a search to some means alone."""
    splitting.begin()
    if means == "boxes":
        splitting.neurons.ended, splitting.programs = True, None
    if means == "neurons" and splitting.neurons.able(splitting.goals):
        splitting.boxes = splitting.programs = None
    if means == "programs" and splitting.programs is not None and splitting.programs.fits:
        single = all(len(goal.chosen) == 1 for goal in splitting.goals)
        splitting.boxes = None if single else splitting.boxes


def deal_at_once() -> None:
    """Let whatever is open be dealt out, however little it is, and let steps and rounds be short."""
    for owner, name, value in (
        (Crew, "pays", lambda crew, seconds: crew.size > 1),
        (Crew, "round_within", lambda crew, left: 0.01),
        (box_splitting, "LATER", 0.0),
        (box_splitting, "DEALT", 0),
        (box_splitting, "KEPT", 1e-6),
        (box_search, "STEP", 0.0),
        (program_splitting, "DEALT", 0),
        (program_splitting, "KEPT", 1e-6),
    ):
        setattr(owner, name, value)


def judged(rng: np.random.Generator, kind: str, means: str, seconds: float, jobs: int) -> str:
    """Draw a question and return what it came to: met, proven, open, or what is wrong."""
    network = drawn_network(rng)
    region = drawn_region(kind, network.n_inputs, rng)
    count = int(rng.integers(1, 7))
    rows, offsets = rng.standard_normal((count, network.n_outputs)), rng.standard_normal(count)
    functions = Functions(sp.csr_matrix(rows), offsets, network)
    ways = [
        sorted(rng.choice(count, rng.integers(1, min(5, count) + 1), replace=False)) for _ in range(rng.integers(1, 4))
    ]
    truths = [largest_least(functions, way, region, kind) for way in ways]
    gap = float(rng.choice(GAPS) * rng.choice([-1.0, 1.0]))
    if not np.isfinite(truths).all():
        return "no truth"
    functions = replace(functions, offsets=offsets - max(truths) + gap)
    truths = [truth - max(truths) + gap for truth in truths]
    inquiry = Inquiry(functions, region, resources_of(seconds, "branching", rng, n_jobs=jobs))
    inquiry.tighten()
    goals = [Goal(way, rng.random(len(way)) < 0.5) for way in ways]
    tests = [all_hold(np.array(goal.chosen), goal.strict) for goal in goals]

    def accept(point: Floats) -> bool:
        return any(inquiry.try_witness(point, test).holds for test in tests)

    splitting = Splitting(inquiry, goals, accept)
    confine(splitting, means)
    if splitting.run():
        return "met" if max(truths) > 0.0 else f"witness wrong: {truths}"
    for goal, truth in zip(goals, truths, strict=True):
        slack = (1e-6 if kind.endswith("l2") else 1e-9) * (1.0 + abs(truth))
        if goal.ruled_out and truth > slack:
            return f"proof wrong: {truth:.3g} of {truths}"
        least = min([goal.ceiling, *inquiry.upper[goal.chosen]])
        if least < truth - slack:
            return f"bound wrong: {least:.9g} below {truth:.9g}"
    settled = all(goal.ruled_out or (inquiry.upper[goal.chosen] < 0.0).any() for goal in goals)
    return "proven" if settled else "open"


def main() -> None:
    """Read the command line and print what the questions came to."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--means", nargs="*", choices=MEANS, default=MEANS)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    began = perf_counter()
    if given.jobs > 1:
        deal_at_once()
        joblib.parallel_config("threading")
    for number in range(given.questions):
        rng, kind = np.random.default_rng([given.seed, number]), KINDS[number % len(KINDS)]
        means = given.means[number // len(KINDS) % len(given.means)]
        short, _, detail = judged(rng, kind, means, given.seconds, given.jobs).partition(":")
        counts[short] += 1
        if detail or short == "open":
            print(f"question {number} ({kind}, {means}): {short} {detail}", flush=True)
    print(f"{given.questions} questions, {perf_counter() - began:.0f} s: {dict(counts)}")


if __name__ == "__main__":
    main()

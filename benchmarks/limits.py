"""Measure by how much public calls overrun their limits, on networks and data of the sizes that are promised.

    python benchmarks/limits.py [--wall] [--cases NAME ...]

A call may take its limit and half a second, or a tenth of its limit where that is more. All clocks count the seconds of
the processor, so that other work on the machine changes nothing, unless `--wall` says otherwise: then the overrun is
the lesser of that in wall and that in processor time. Engines count seconds of the wall for themselves.
"""

from __future__ import annotations

import sys
import time

if "--wall" not in sys.argv:
    time.perf_counter = time.process_time

import common  # first: it says how many threads the libraries have

# isort: split
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork

# What a call may take beyond its limit: seconds, or a share of the limit where that is more.
GRACE, SHARE = 0.5, 0.1

# Limits of questions about networks, and of solvers.
QUESTION_LIMITS, SOLVER_LIMITS = (0.0, 0.1, 1.0, 5.0), (0.0, 0.5, 2.0)

# A call with its limit left open.
Call = Callable[[float], object]

# A name, its limits, and the call.
Row = tuple[str, tuple[float, ...], Call]


def sparse_layer(rng: np.random.Generator, out: int, into: int, terms: int) -> Layer:
    """Return a layer with about `terms` weights a neuron."""
    weight = sp.random(out, into, density=min(1.0, terms / into), random_state=rng, data_rvs=rng.standard_normal)
    return sp.csr_matrix(weight * np.sqrt(2.0 / terms)), 0.1 * rng.standard_normal(out)


def wide_network(rng: np.random.Generator) -> SparseReLUNetwork:
    """Return 400-8000-8000-8000-2 with 20 weights a neuron."""
    sizes = [400, 8000, 8000, 8000, 2]
    return SparseReLUNetwork([sparse_layer(rng, *pair, 20) for pair in zip(sizes[1:], sizes, strict=False)])


def dense_network(rng: np.random.Generator) -> SparseReLUNetwork:
    """Return 10000-2000-10 with all 20 million weights."""
    layers = [(rng.standard_normal((out, into)) / np.sqrt(into), None) for out, into in ((2000, 10000), (10, 2000))]
    return SparseReLUNetwork(layers)


def deep_network(rng: np.random.Generator) -> SparseReLUNetwork:
    """Return 30 layers of 1000 neurons with 50 weights each."""
    sizes = [100, *[1000] * 30, 5]
    return SparseReLUNetwork([sparse_layer(rng, *pair, 50) for pair in zip(sizes[1:], sizes, strict=False)])


def limited(function: Callable[..., object], *given: Any, **more: Any) -> Call:
    """Return a call with its limit left open."""
    return lambda limit: function(*given, time_limit=limit, **more)


def questions(name: str, network: SparseReLUNetwork, radius: float, rng: np.random.Generator) -> Iterator[Row]:
    """Give the questions about one network."""
    center = rng.standard_normal(network.n_inputs)
    ball, label = verify.LinfBall(center, radius), int(network.predict(center[None])[0].argmax())
    yield f"find_adversarial, {name}", QUESTION_LIMITS, limited(verify.find_adversarial, network, ball, label)
    yield f"maximize, {name}", QUESTION_LIMITS, limited(verify.maximize, network, ball, 0)
    yield f"output_range, {name}", QUESTION_LIMITS[1:3], limited(verify.output_range, network, ball)
    yield f"min_radius, {name}", QUESTION_LIMITS[1:3], limited(verify.min_radius, network, ball, label)
    yield f"bound lp, {name}", QUESTION_LIMITS, limited(verify.bound, network, ball, "lp")


def properties(rng: np.random.Generator) -> Iterator[Row]:
    """Give properties of many boxes: some that intervals prove, some that stay open."""
    network = SparseReLUNetwork([sparse_layer(rng, *pair, 50) for pair in ((50, 5), (50, 50), (5, 50))])
    outputs = network.predict(rng.standard_normal((200, 5)))[:, 0]
    for count in (1000, 10_000):
        for kind, level in (("proven", 1e3), ("open", float(np.quantile(outputs, 0.9)))):
            asked = verify.parse_property(text_of(count, level))
            title = f"check_vnnlib, {count} boxes, {kind}"
            yield title, QUESTION_LIMITS, limited(verify.check_vnnlib, network, asked)


def text_of(count: int, level: float) -> str:
    """Return a property of 5 inputs and 5 outputs over as many boxes: output 0 stays below a level."""
    names = [f"(declare-const X_{i} Real) (declare-const Y_{i} Real)" for i in range(5)]
    ends = [f"(assert (>= X_{i} -1)) (assert (<= X_{i} 1))" for i in range(1, 5)]
    spans = [(2.0 * i / count - 1.0, 2.0 * (i + 1) / count - 1.0) for i in range(count)]
    boxes = [f"(and (>= X_0 {low}) (<= X_0 {high}) (>= Y_0 {level}))" for low, high in spans]
    return "\n".join([*names, *ends, f"(assert (or {' '.join(boxes)}))"])


def planted(rng: np.random.Generator, n: int, d: int, neurons: int) -> tuple[Floats, Floats]:
    """Return noisy data of a network of one output."""
    X, weights = rng.standard_normal((n, d)), rng.standard_normal((neurons, d))
    return X, np.maximum(X @ weights.T, 0.0) @ rng.standard_normal(neurons) + 0.1 * rng.standard_normal(n)


def fits(rng: np.random.Generator) -> Iterator[Row]:
    """Give searches and estimators on two sizes of data."""
    for n, d in ((1000, 20), (20_000, 100)):
        X, y = planted(rng, n, d, 10)
        labels = y > np.median(y)
        calls = {
            "recover": limited(cx.recover, X, y, 150),
            "fit_network": limited(cx.fit_network, X, y, 150),
            "fit_network softmax": limited(cx.fit_network, X, labels, 150, loss="softmax"),
            "SparseReLURegressor": limited(estimate, cx.SparseReLURegressor, X, y),
            "SparseReLUClassifier": limited(estimate, cx.SparseReLUClassifier, X, labels),
            "budget_path": limited(path, X, y),
        }
        for name, call in calls.items():
            yield f"{name}, {n} x {d}", SOLVER_LIMITS, call


def large_data(rng: np.random.Generator) -> Iterator[Row]:
    """Give searches on larger data."""
    for n, d in ((50_000, 100), (10_000, 2000)):
        X, y = planted(rng, n, d, 10)
        yield f"recover, {n} x {d}", SOLVER_LIMITS, limited(cx.recover, X, y, 150)


def estimate(kind: Callable[..., Any], X: Floats, y: Any, time_limit: float) -> object:
    """Fit an estimator."""
    return kind(time_limit=time_limit).fit(X, y)


def path(X: Floats, y: Floats, time_limit: float) -> object:
    """Fit two budgets, each to a fold and to all rows: four fits, of a quarter of the time each."""
    return cx.budget_path(cx.SparseReLURegressor(time_limit=time_limit / 4), X, y, [50, 100], cv=0.3)


def programs(rng: np.random.Generator) -> Iterator[Row]:
    """Give solvers of convex programs and of budgets."""
    X, y = planted(rng, 1000, 20, 10)
    patterns, sparse = cx.sample_patterns(X, 200, seed=0), dict[str, Any](penalty="group_l1", strength=1e-3)
    gated, cone = (cx.ConvexProgram(X, y, patterns, cone=cone, **sparse) for cone in (False, True))
    budget = cx.ConvexProgram(X, y, patterns, budget=40)
    asked = {
        "gated": (gated, ("admm", "fista")),
        "cone": (cone, ("admm", "interior_point")),
        "budget": (budget, ("hard_thresholding", "htp", "niht")),
    }
    for form, (program, solvers) in asked.items():
        for solver in solvers:
            yield f"{solver}, {form}, 1000 x 20, 200 gates", SOLVER_LIMITS, limited(cx.solve, program, solver)


# The parts of the table by their names, from a source of draws each.
CASES: dict[str, Callable[[np.random.Generator], Iterator[Row]]] = {
    "wide": lambda rng: questions("400-8000-8000-8000-2 sparse", wide_network(rng), 0.3, rng),
    "dense": lambda rng: questions("10000-2000-10 dense", dense_network(rng), 0.01, rng),
    "deep": lambda rng: questions("30 x 1000", deep_network(rng), 0.01, rng),
    "boxes": properties,
    "fits": fits,
    "data": large_data,
    "programs": programs,
}


def warm_up() -> None:
    """Let every part import what it needs, and the engines be tested: neither is the limit's."""
    rng = np.random.default_rng(0)
    X, y = planted(rng, 60, 3, 2)
    network = SparseReLUNetwork([sparse_layer(rng, *pair, 5) for pair in ((10, 5), (10, 10), (2, 10))])
    verify.output_range(network, verify.LinfBall(np.zeros(5), 1.0), time_limit=5.0)
    verify.maximize(network, verify.LinfBall(np.zeros(5), 1.0), 0, time_limit=5.0, backend="highspy")
    cx.recover(X, y, 4, time_limit=0.1)
    cx.SparseReLUClassifier(time_limit=0.1).fit(X, y > 0.0)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 5, seed=0), penalty="group_l1", strength=0.1)
    for solver in ("admm", "fista"):
        cx.solve(program, solver)


def main(chosen: list[str], seed: int) -> None:
    """Print a line for each call and limit, and how many overran."""
    began = time.process_time()
    warm_up()
    print(f"{'call':48} {'limit':>6} {'wall':>7} {'CPU':>7} {'overrun':>8}")
    late = [lateness(*row) for name in chosen for row in CASES[name](np.random.default_rng(seed))]
    spent = time.process_time() - began
    print(f"{sum(map(sum, late))} of {sum(map(len, late))} calls ended too late; {spent:.0f} s of CPU in all")


def lateness(title: str, limits: tuple[float, ...], call: Call) -> list[bool]:
    """Print a line for each limit of a call; return which of them ended too late."""
    late = []
    for limit in limits:
        wall, cpu = time.monotonic(), time.process_time()
        call(limit)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        beyond = max(0.0, min(wall, cpu) - limit)
        late.append(beyond > max(GRACE, SHARE * limit))
        print(f"{title:48} {limit:6.1f} {wall:7.2f} {cpu:7.2f} {beyond:8.2f}{'  too late' * late[-1]}", flush=True)
    return late


if __name__ == "__main__":
    parser = common.option_parser(__doc__)
    parser.add_argument("--wall", action="store_true", help="clocks count seconds of the wall")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.cases, given.seed)

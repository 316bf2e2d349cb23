"""Time the convex programs against Clarabel and against scnn, the only other package of the field.

    python benchmarks/convex.py gated     # n=500, d=20, 100 gates: to 1e-6 of the optimum
    python benchmarks/convex.py cone      # the ReLU program there: to 1e-3, 1e-4 and 1e-6; --clarabel runs Clarabel too
    python benchmarks/convex.py large     # n=5000, d=100, 500 gates: time an iteration, and to 1e-6 of the optimum
    python benchmarks/convex.py adelie    # gated programs where few neurons live, to 1e-2, 1e-4 and 1e-6, beside adelie
    python benchmarks/convex.py rows      # cones with thousands of rows; --clarabel: Clarabel too, 5 minutes each
    python benchmarks/convex.py offsets   # every solver on features with offsets and units, 12 seeds, beside Clarabel

Options: --repeats N (default 5, medians; of offsets: seeds, default 12), --strength S (default 1e-3), --seed (default
0), --scnn-iterations N (default 10,000; at 100 ms each in the large case, where it runs once). scnn runs beside where
it is installed (pip install --no-deps --pre linalg_backends pyscnn); else the figures recorded for it are printed. Both
sides get the same data, gates and threads, scnn in its default float32 and with unitize_data=False, so that the
programs are the same; its clock is its own, and stops at its first logged objective within 1e-6 of the optimum.
adelie (pip install adelie), a group lasso by screening and block coordinate descent in C++, gets the columns as one
dense matrix; making it counts, as the masks do on our side. Both are asked for the loosest tolerance that comes as
close.
"""

from __future__ import annotations

import os

# Two threads, where `common` would say one.
os.environ.setdefault("OMP_NUM_THREADS", "2")

import common

# isort: split
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

import convexnn as cx
from convexnn.checks import Floats
from convexnn.program.neurons import NeuronOperator
from convexnn.solvers.convex.fista import begin, fista_step, prepare

SIZES = {"gated": (500, 20, 100), "cone": (500, 20, 100), "large": (5000, 100, 500)}

RECORDED = {
    "gated": "scnn is not installed; recorded on 2 cores: 1.6 s (strength 0.0224: 0.3 s)",
    "large": "scnn is not installed; recorded on 2 cores: 86 ms an iteration, 26 s to 3.5 % above the optimum",
}


def problem(n: int, d: int, m: int, seed: int) -> tuple[Floats, Floats, cx.ActivationPatterns]:
    """Return Gaussian rows, a teacher of 5 neurons of 3 inputs with both signs, mean square 7.17, and m gates."""
    rng = np.random.default_rng(seed)
    X, hidden = rng.standard_normal((n, d)), np.zeros((5, d))
    for row in hidden:
        row[rng.choice(d, 3, replace=False)] = rng.standard_normal(3)
    y = np.maximum(X @ hidden.T, 0.0) @ np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    return X, y * np.sqrt(7.17 / np.mean(np.square(y))), cx.sample_patterns(X, m, seed=rng)


def show(name: str, time: float, solution: cx.Solution, optimum: float) -> None:
    """Print one line on a solution."""
    share = solution.gap / solution.program.zero_loss if solution.gap is not None else float("nan")
    print(
        f"{name:28} {time:8.3f} s  {solution.iterations:5} iterations  objective {solution.objective:.9f} "
        f"({solution.objective / optimum - 1.0:+.1e})  gap {share:.1e}  violation {solution.violation:.0e}"
    )


def gated(program: cx.ConvexProgram, solvers: dict[str, int]) -> float:
    """Time each solver that many times to 1e-6 of the optimum, which is returned."""
    optimum = cx.solve(program, "admm", tolerance=1e-9).objective
    for solver, repeats in solvers.items():
        work = partial(cx.solve, program, solver, tolerance=reached(program, solver, (1.0 + 1e-6) * optimum))
        show(solver, common.median_seconds(work, repeats), work(), optimum)
    return optimum


def reached(program: cx.ConvexProgram, solver: str, goal: float) -> float:
    """Return the loosest tolerance, by powers of 10, whose answer is as good as an objective."""
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        if cx.solve(program, solver, tolerance=tolerance).objective <= goal:
            return tolerance
    return 1e-8


def cone(program: cx.ConvexProgram, repeats: int, clarabel: bool) -> None:
    """Time the interior point method to several tolerances, and Clarabel once."""
    optimum = cx.solve(program, "interior_point", tolerance=1e-9).objective
    for tolerance in (1e-3, 1e-4, 1e-5, 1e-6):
        work = partial(cx.solve, program, "interior_point", tolerance=tolerance)
        show(f"interior_point, gap {tolerance:.0e}", common.median_seconds(work, repeats), work(), optimum)
    if clarabel:
        began = perf_counter()
        solution = cx.solve(program, "cvxpy")
        show("cvxpy (CLARABEL)", perf_counter() - began, solution, optimum)


def iteration(program: cx.ConvexProgram, rounds: int = 40) -> None:
    """Compare one iteration of fista with the two bare matrix products inside it, in float32, turn by turn."""
    operator = NeuronOperator(program, dtype="float32")
    weights = torch.randn(program.neurons_shape)
    rows, hidden = operator.patterns.X, torch.randn((len(program.X), len(program.patterns)))
    problem = prepare(program, operator, tolerance=0.0)
    now = begin(problem, np.zeros(program.neurons_shape))
    bare, steps = [], []
    for _ in range(rounds):
        began = perf_counter()
        _ = rows @ weights.T, hidden.T @ rows
        between = perf_counter()
        now = fista_step(problem, now)
        bare.append(between - began)
        steps.append(perf_counter() - between)
    ratios = np.array(steps[5:]) / np.array(bare[5:])
    print(
        f"fista, one iteration: median {1e3 * median(steps[5:]):.1f} ms; its two bare matrix products: "
        f"{1e3 * median(bare[5:]):.1f} ms; ratio {np.median(ratios):.2f} (mean {np.sum(steps) / np.sum(bare):.2f})"
    )


def scnn(program: cx.ConvexProgram, optimum: float, repeats: int, max_iterations: int) -> None:
    """Time scnn's R-FISTA on the same program; say how far it came, and how long admm takes to come as far."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexGatedReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import RFISTA

    times: list[float] = []
    for _ in range(repeats):
        model: Any = ConvexGatedReLU(program.patterns.generators.T)
        data = (program.X, program.targets, program.X, program.targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, metrics = optimize_model(
                model,
                RFISTA(model, tol=1e-14, max_iters=max_iterations),
                Metrics(),
                *data,
                regularizer=NeuronGL1(program.strength),
                unitize_data=False,
                return_convex=True,
            )
        objectives, clock = np.ravel(metrics.objective), np.ravel(metrics.time)
        there = np.flatnonzero(objectives <= (1.0 + 1e-6) * optimum)
        times.append(float(clock[there[0]]) if there.size else float("inf"))
    best = float(np.min(objectives)) / optimum - 1.0
    print(
        f"{'scnn R-FISTA':28} {median(times):8.3f} s to 1e-6 of the optimum; best {best:+.1e} after {len(clock)} "
        f"iterations and {clock[-1]:.1f} s, {1e3 * clock[-1] / len(clock):.0f} ms an iteration"
    )
    goal = reached(program, "admm", float(np.min(objectives)))
    work = partial(cx.solve, program, "admm", tolerance=goal)
    show("admm, as far as scnn", common.median_seconds(work, repeats), work(), optimum)


# Rows, features, gates, and the strength as a share of the one that leaves nothing.
FEW = [(500, 20, 100, 0.1), (300, 5, 300, 0.05), (500, 20, 1000, 0.2), (2000, 20, 200, 0.1), (2000, 20, 200, 0.02)]
ACCURACIES = (1e-2, 1e-4, 1e-6)


def few_live(repeats: int, seed: int) -> None:
    """Print CPU seconds to each share above the optimum, ours and adelie's, where it is installed."""
    print("| rows | features | gates | strength | live | solver | " + " | ".join(f"{a:.0e}" for a in ACCURACIES) + " |")
    print("|" + "---|" * (6 + len(ACCURACIES)))
    for n, d, m, share in FEW:
        X, y, patterns = problem(n, d, m, seed)
        program = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=1.0)
        program = program.with_strength(share * cx.strength_max(program))
        best = cx.solve(program, "fista", tolerance=1e-9)
        works: dict[str, Callable[[float], float]] = {
            name: partial(by_ours, program, name) for name in ("working_set", "fista", "admm")
        }
        works |= {"adelie": partial(by_adelie, program)} if find_spec("adelie") else {}
        live = len(np.unique(best.support // program.rows.shape[1]))
        for name, work in works.items():
            cells = [f"{cpu_to(work, (1.0 + accuracy) * best.objective, repeats):.3f}" for accuracy in ACCURACIES]
            print(f"| {n} | {d} | {m} | {share} | {live} | {name} | {' | '.join(cells)} |", flush=True)


def cpu_to(work: Callable[[float], float], goal: float, repeats: int) -> float:
    """Return the median CPU seconds with the loosest tolerance, by half powers of 10, that reaches an objective."""
    for power in range(2, 30):
        tolerance = 10.0 ** (-power / 2)
        if work(tolerance) <= goal:
            return median([cpu_of(work, tolerance) for _ in range(repeats)])
    return float("inf")


def cpu_of(work: Callable[[float], float], tolerance: float) -> float:
    """Return the CPU seconds of one call."""
    began = process_time()
    work(tolerance)
    return process_time() - began


def by_ours(program: cx.ConvexProgram, solver: str, tolerance: float) -> float:
    """Return the objective that a solver reaches with a tolerance."""
    return cx.solve(program, solver, tolerance=tolerance).objective


def by_adelie(program: cx.ConvexProgram, tolerance: float) -> float:
    """Return the objective that adelie reaches at one strength."""
    import adelie

    gates = program.patterns.masks(program.X)
    (n, d), m = program.rows.shape, len(program.patterns)
    columns = np.asfortranarray((program.rows[:, None, :] * gates[:, :, None]).reshape(n, m * d))
    state = adelie.grpnet(
        adelie.matrix.dense(columns, n_threads=1),
        adelie.glm.gaussian(program.y),
        groups=np.arange(0, m * d, d),
        penalty=np.ones(m),
        lmda_path=np.array([program.strength]),
        intercept=False,
        early_exit=False,
        tol=tolerance**2,
        progress_bar=False,
    )
    weights = state.betas.toarray()[-1].reshape(m, d)
    return program.objective((gates * (program.X @ weights.T)).sum(axis=1), weights)


# Rows, features and gates of programs with cones.
TALL = [(1000, 10, 10), (4000, 10, 10), (1000, 10, 100), (2000, 20, 200)]


def tall(seed: int, clarabel: bool) -> None:
    """Print CPU seconds and gaps of the interior point method on cones with thousands of rows, and of Clarabel."""
    print("| rows | features | gates | solver | status | iterations | gap | CPU s |")
    print("|" + "---|" * 8)
    for n, d, m in TALL:
        X, y, patterns = problem(n, d, m, seed)
        program = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=1e-3, cone=True)
        for solver in ("interior_point", "cvxpy") if clarabel else ("interior_point",):
            limits = {"time_limit": 300.0, "memory_limit": 1 << 33} if solver == "cvxpy" else {}
            began = process_time()
            solution = cx.solve(program, solver, **limits)
            seconds = process_time() - began
            share = float("nan") if solution.gap is None else solution.gap / program.zero_loss
            cells = [n, d, m, solver, solution.status.name, solution.iterations, f"{share:.0e}", f"{seconds:.2f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


# Offsets (in units of the spread) and units of the features.
PLACES = [(0, 1), (10, 1), (100, 1), (1e4, 1), (0, 1e-6), (0, 1e6), (100, 1e-6), (100, 1e6), (1e4, 1e6)]

# Iterations after which admm is given up on cones, where another solver comes first.
PATIENCE = 100


def displaced(seed: int, place: tuple[float, float], penalty: str, cone: bool) -> cx.ConvexProgram:
    """Return a program of 120 rows, 4 features and 12 gates with biases, on features with an offset and a unit."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((120, 4))
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - np.maximum(points[:, 2], 0.0) + 0.1 * rng.standard_normal(120)
    X = place[1] * (points + place[0])
    patterns = cx.sample_patterns(X, 12, seed=seed, bias=True)
    program = cx.ConvexProgram(X, y - y.mean(), patterns, penalty=penalty, strength=1.0, cone=cone)
    return program.with_strength(0.02 * cx.strength_max(program))


def offsets(seeds: int) -> None:
    """Print the table of offsets and units: who converges, in how many iterations and CPU seconds, to which gap."""
    print("| program | offset | unit | solver | converged | iterations | worst | gap | worst | CPU s | to Clarabel |")
    print("|" + "---|" * 11)
    for cone, penalty, place in product((False, True), ("group_l1", "l1"), PLACES):
        solvers = ("interior_point", "admm", "cvxpy") if cone else ("admm", "fista", "cvxpy")
        runs = {
            solver: [timed(displaced(seed, place, penalty, cone), solver) for seed in range(seeds)]
            for solver in solvers
        }
        clarabel = median([seconds for seconds, _ in runs["cvxpy"]])
        for solver, results in runs.items():
            # An engine that fails outright has no answer.
            found = [solution for _, solution in results if solution is not None]
            shares = [solution.gap / solution.program.zero_loss for solution in found if solution.gap is not None]
            counts = [solution.iterations for solution in found]
            met = sum(solution.status is cx.Status.CONVERGED for solution in found)
            spent = median([seconds for seconds, _ in results])
            cells = [f"{'cones' if cone else 'gated'}, {penalty}", f"{place[0]:g}", f"{place[1]:g}", solver]
            cells += [f"{met} of {seeds}", f"{median(counts):.0f}", f"{max(counts)}", f"{median(shares):.0e}"]
            cells += [f"{max(shares):.0e}", f"{spent:.3f}", f"{spent / clarabel:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def timed(program: cx.ConvexProgram, solver: str) -> tuple[float, cx.Solution | None]:
    """Return the CPU seconds of a solver, and its answer."""
    limits = {"max_iterations": PATIENCE} if program.cone and solver == "admm" else {}
    began = process_time()
    try:
        solution = cx.solve(program, solver, **limits)
    except RuntimeError:
        solution = None
    return process_time() - began, solution


def main() -> None:
    """Run one of the comparisons."""
    parser = common.option_parser(__doc__)
    parser.add_argument("what", choices=[*SIZES, "adelie", "rows", "offsets"])
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--strength", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clarabel", action="store_true")
    parser.add_argument("--scnn-iterations", type=int, default=10_000)
    given = parser.parse_args()
    if given.what == "offsets":
        offsets(given.repeats or 12)
        return
    given.repeats = given.repeats or 5
    if given.what == "adelie":
        few_live(given.repeats, given.seed)
        return
    if given.what == "rows":
        tall(given.seed, given.clarabel)
        return
    X, y, patterns = problem(*SIZES[given.what], given.seed)
    is_cone = given.what == "cone"
    program = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=given.strength, cone=is_cone)
    print(f"{program}; {torch.get_num_threads()} threads, medians of {given.repeats}")
    if is_cone:
        cone(program, given.repeats, given.clarabel)
        return
    large = given.what == "large"
    if large:
        iteration(program)
    optimum = gated(program, {"admm": given.repeats} if large else {"admm": given.repeats, "fista": given.repeats})
    if find_spec("scnn") is None:
        print(RECORDED[given.what])
    else:
        scnn(program, optimum, 1 if large else given.repeats, given.scnn_iterations)


if __name__ == "__main__":
    main()

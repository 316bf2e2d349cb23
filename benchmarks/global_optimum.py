"""How far are sampled gates, Adam and L-BFGS from the optimum over all patterns, and how long does the proof take?

global_optimum.py table [--full]      sampled gates and the proven optimum, n = 100 to 1000, d = 2 to 8
global_optimum.py training            Adam and L-BFGS on the same objective, 20 starts, widths 10 to 200
global_optimum.py prices FILE         prices of computers (Computers.csv of Ecdat), all of these beside each other
global_optimum.py mnist               3 against 8, 2,000 images, 50 components and 784 pixels, no proof; all rivals
global_optimum.py agreement --seeds N random problems of all kinds against enumeration
global_optimum.py picture FILE        objective and bound against seconds
"""

from __future__ import annotations

import common

# isort: split
import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

import convexnn as cx
from convexnn.checks import Floats
from convexnn.datasets import mnist

# Rows, inputs, noise, strength, and the tolerance asked for.
SMALL = [
    (100, 2, 0.1, 0.01, 1e-4),
    (200, 3, 0.1, 0.01, 1e-4),
    (200, 4, 0.1, 0.01, 1e-4),
    (200, 5, 0.1, 0.1, 1e-4),
    (200, 5, 0.1, 0.01, 1e-4),
    (200, 5, 0.0, 0.01, 1e-4),
    (200, 5, 0.1, 0.001, 1e-4),
    (200, 6, 0.1, 0.01, 1e-3),
    (1000, 4, 0.1, 0.01, 1e-3),
]
LARGE = [(200, 6, 0.1, 0.01, 1e-4), (1000, 5, 0.1, 0.01, 1e-3), (200, 8, 0.1, 0.01, 1e-3)]


def planted(n: int, d: int, noise: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Return rows N(0, 1) and two planted neurons, with noise of that share of their spread."""
    rng = np.random.default_rng(seed)
    X, hidden = rng.standard_normal((n, d)), rng.standard_normal((2, d))
    y = np.maximum(X @ hidden[0], 0) - np.maximum(X @ hidden[1], 0)
    return X, y + noise * y.std() * rng.standard_normal(n)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the work returns, and its seconds of CPU."""
    began = process_time()
    return work(), process_time() - began


def sampled(X: Floats, y: Floats, gates: int, strength: float, **options: Any) -> tuple[cx.Solution, float]:
    """Return the optimum over that many sampled gates, and the seconds of CPU."""
    patterns = cx.sample_patterns(X, gates)
    program = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=strength, cone=True)
    return timed(lambda: cx.solve(program, tolerance=1e-5, **options))


def proven(X: Floats, y: Floats, strength: float, **options: Any) -> tuple[cx.GlobalOptimum, float, float]:
    """Return the proven optimum, its seconds of CPU, and those of the rounds in which prices were bounded."""
    clock = [process_time()]
    best = cx.global_optimum(X, y, strength=strength, callback=lambda _: clock.append(process_time()), **options)
    spent = np.diff(clock)
    return best, float(spent.sum()), float(sum(spent[one.iteration - 1] for one in best.rounds if one.proven))


def table(options: Namespace) -> None:
    """Sampled gates, column generation, certificate."""
    print(
        "| n, d, noise, strength | 50 | 200 | 1,000 gates | optimum | bound | gap / loss at 0 | gates | CPU s (proof) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n, d, noise, strength, tolerance in [*SMALL, *(LARGE if options.full else [])]:
        X, y = planted(n, d, noise)
        answers = [sampled(X, y, count, strength) for count in (50, 200, 1000)]
        cells = [f"{solution.objective:.5f} ({seconds:.1f} s)" for solution, seconds in answers]
        best, seconds, proof = proven(X, y, strength, tolerance=tolerance)
        gap = (best.objective - best.bound) / best.program.zero_loss
        cells += [f"{best.objective:.5f}", f"{best.bound:.5f}", f"{gap:.1e}"]
        cells += [f"{len(best.live)}", f"{seconds:.1f} ({proof:.1f})"]
        print(f"| {n}, {d}, {noise:g}, {strength:g} | {' | '.join(cells)} |", flush=True)


def network_objective(parts: Any, X: Any, y: Any, strength: float) -> Any:
    """Return the mean loss plus strength / 2 times the sum of squares of all weights, in torch."""
    hidden, out = parts
    residual = torch.relu(X @ hidden.T) @ out - y
    return 0.5 * residual.square().mean() + 0.5 * strength * (hidden.square().sum() + out.square().sum())


def adam(X: Floats, y: Floats, strength: float, width: int, seed: int, steps: int = 3000) -> float:
    """Return the lowest objective of Adam, with a step that falls to zero."""
    rows, target = torch.as_tensor(X), torch.as_tensor(y)
    torch.manual_seed(seed)
    hidden = (torch.randn(width, X.shape[1], dtype=torch.float64) / X.shape[1] ** 0.5).requires_grad_()
    out = (torch.randn(width, dtype=torch.float64) / width**0.5).requires_grad_()
    optimiser = torch.optim.Adam([hidden, out], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best = float("inf")
    for _ in range(steps):
        optimiser.zero_grad()
        loss = network_objective((hidden, out), rows, target, strength)
        loss.backward()
        best = min(best, float(loss.detach()))
        optimiser.step()
        schedule.step()
    return best


def lbfgs(X: Floats, y: Floats, strength: float, width: int, seed: int) -> float:
    """Return the objective where scipy's L-BFGS ends."""
    n, d = X.shape
    rng = np.random.default_rng(seed)
    start = np.concatenate([rng.standard_normal(width * d) / d**0.5, rng.standard_normal(width) / width**0.5])

    def value(flat: Floats) -> tuple[float, Floats]:
        hidden, out = flat[: width * d].reshape(width, d), flat[width * d :]
        inner = X @ hidden.T
        active = np.maximum(inner, 0.0)
        residual = (active @ out - y) / n
        slope = ((inner > 0) * residual[:, None] * out).T @ X + strength * hidden
        loss = 0.5 * n * residual @ residual + 0.5 * strength * (flat @ flat)
        return float(loss), np.concatenate([slope.ravel(), active.T @ residual + strength * out])

    return float(minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 20000}).fun)


def training(options: Namespace) -> None:
    """Adam and L-BFGS beside the proven optimum."""
    for n, d, strength in [(200, 5, 0.01), (200, 5, 0.001)]:
        X, y = planted(n, d, 0.1)
        best, seconds, _ = proven(X, y, strength, tolerance=1e-4)
        print(
            f"n {n}, d {d}, strength {strength}: {best.objective:.6f}, bound {best.bound:.6f}, {len(best.live)} gates, "
            f"{seconds:.1f} s CPU; loss at zero {best.program.zero_loss:.4f}"
        )
        beside(X, y, strength, best.bound, options)


def beside(X: Floats, y: Floats, strength: float, level: float, options: Namespace) -> None:
    """Print what Adam and L-BFGS reach from all starts, as shares above a level."""
    for width in options.widths:
        for name, method in (("Adam", adam), ("L-BFGS", lbfgs)):
            began = process_time()
            values = [method(X, y, strength, width, seed) for seed in range(options.starts)]
            above = [value / level - 1 for value in (min(values), float(np.median(values)), max(values))]
            print(
                f"  {name:7} width {width:3}: best {min(values):.6f}, above by {above[0]:.2%} (best), {above[1]:.2%} "
                f"(median), {above[2]:.2%} (worst) of {len(values)} starts; {process_time() - began:.1f} s CPU",
                flush=True,
            )


def computers(file: str, count: int) -> tuple[Floats, Floats]:
    """Return rows of the table of computers, standardised, a column of ones last, and their log prices."""
    with open(file, encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    names = ("speed", "hd", "ram", "screen", "ads", "trend")
    numbers = np.array([[float(row[name]) for name in names] for row in table])
    answers = np.array([[row[name] == "yes" for name in ("cd", "multi", "premium")] for row in table], dtype=float)
    target = np.log([float(row["price"]) for row in table])
    kept = np.random.default_rng(0).permutation(len(table))[:count]
    X, y = np.concatenate([numbers, answers], axis=1)[kept], target[kept]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.concatenate([X, np.ones((len(X), 1))], axis=1), (y - y.mean()) / y.std()


def prices(options: Namespace) -> None:
    """Column generation without a proof beside sampled gates, Adam and L-BFGS."""
    X, y = computers(options.file, options.rows)
    limits: dict[str, Any] = {"tolerance": 1e-4, "time_limit": options.seconds}
    best, seconds, _ = proven(X, y, options.strength, **limits)
    print(
        f"n {len(X)}, d {X.shape[1]}: {len(best.live)} gates, {best.objective:.6f}, {seconds:.1f} s CPU; {best.ending}"
    )
    print("   ", [(one.gates, round(one.best, 6), round(one.seconds, 1)) for one in best.rounds], flush=True)
    for count in (50, 500):
        solution, spent = sampled(X, y, count, options.strength, time_limit=options.seconds)
        print(
            f"  {count} sampled: {solution.objective:.6f} ({solution.status.name}, gap {solution.gap:.1e}), above by "
            f"{solution.objective / best.objective - 1:.2%}; {spent:.1f} s CPU",
            flush=True,
        )
    beside(X, y, options.strength, best.objective, options)


def threes_and_eights(count: int, components: int | None) -> tuple[Floats, Floats]:
    """Return images of 3 and 8, centred and at unit scale, or their first components; targets -1 and +1."""
    X, y = mnist().parts[:2]
    kept = np.flatnonzero((y == 3) | (y == 8))[:count]
    rows = X[kept].reshape(len(kept), -1).astype(np.float64)
    rows = rows - rows.mean(axis=0)
    if components is not None:
        rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:components].T
    return rows / np.sqrt(np.square(rows).sum(axis=1).mean()), np.where(y[kept] == 8, 1.0, -1.0)


def digits(options: Namespace) -> None:
    """Column generation without a proof beside ten times as many sampled gates."""
    for components, cone in [(50, True), (None, False)]:
        X, y = threes_and_eights(options.rows, components)
        limits: dict[str, Any] = {"tolerance": 1e-3, "time_limit": options.seconds}
        best, seconds, _ = proven(X, y, options.strength, cone=cone, **limits)
        print(f"d {X.shape[1]}, cone {cone}: {len(best.live)} gates, {best.objective:.5f} after {seconds:.1f} s CPU")
        print("   ", [(one.gates, round(one.best, 5), round(one.seconds, 1)) for one in best.rounds], best.ending)
        for times in options.sampled:
            patterns = cx.sample_patterns(X, times * len(best.live))
            program = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=options.strength, cone=cone)
            began = process_time()
            solution = cx.solve(program, "admm", **limits)
            gap = 0.0 if solution.gap is None else solution.gap
            print(
                f"  {len(patterns)} sampled: {solution.objective:.5f}, at least {solution.objective - gap:.5f} over "
                f"them, {process_time() - began:.1f} s CPU, {solution.status.name}",
                flush=True,
            )
        if cone:
            beside(X, y, options.strength, best.objective, options)


def drawn(seed: int, losses: list[str]) -> tuple[Floats, Any, dict[str, Any]]:
    """Return a random problem of a seed, small enough to enumerate: rows, targets, and the arguments of both."""
    rng = np.random.default_rng(seed)
    loss, penalty = losses[seed % len(losses)], ("group_l1", "l1")[seed // 4 % 2]
    cone, d = bool(seed // 8 % 2), int(rng.integers(1, 4))
    n = int(rng.integers(5, {1: 61, 2: 41, 3: 21}[d]))
    bias = bool(rng.integers(2)) and d == 1
    X = rng.standard_normal((n, d))
    y: Any = np.maximum(X @ rng.standard_normal(d), 0) - np.maximum(X @ rng.standard_normal(d), 0)
    y = y + 0.1 * rng.standard_normal(n)
    if loss == "squared" and rng.integers(3) == 0:
        y = np.column_stack([y, rng.standard_normal(n)])
    elif loss != "squared":
        y = y > np.median(y) if loss == "logistic" else np.digitize(y, np.quantile(y, [0.3, 0.6]))
    every = cx.sample_patterns(X, kind="enumerate", bias=bias)
    program = cx.ConvexProgram(X, y, every, loss=loss, penalty=penalty, strength=1.0, cone=cone)
    strength = cx.strength_max(program) * 10 ** -rng.uniform(0.2, 2)
    return X, y, {"program": program.with_strength(strength), "bias": bias}


def agreement(options: Namespace) -> None:
    """Random problems of all losses and both kinds against enumeration."""
    worst: dict[str, list[tuple[float, float, bool, bool]]] = {}
    for seed in range(options.first, options.first + options.seeds):
        X, y, known = drawn(seed, options.losses)
        program, bias = known["program"], known["bias"]
        began = process_time()
        reference = cx.solve(program, tolerance=0.1 * options.tolerance)
        middle = process_time()
        asked = {"loss": program.loss.name, "penalty": program.penalty.name, "cone": program.cone, "bias": bias}
        found = cx.global_optimum(X, y, strength=program.strength, tolerance=options.tolerance, **asked)
        off = (found.objective - reference.objective) / program.zero_loss
        over = (found.bound - reference.objective) / program.zero_loss
        kind = f"{program.loss.name} {program.penalty.name} {'cones' if program.cone else 'gated'}"
        loose = (reference.gap or 0.0) / program.zero_loss
        worst.setdefault(kind, []).append((abs(off), over, found.status.complete, loose <= options.tolerance))
        if abs(off) > 1e-6 or over > 1e-13 or not found.status.complete:
            print(
                f"seed {seed}: n {len(X)} d {X.shape[1]} {kind}: off {off:.1e} ({found.status.name}, gap "
                f"{found.gap / program.zero_loss:.1e}; reference {reference.status.name}, gap {loose:.1e}), over "
                f"{over:.1e}; {middle - began:.1f} s, {process_time() - middle:.1f} s",
                flush=True,
            )
        if (seed + 1) % 20 == 0:
            print(f"seed {seed} done, {process_time():.0f} s CPU in all", flush=True)
    print("| loss, penalty, kind | problems | objectives differ by | bound above by | proven | reference proven |")
    print("|---|---|---|---|---|---|")
    for kind, rows in sorted(worst.items()):
        off, over = max(row[0] for row in rows), max(0.0, *(row[1] for row in rows))
        proven_too = sum(row[3] for row in rows)
        print(f"| {kind} | {len(rows)} | {off:.1e} | {over:.1e} | {sum(row[2] for row in rows)} | {proven_too} |")


def picture(options: Namespace) -> None:
    """Objective and bound against seconds, n = 200, d = 5."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    X, y = planted(200, 5, 0.1)
    best = cx.global_optimum(X, y, strength=0.01, tolerance=1e-4)
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    best.plot(axes)
    for count, colour in ((50, "C2"), (200, "C3"), (1000, "C4")):
        axes.axhline(
            sampled(X, y, count, 0.01)[0].objective, color=colour, linestyle=":", label=f"{count} sampled gates"
        )
    axes.legend()
    axes.set_title("200 rows, 5 inputs, strength 0.01")
    figure.savefig(options.file, dpi=100)


def main() -> None:
    """Run the part that the command line names."""
    parser: ArgumentParser = common.option_parser(__doc__)
    parts = parser.add_subparsers(required=True)
    chosen = {
        "table": table,
        "training": training,
        "prices": prices,
        "mnist": digits,
        "agreement": agreement,
        "picture": picture,
    }
    made = {name: parts.add_parser(name) for name in chosen}
    for name, part in made.items():
        part.set_defaults(run=chosen[name])
    made["table"].add_argument("--full", action="store_true")
    for name in ("training", "prices", "mnist"):
        made[name].add_argument("--starts", type=int, default=3 if name == "mnist" else 20)
        made[name].add_argument("--widths", type=int, nargs="+", default=[10, 50, 200])
    made["prices"].add_argument("file")
    made["prices"].add_argument("--rows", type=int, default=1000)
    made["prices"].add_argument("--strength", type=float, default=0.001)
    made["prices"].add_argument("--seconds", type=float, default=240)
    made["mnist"].add_argument("--sampled", type=int, nargs="*", default=[1, 10], help="times as many gates")
    made["mnist"].add_argument("--rows", type=int, default=2000)
    made["mnist"].add_argument("--strength", type=float, default=0.01)
    made["mnist"].add_argument("--seconds", type=float, default=240)
    made["agreement"].add_argument("--seeds", type=int, default=300)
    made["agreement"].add_argument("--first", type=int, default=0)
    made["agreement"].add_argument("--tolerance", type=float, default=1e-7)
    losses = ["squared", "squared", "logistic", "softmax"]
    made["agreement"].add_argument("--losses", nargs="+", default=losses, choices=sorted(set(losses)))
    made["picture"].add_argument("file")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()

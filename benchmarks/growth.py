"""Fit how time and memory grow with rows, inputs, gates or neurons, weights and outputs, for each kind of work.

    python benchmarks/growth.py [niht recover ...] [--steps 3] [--scale 1.0] [--repeats 1] [--picture growth.png]
                                [--json growth.json]

Each work has a fixed number of iterations, candidates or passes, so that what grows is the work of one. One size is
doubled at a time, `--steps` sizes in all, the others stay as in CASES (times `--scale`). An exponent is the slope of
the line through the logarithms: of CPU seconds, the least of the repeats, and of the peak of resident memory above what
was there before. Below a few tenths of a second, and a few megabytes, fixed costs make exponents small: larger scales
tell more. Linux alone: the peak is read from /proc.
"""

from __future__ import annotations

import common

# isort: split
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.studies.harness.resources import peak_above, reset_peak
from convexnn.tables import Table

Sizes = dict[str, int]
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What makes the work for some sizes, its smallest sizes, and those that are doubled."""

    work: Callable[[Sizes], Work]
    sizes: dict[str, int]
    axes: str


@dataclass(frozen=True)
class Growth:
    """Sizes along one axis, seconds of CPU and megabytes at each, and their exponents."""

    case: str
    axis: str
    sizes: list[int]
    seconds: list[float]
    megabytes: list[float]

    @property
    def exponents(self) -> tuple[float, float]:
        """Of time and of memory."""
        return exponent(self.sizes, self.seconds), exponent(self.sizes, self.megabytes)


def exponent(sizes: list[int], values: list[float]) -> float:
    """Return the slope of the line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0])


def noisy(sizes: Sizes) -> tuple[Floats, Floats]:
    """Return Gaussian rows (n, d) and a sum of m neurons with s weights in all and noise: no fit is exact."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((sizes["n"], sizes["d"]))
    layer = np.zeros((sizes["m"], sizes["d"]))
    layer.flat[rng.choice(layer.size, min(sizes["s"], layer.size), replace=False)] = 1.0
    return X, np.maximum(X @ layer.T, 0.0).sum(1) + 0.5 * rng.standard_normal(sizes["n"])


def niht(sizes: Sizes) -> Work:
    """Return 20 iterations of normalised hard thresholding on plain rows, m gates, s weights."""
    X, y = noisy(sizes)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, sizes["m"], seed=0), budget=sizes["s"])
    return lambda: cx.solve(program, "niht", max_iterations=20, whiten=False)


def recover(sizes: Sizes) -> Work:
    """Return 6 candidates of a recovery, m neurons, s weights: few enough rows that each sees all, ample for s."""
    X, y = noisy(sizes)

    def enough(state: cx.RecoveryProgress) -> None:
        if state.iteration == 6:
            raise KeyboardInterrupt

    return lambda: cx.recover(X, y, sizes["s"], sizes["m"], n_restarts=1, callback=enough)


def fit_network(sizes: Sizes) -> Work:
    """Return 8 passes of training, m neurons, s weights, k outputs, without a search and a refit."""
    X, y = noisy(sizes)
    Y = np.stack([np.roll(y, i) for i in range(sizes["k"])], axis=1)
    options: dict[str, Any] = {"epochs": 8, "batch_size": 256, "patience": 0, "linear": False, "polish": False}
    return lambda: cx.fit_network(X, Y, sizes["s"], sizes["m"], **options)


def convex(sizes: Sizes, cone: bool) -> cx.ConvexProgram:
    """Return a program with m gates."""
    X, y = noisy(sizes | {"s": 10})
    patterns = cx.sample_patterns(X, sizes["m"], seed=0)
    return cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02, cone=cone)


def admm(sizes: Sizes) -> Work:
    """Return 50 iterations of ADMM on a gated program."""
    program = convex(sizes, cone=False)
    return lambda: cx.solve(program, "admm", max_iterations=50, tolerance=0.0)


def interior_point(sizes: Sizes) -> Work:
    """Return 10 iterations of the interior point method on a program with cones."""
    program = convex(sizes, cone=True)
    return lambda: cx.solve(program, "interior_point", max_iterations=10, tolerance=0.0)


def find_adversarial(sizes: Sizes) -> Work:
    """Return the proof that a dense network keeps its class in a ball that bounds decide: m neurons, k outputs."""
    rng = np.random.default_rng(0)
    shapes = ((sizes["m"], sizes["d"]), (sizes["m"], sizes["m"]), (sizes["k"], sizes["m"]))
    layers = [(rng.standard_normal(shape) / shape[1] ** 0.5, np.zeros(shape[0])) for shape in shapes]
    network = cx.SparseReLUNetwork(layers)
    region = verify.LinfBall(rng.standard_normal(sizes["d"]), 1e-5)
    return lambda: [verify.find_adversarial(network, region) for _ in range(5)]


CASES = {
    "niht": Case(niht, {"n": 20000, "d": 50, "m": 50, "s": 200}, "ndms"),
    "recover": Case(recover, {"n": 1000, "d": 40, "m": 10, "s": 12}, "ndms"),
    "fit_network": Case(fit_network, {"n": 10000, "d": 200, "m": 100, "s": 1000, "k": 5}, "ndmsk"),
    "admm": Case(admm, {"n": 8000, "d": 20, "m": 20}, "ndm"),
    "interior_point": Case(interior_point, {"n": 4000, "d": 10, "m": 10}, "ndm"),
    "find_adversarial": Case(find_adversarial, {"d": 200, "m": 400, "k": 10}, "dmk"),
}


def measured(work: Work, repeats: int) -> tuple[float, float]:
    """Return the least CPU seconds of the repeats and the peak of memory of the first, in MB."""
    base, seconds, peak = reset_peak(), list[float](), 0.0
    for count in range(repeats):
        began = process_time()
        work()
        seconds.append(process_time() - began)
        peak = peak if count else peak_above(base)
    return min(seconds), peak


def growth(name: str, axis: str, steps: int, scale: float, repeats: int) -> Growth:
    """Measure one work along one axis."""
    case = CASES[name]
    base = {size: max(1, round(scale * value)) for size, value in case.sizes.items()}
    sizes = [base[axis] * 2**step for step in range(steps)]
    found = [measured(case.work(base | {axis: size}), repeats) for size in sizes]
    return Growth(name, axis, sizes, [seconds for seconds, _ in found], [peak for _, peak in found])


def draw(found: list[Growth], path: Path) -> None:
    """Draw seconds against the factor of each size, one panel a work, with slope 1 dotted."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(one.case for one in found))
    figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained", squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        for one in (one for one in found if one.case == name):
            factors = np.array(one.sizes) / one.sizes[0]
            label = f"{one.axis}: {one.exponents[0]:.2f}"
            ax.loglog(factors, np.array(one.seconds) / one.seconds[0], "o-", base=2, label=label)
        ax.loglog(factors, factors, "k:", base=2)
        ax.set(title=name, xlabel="times the smallest size", ylabel="times its CPU seconds")
        ax.legend(title="exponent of time")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print a table, and draw where asked to."""
    parser = common.option_parser(__doc__)
    parser.add_argument("cases", nargs="*", metavar="WORK", help=f"of {', '.join(CASES)}; default all")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if unknown := [name for name in given.cases if name not in CASES]:
        parser.error(f"the work {unknown[0]!r} is unknown; expected one of: {', '.join(CASES)}")
    found = list[Growth]()
    for name in given.cases or CASES:
        warm = CASES[name]
        warm.work({size: max(2, value // 4) for size, value in warm.sizes.items()})()
        for axis in warm.axes:
            found.append(growth(name, axis, given.steps, given.scale, given.repeats))
            print(f"{name} {axis} {found[-1].sizes} {np.round(found[-1].seconds, 3).tolist()} s", flush=True)
    header = ("work", "size", "from", "to", "seconds", "MB", "exponent of time", "exponent of memory")
    print(Table.of(header, [_cells(one) for one in found]).to_markdown())
    if given.json is not None:
        given.json.write_text(json.dumps([vars(one) for one in found]), encoding="utf-8")
    if given.picture is not None:
        draw(found, given.picture)


def _cells(one: Growth) -> tuple[str, ...]:
    time, memory = one.exponents
    spans = (f"{one.seconds[0]:.2f} to {one.seconds[-1]:.2f}", f"{one.megabytes[0]:.0f} to {one.megabytes[-1]:.0f}")
    return (one.case, one.axis, str(one.sizes[0]), str(one.sizes[-1]), *spans, f"{time:.2f}", f"{memory:.2f}")


if __name__ == "__main__":
    main()

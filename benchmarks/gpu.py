"""What a card does: are products right, how near to its own rates are they, and how often does the host wait for it?

    python benchmarks/gpu.py [--device cuda|cpu] [--rows 50000] [--features 100] [--gates 1000] [--seconds 60]

Without a card the same runs on the CPU with small sizes, and what only a card can tell is listed as not measured. In
turn: products in float32 and float64 against NumPy's float64; the rate of a bare matrix product, the bandwidth of a
copy, and the pattern operator beside the time that these two allow; host synchronisations of an iteration of each
thresholding method (calls that hand a number, a count or entries of the device to Python, or an array to the device,
counted on a CPU too); a cone program on torch's arrays against NumPy's, and the seconds of `interior_point` and `admm`
on one of 20,000 rows and 500 gates (on a CPU 500 and 50); seconds of `recover` on planted weights and of `fit_network`
on labels.
"""

from __future__ import annotations

import common

# isort: split
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import convexnn as cx
from convexnn.checks import Floats
from convexnn.linear.operator import PatternOperator
from convexnn.solvers.common.descent import Limits, Progress, descend
from convexnn.solvers.convex.arrays import ArrayLibrary, NumpyArrays, TorchArrays
from convexnn.solvers.convex.interior_steps import InteriorPoint

# Operators that wait for the device: a number, a count of entries, an answer or the entries themselves go to the host.
WAITING = (
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::isin",
    "aten::linalg_cholesky",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_consecutive",
)

# Operators that do where an index is a mask, whose entries have to be counted.
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")

# Calls from Python that move entries from a device, or to it: on a CPU no operator shows them.
MOVING = ("cpu", "tolist", "__array__")
MOVED_TO = ("tensor", "as_tensor")

# Sizes on a CPU, and largest relative errors of products by precision.
SMALL = {"rows": 5000, "features": 100, "gates": 100, "seconds": 5.0}
LARGE = {"rows": 50_000, "features": 100, "gates": 1000, "seconds": 60.0}
ERRORS = {"float32": 1e-4, "float64": 1e-12}

# Rows and gates of the cone program by device; its features, and bytes for its systems.
CONES = {"cpu": (500, 50), "cuda": (20_000, 500)}
CONE_FEATURES, CONE_BYTES = 20, 1 << 34

# Iterations over which synchronisations are averaged.
ITERATIONS = 20


class Waits:
    """Counts the calls by which the host waits for a device, on a CPU too; in a `with` statement."""

    def __init__(self) -> None:
        self.count = 0
        self.modes = ExitStack()

    def __enter__(self) -> Waits:
        """Begin to count."""
        self.modes.enter_context(_Operators(self))
        self.modes.enter_context(_Moves(self))
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.modes.close()


class _Operators(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call of an operator, and make it."""
        name = func.name().partition(".")[0]
        by_mask = name in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        self.waits.count += name in WAITING or by_mask
        return func(*args, **(kwargs or {}))


class _Moves(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call of Python, and make it."""
        name = getattr(func, "__name__", "")
        uploads = name in MOVED_TO and not isinstance(args[0], torch.Tensor)
        self.waits.count += name in MOVING or uploads
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Bench:
    """The device and the sizes."""

    device: str
    rows: int
    features: int
    gates: int
    seconds: float

    def timed(self, work: Callable[[], object], repeats: int = 5) -> float:
        """Return the median seconds of a call, the device's work included."""

        def whole() -> None:
            work()
            if self.device == "cuda":
                torch.cuda.synchronize()

        return common.median_seconds(whole, repeats)

    def data(self) -> tuple[Floats, Floats]:
        """Return rows, and what five neurons of ten weights make of them."""
        made = cx.datasets.planted(5, 10, n=self.rows, d=self.features, seed=0)
        return made.X, made.y


def check_products(bench: Bench) -> bool:
    """Print the relative errors of the products; return whether all are within what their precision allows."""
    X, _ = bench.data()
    patterns = cx.sample_patterns(X, bench.gates, seed=0)
    rng = np.random.default_rng(0)
    weights, residual = rng.standard_normal((len(patterns), bench.features)), rng.standard_normal((bench.rows, 1))
    masks = (X @ patterns.generators.T >= 0.0).astype(float)
    forward, adjoint = ((X @ weights.T) * masks).sum(1, keepdims=True), (masks * residual).T @ X
    right = True
    for dtype, allowed in ERRORS.items():
        operator = PatternOperator(X, patterns, device=bench.device, dtype=dtype)
        found = (operator.forward(operator.tensor(weights)), operator.adjoint(operator.tensor(residual)))
        errors = [
            float(np.linalg.norm(part.cpu().double().numpy() - truth) / np.linalg.norm(truth))
            for part, truth in zip(found, (forward, adjoint), strict=True)
        ]
        right &= max(errors) <= allowed
        print(f"products in {dtype}: relative errors {errors[0]:.1e}, {errors[1]:.1e} (at most {allowed:.0e})")
    return right


def time_products(bench: Bench) -> None:
    """Print the device's own rates, and the operator beside what they allow."""
    size = 4096 if bench.device == "cuda" else 1024
    square, big = torch.randn(size, size, device=bench.device), torch.randn(1 << 24, device=bench.device)
    rate = 2.0 * size**3 / bench.timed(lambda: square @ square)
    band = 8.0 * len(big) / bench.timed(big.clone)
    print(f"rates: {rate / 1e9:.0f} GFLOP/s in float32, a copy {band / 1e9:.0f} GB/s")
    X, _ = bench.data()
    patterns = cx.sample_patterns(X, bench.gates, seed=0)
    operator = PatternOperator(X, patterns, device=bench.device)
    weights = torch.randn(operator.in_shape, device=bench.device)
    residual = torch.randn(bench.rows, 1, device=bench.device)
    flops, moved = (
        2.0 * bench.rows * bench.features * len(patterns),
        bench.rows * (4.0 * bench.features + len(patterns) / 8.0),
    )
    allowed = max(flops / rate, moved / band)
    for name, call in (("forward", lambda: operator.forward(weights)), ("adjoint", lambda: operator.adjoint(residual))):
        taken = bench.timed(call)
        print(f"operator, {name}: {1e3 * taken:.2f} ms, {taken / allowed:.1f} times what the two rates allow")


def count_waits(bench: Bench) -> None:
    """Print the host synchronisations of an iteration of each thresholding method."""
    X, y = bench.data()
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, min(bench.gates, 100), seed=0), budget=50)
    for solver in ("iht", "niht", "htp", "cosamp"):
        counts = []
        for iterations in (ITERATIONS, 2 * ITERATIONS):
            with Waits() as waits:
                found = cx.solve(program, solver, whiten=False, device=bench.device, max_iterations=iterations)
            counts.append((waits.count, found.iterations))
        more, further = counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]
        told = (
            f"{more / further:.1f} an iteration"
            if further
            else f"{counts[0][0]} in {counts[0][1]} iterations, its last"
        )
        print(f"host synchronisations of {solver}: {told}")


def cone_program(rows: int, gates: int) -> cx.ConvexProgram:
    """Return a program with cones on planted data."""
    made = cx.datasets.planted(5, 10, n=rows, d=CONE_FEATURES, seed=0)
    patterns = cx.sample_patterns(made.X, gates, seed=0)
    return cx.ConvexProgram(made.X, made.y, patterns, penalty="group_l1", strength=1e-3, cone=True)


def check_cones(bench: Bench) -> bool:
    """Print how far objectives on the device's arrays and NumPy's differ; return whether by no more than the goal."""
    program, tolerance = cone_program(300, 20), 1e-8

    def objective(arrays: ArrayLibrary) -> float:
        method = InteriorPoint(program, program.targets[:, 0], tolerance, arrays=arrays)
        return descend(method.begin(), method.step, Limits(100)).answer.objective

    here, there = objective(NumpyArrays()), objective(TorchArrays(torch.device(bench.device)))
    difference = abs(here - there) / program.zero_loss
    print(f"cones, torch's arrays against NumPy's: objectives differ by {difference:.1e} of the loss at zero")
    return difference <= tolerance


def time_cones(bench: Bench) -> None:
    """Print the seconds of both solvers of cones, with those before the iterations and after."""
    rows, gates = CONES[bench.device]
    program = cone_program(rows, gates)
    for solver in ("interior_point", "admm"):
        told: list[Progress] = []
        options = {"device": bench.device, "time_limit": bench.seconds, "memory_limit": CONE_BYTES}
        began = perf_counter()
        found = cx.solve(program, solver, callback=told.append, **options)
        taken, inside = perf_counter() - began, told[-1].seconds if told else 0.0
        print(
            f"{solver}, {rows} rows, {CONE_FEATURES} features, {gates} gates: {found.status.name}, {found.iterations} "
            f"iterations in {inside:.1f} s and {taken - inside:.1f} s beside them"
        )


def time_searches(bench: Bench) -> None:
    """Print the seconds of a recovery and of a fit of labels."""
    X, y = bench.data()
    began = perf_counter()
    found = cx.recover(X, y, 10, 5, device=bench.device, time_limit=bench.seconds)
    print(f"recover, 5 neurons and 10 weights: {found.status.name} after {perf_counter() - began:.1f} s")
    labels = (y > np.median(y)).astype(int)
    began = perf_counter()
    fit = cx.fit_network(
        X, labels, 100, 20, loss="logistic", epochs=5, device=bench.device, time_limit=bench.seconds, polish=False
    )
    print(f"fit_network, labels, 5 passes: loss {fit.objective:.3f} after {perf_counter() - began:.1f} s")


def main() -> int:
    """Read the command line and print what was measured; 1 where a product or a cone program is wrong."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in SMALL.items():
        parser.add_argument(f"--{name}", type=type(value))
    given = parser.parse_args()
    sizes: dict[str, Any] = {**(LARGE if given.device == "cuda" else SMALL)}
    sizes |= {name: value for name, value in vars(given).items() if value is not None}
    bench = Bench(**sizes)
    card = torch.cuda.get_device_name() if bench.device == "cuda" else "no card"
    print(f"{card}, torch {torch.__version__}, n={bench.rows}, d={bench.features}, {bench.gates} gates")
    print(f"TF32 in matrix products: {torch.backends.cuda.matmul.allow_tf32}")
    right = check_products(bench)
    right &= check_cones(bench)
    time_products(bench)
    count_waits(bench)
    time_cones(bench)
    time_searches(bench)
    if bench.device == "cpu":
        print("not measured without a card: its rates, times of products and cones on it, how long the host waits")
    print("not measured here: the published solver's step, which needs CuPy and its code")
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())

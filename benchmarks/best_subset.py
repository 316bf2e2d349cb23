"""Prove the best support of a planted cardinality program, and hold hard thresholding against it.

    python benchmarks/best_subset.py [--size small|large|huge|wide] [--amplitudes normal|uniform] [--noise 0.1]
        [--seeds 10] [--time-limit 60]

X is Gaussian with 20 features, the gates are Gaussian; the planted weights are N(0, 1), or of either sign and of size
1 to 2, the noise a share of the signal's standard deviation. Seconds are those of the proof, on one thread, from a
greedy start; the gap is relative to the loss at zero weights. Hard thresholding attains the optimum if its loss is
within 1e-6 of the loss at zero weights of it.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from time import perf_counter

import numpy as np

import convexnn as cx
from convexnn.solvers.subset.best_subset import BestSubset, best_subset
from convexnn.solvers.thresholding.hard_thresholding import hard_thresholding

# Rows, gates and budget; 20 features each, so 100, 200, 1,000 and, more than rows, 200 columns.
SIZES = {"small": (150, 5, 5), "large": (300, 10, 8), "huge": (1500, 50, 8), "wide": (80, 10, 6)}


def planted(size: str, amplitudes: str, noise: float, seed: int) -> cx.ConvexProgram:
    """Return a program whose target is a sparse combination of its columns, and noise."""
    n, gates, budget = SIZES[size]
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 20))
    patterns = cx.sample_patterns(X, gates, seed=rng)
    support = rng.choice(patterns.features.size, budget, replace=False)
    weights = rng.standard_normal(budget)
    if amplitudes == "uniform":
        weights = np.sign(weights) * rng.uniform(1.0, 2.0, budget)
    columns = (patterns.masks(X)[:, :, None] * X[:, None, :]).reshape(n, -1)
    signal = columns[:, support] @ weights
    return cx.ConvexProgram(X, signal + noise * signal.std() * rng.standard_normal(n), patterns, budget=budget)


def proven(program: cx.ConvexProgram, time_limit: float) -> tuple[BestSubset, float]:
    """Return the answer over all columns, and the seconds that it took."""
    assert program.budget is not None
    columns = program.columns(np.flatnonzero(program.patterns.features))
    began = perf_counter()
    answer = best_subset(columns, program.y, program.budget, time_limit=time_limit)
    return answer, perf_counter() - began


def main() -> None:
    """Print one row a seed, and a summary."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--amplitudes", choices=["normal", "uniform"], default="normal")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--time-limit", type=float, default=60.0)
    chosen = parser.parse_args()
    print("seed  seconds   nodes  proven      gap   ours / optimum  attained")
    times, attained = list[float](), 0
    for seed in range(chosen.seeds):
        program = planted(chosen.size, chosen.amplitudes, chosen.noise, seed)
        answer, seconds = proven(program, chosen.time_limit)
        zero = float(program.y @ program.y) / (2 * len(program.y))
        gap, loss = (answer.objective - answer.bound) / zero, hard_thresholding(program).objective
        hit, done = loss - answer.objective <= 1e-6 * zero, answer.status is cx.Status.CONVERGED
        times += [seconds] * done
        attained += hit
        row = f"{seed:4} {seconds:8.2f} {answer.nodes:7}  {'yes' if done else 'no':6} {gap:8.1e}"
        print(f"{row} {loss / answer.objective:15.4f}  {'yes' if hit else 'no'}", flush=True)
    worst = f", slowest proof {max(times):.2f} s" if times else ""
    print(f"{len(times)} of {chosen.seeds} proven{worst}; hard thresholding attains the best known in {attained}")


if __name__ == "__main__":
    main()

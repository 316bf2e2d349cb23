"""Solve the convex ReLU programs of a small data set directly, and hold the solvers against each other.

python examples/convex_programs.py
"""

from __future__ import annotations

import numpy as np

import convexnn as cx


def main() -> None:
    """Sample patterns, solve the gated and the ReLU program, walk down a path, and prove a best subset."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 6))
    y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2] + 0.5, 0) + 0.1 * rng.standard_normal(120)
    patterns = cx.sample_patterns(X, 30, bias=True, seed=0)
    print(patterns)

    gated = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02)
    print("\nThe gated program, by every solver that can do it:\n")
    print(cx.crosscheck(gated))

    relu = cx.solve(cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02, cone=True))
    print("\nThe ReLU program, whose neurons are those of the network:\n")
    print(relu)

    print("\nFewer neurons, the stronger the penalty; each solved from the one before:\n")
    print(cx.regularization_path(gated, n_strengths=6, ratio=0.01))

    print("\nThe best 4 weights of all, proven:\n")
    print(cx.solve(cx.ConvexProgram(X, y, patterns, budget=4), "exact"))


if __name__ == "__main__":
    main()

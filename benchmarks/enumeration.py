"""Time the ways to activation patterns: drawn, enumerated whole or by order, and merged.

    python benchmarks/enumeration.py

One run each, masks and merging included.
"""

from __future__ import annotations

import common  # noqa: F401  (first: it says how many threads the libraries have)

# isort: split
from time import perf_counter
from typing import Any

import numpy as np

from convexnn.patterns.activation_patterns import sample_patterns

CASES: list[tuple[tuple[int, int], dict[str, Any]]] = [
    ((5000, 100), {"n_patterns": 20_000}),
    ((5000, 100), {"n_patterns": 20_000, "merge_within": 0.01}),
    ((500, 20), {"kind": "enumerate", "order": 2}),
    ((500, 20), {"kind": "enumerate", "order": 1, "bias": True}),
    ((30, 4), {"kind": "enumerate"}),
    ((80, 4), {"kind": "enumerate"}),
    ((300, 2), {"kind": "enumerate", "bias": True}),
    ((17, 12), {"kind": "enumerate"}),
]


def main() -> None:
    """Print one row a case."""
    rng = np.random.default_rng(0)
    for shape, options in CASES:
        X = rng.standard_normal(shape)
        began = perf_counter()
        patterns = sample_patterns(X, **options)
        print(f"{perf_counter() - began:6.2f} s  n={shape[0]}, d={shape[1]}: {patterns}")


if __name__ == "__main__":
    main()

"""Gates in hand: which of many candidates are new, and the patterns of those that are held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.patterns.activation_patterns import ActivationPatterns, masks

# Candidates whose cosine with a better one is above this are left for later: they tend to say the same.
ALIKE = 0.98


def mask_keys(rows: Floats, gates: Floats) -> list[bytes]:
    """Return a name of each gate's pattern on the rows; empty for one that is never active."""
    active = masks(rows, gates)
    packed = np.packbits(active, axis=0)
    return [column.tobytes() if column.any() else b"" for column in packed.T]


def new_gates(rows: Floats, candidates: Floats, held: set[bytes], most: int, apart: bool = True) -> Floats:
    """Return at most `most` of the candidates (p, d), in order, with patterns that are not held, (q, d).

    With `apart`, near directions count once.
    """
    chosen: list[Floats] = []
    seen = set(held) | {b""}
    candidates = candidates[candidates.any(axis=1)]
    step = max(1, 4 * most)
    for start in range(0, len(candidates), step):
        part = candidates[start : start + step]
        units = part / np.sqrt(np.square(part).sum(axis=1))[:, None]
        for unit, key in zip(units, mask_keys(rows, units), strict=True):
            if len(chosen) == most:
                return np.array(chosen)
            if key in seen or (apart and chosen and float((np.array(chosen) @ unit).max()) > ALIKE):
                continue
            seen.add(key)
            chosen.append(unit)
    return np.array(chosen).reshape(-1, rows.shape[1])


def patterns_of(gates: Floats, bias: bool) -> ActivationPatterns:
    """Return the patterns of gates (m, d) that are known to have distinct masks, each active on some row."""
    owned = np.ones(gates.shape, dtype=bool)
    return ActivationPatterns(gates, owned, "priced", len(gates), 0, 0, 0, bias=bias)


def with_rows(pair: Floats, kept: NDArray[np.int64], added: int) -> Floats:
    """Return weights (parts, m, ...) of the kept gates, with zeros for those that were added."""
    zeros = np.zeros((len(pair), added, *pair.shape[2:]))
    return np.concatenate([pair[:, kept], zeros], axis=1)

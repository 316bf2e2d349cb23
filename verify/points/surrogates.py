"""Surrogates: sparse copies whose MILPs are easier, as sources of points for the network itself; they prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.backends.engine_chain import EngineChain
from verify.bounds.layer_bounds import crown_bounds
from verify.encoding.encode import Encoding, encode
from verify.milp.model import Milp
from verify.milp.request import Request
from verify.points.pruning import prune
from verify.reading.read_network import read_simple
from verify.regions.box import Box

# The share of the binaries in which the next point's pattern differs at least from those of the points before.
CUT_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A copy of a network and its name."""

    name: str
    network: SparseReLUNetwork


def read_surrogates(network: SparseReLUNetwork, surrogates: Sequence[Any]) -> tuple[Surrogate, ...]:
    """Return the copies asked for: sparsities in [0, 1) of magnitude pruning, or networks of the same shape.

    Raises
    ------
    TypeError, ValueError
        It is no sequence, or a sparsity or a shape is wrong; the message says which.
    """
    if isinstance(surrogates, str) or not isinstance(surrogates, Sequence):
        raise TypeError(f"surrogates is {surrogates!r}; expected a sequence of sparsities or networks, as (0.8, 0.9)")
    return tuple(_surrogate(network, given, number) for number, given in enumerate(surrogates))


def _surrogate(network: SparseReLUNetwork, given: Any, number: int) -> Surrogate:
    if isinstance(given, int | float | np.floating) and not isinstance(given, bool):
        if not 0.0 <= given < 1.0:
            raise ValueError(f"surrogates[{number}] is {given:g}; expected a sparsity in [0, 1) or a network")
        return Surrogate(f"surrogate {given:g}", prune(network, float(given)))
    copy = read_simple(given).without_final()
    for what, have, want in (
        ("inputs", copy.n_inputs, network.n_inputs),
        ("outputs", copy.n_outputs, network.n_outputs),
    ):
        if have != want:
            raise ValueError(f"surrogates[{number}] has {have} {what}; expected {want}, as the network has")
    return Surrogate(f"surrogate {number}", copy)


def encode_surrogate(surrogate: Surrogate, region: Box, objective: Floats) -> Encoding | None:
    """Return the MILP max c . copy(x) over the region; None where bounds of its neurons overflow."""
    known = crown_bounds(surrogate.network, region)
    if not all(layer.finite for layer in known[:-1]):
        return None
    return encode(surrogate.network, region, objective, known)


def stream_incumbents(
    encoding: Encoding,
    engine: EngineChain,
    left: Callable[[], float],
    found: Callable[[Floats], bool],
    rounds: float = inf,
) -> int:
    """Show `found` every incumbent of a MILP, again and again, until it says that one is enough or time runs out.

    Parameters
    ----------
    encoding : Encoding
        The MILP, of a copy or of any network.
    engine : EngineChain
        The engine; where it streams no incumbents, its last point is shown.
    left : callable
        Seconds left.
    found : callable
        Takes an input (d,) of the region, maybe in the engine's thread.
    rounds : float, default inf
        How many MILPs to ask at most.

    Returns
    -------
    int
        How many MILPs were asked.

    Notes
    -----
    A no-good cut sum_{z_i = 1} (1 - z_i) + sum_{z_i = 0} z_i >= r after each MILP keeps the next one's point away from
    the activation pattern of the last, by a tenth of the binaries (the cut with r = 1: Balas and Jeroslow 1972).
    """
    milp, asked, done = encoding.milp, 0, False
    while not done and left() > 0.0 and asked < rounds:
        seen: list[bool] = []

        def on_incumbent(values: Floats, seen: list[bool] = seen) -> bool:
            seen.append(found(encoding.point(values)))
            return seen[-1]

        outcome = engine.maximise(milp, Request(left(), on_incumbent=on_incumbent))
        asked += 1
        if outcome.values is None:
            break
        done = any(seen) or found(encoding.point(outcome.values)) or not milp.integer.any()
        milp = _cut_off(milp, outcome.values)
    return asked


def _cut_off(milp: Milp, values: Floats) -> Milp:
    """Return the model with patterns close to that of `values` cut off."""
    on = milp.integer & (values > 0.5)
    signs = np.where(milp.integer, np.where(on, 1.0, -1.0), 0.0)
    apart = max(1.0, np.floor(CUT_SHARE * milp.integer.sum()))
    return milp.with_rows(sp.csr_matrix(signs[None]), np.array([on.sum() - apart]))

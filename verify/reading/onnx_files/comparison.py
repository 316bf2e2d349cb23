"""The comparison of a model with what was read, on random rows, one by one and together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.reading.graph.agreement import finished, gap_between, largest_size
from verify.reading.onnx_files.entry import Entries
from verify.reading.onnx_files.running import Runner
from verify.reading.onnx_files.scope import Signal, first_line

# Rows of a comparison, and the largest difference relative to the activations: of numbers with 24 bits, and with 11.
N_ROWS = 3
TOLERANCE, HALF_TOLERANCE = 1e-3, 3e-2

# How far below the largest number of their type the values of a comparison stay, and the least factor of its rows.
HEADROOM, LEAST_SCALE = 2.0**10, 2.0**-40


def compare(name: str, entries: Entries, signal: Signal, network: SparseReLUNetwork, runner: Runner) -> None:
    """Raise ValueError where a model and the network differ on random rows, one by one or together.

    A signal that is a final function without a name before it is compared as what the function makes of the outputs.
    """
    for batch in _batches(entries, network):
        try:
            output = np.asarray(runner.run(entries.feeds(batch)), dtype=np.float64)
        except Exception as error:
            if len(batch) > 1:
                continue  # a graph that is fixed to one row
            raise ValueError(f"{name} cannot be evaluated ({first_line(error)})") from None
        if len(batch) == 1 and output.shape != signal.shape and signal.logits is None:
            raise ValueError(f"{name} computes shape {output.shape} where its nodes give {signal.shape}")
        _check_agreement(name, output, entries, signal, network, batch.astype(np.float64))


def _batches(entries: Entries, network: SparseReLUNetwork) -> list[NDArray[Any]]:
    """Return random rows, flat: one by one, and several together where the inputs take a batch."""
    rows = np.random.default_rng(0).standard_normal((max(N_ROWS, entries.batch), entries.size))
    rows = (rows * _scale(rows, entries.kind, network)).astype(entries.kind)
    batches = [row[None] for row in rows[:N_ROWS]]
    if entries.batched and entries.batch != 1:
        batches.append(rows[: entries.batch or None])
    return batches


def _scale(rows: Floats, kind: np.dtype[Any], network: SparseReLUNetwork) -> float:
    """Return 1, or less where the values of the network would leave the range of the graph's numbers."""
    with np.errstate(all="ignore"):
        most, peak = float(np.finfo(kind).max) / HEADROOM, largest_size(network.activations(rows))
    return max(most / peak, LEAST_SCALE) if peak > most else 1.0


def _check_agreement(
    name: str, output: Floats, entries: Entries, signal: Signal, network: SparseReLUNetwork, rows: Floats
) -> None:
    with np.errstate(all="ignore"):
        layers = network.activations(rows)
    if output.size != layers[-1].size:
        raise ValueError(f"{name} computes shape {output.shape} where its nodes give {layers[-1].shape}: broadcasting?")
    if not np.isfinite(output).all():
        raise ValueError(f"{name} computes values that are not finite on random rows; expected finite ones")
    found, scale = layers[-1], largest_size([rows, *layers])
    if signal.final is not None and signal.logits is None:
        found, scale = finished(found, signal.final), 1.0
    gap = gap_between(output.reshape(found.shape), found)
    least = HALF_TOLERANCE if np.finfo(entries.kind).nmant < 20 or np.finfo(signal.kind).nmant < 20 else TOLERANCE
    if not gap <= least * scale:
        raise ValueError(f"{name} differs from its nodes by {gap:.3g} on random rows; expected rows taken one by one")

"""Random networks with linear units, and the chains of ReLUs alone that compute the same: x = relu(x) - relu(-x)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

import convexnn as cx
import verify
from convexnn.checks import Bools, Floats

Rng = np.random.Generator


def chain_of(network: cx.SparseReLUNetwork) -> cx.SparseReLUNetwork:
    """Return a chain of the same function without linear units: each is two ReLUs there, weights as they are."""
    layers, spread = [], sp.identity(network.n_inputs, format="csr")
    for index, (weight, bias) in enumerate(network.layers):
        weight = sp.csr_matrix(weight @ spread)
        if index == len(network.layers) - 1:
            layers.append((weight, bias))
            break
        mask = network.linear_units(index)
        linear = np.flatnonzero(mask) if mask is not None else np.empty(0, dtype=np.int64)
        layers.append((sp.vstack([weight, -weight[linear]], format="csr"), np.append(bias, -bias[linear])))
        back = sp.csr_matrix((-np.ones(len(linear)), (linear, np.arange(len(linear)))), (len(bias), len(linear)))
        spread = sp.hstack([sp.identity(len(bias)), back], format="csr")
    return cx.SparseReLUNetwork(layers)


def random_graph(seed: int, sizes: tuple[int, ...] = (2, 5, 4, 2), scale: float = 1.0) -> verify.ReLUGraph:
    """Return a graph with random weights, a third of its hidden units linear, some of them carried values."""
    rng = np.random.default_rng(seed)
    layers: list[tuple[Floats, Floats]] = []
    masks: list[Bools] = []
    for index, (inner, outer) in enumerate(pairwise(sizes)):
        weight, bias = scale * rng.standard_normal((outer, inner)) / np.sqrt(inner), rng.standard_normal(outer) / 2.0
        weight[rng.random((outer, inner)) < 0.3] = 0.0
        mask = rng.random(outer) < 1.0 / 3.0
        if index < len(sizes) - 2:
            masks.append(mask)
            for unit in np.flatnonzero(mask & (rng.random(outer) < 0.5)):
                weight[unit], bias[unit] = np.eye(inner)[rng.integers(inner)], 0.0
        layers.append((weight, bias))
    return verify.ReLUGraph(layers, masks)


def _dense(rng: Rng, out: int, inner: int) -> Floats:
    return np.round(rng.standard_normal((out, inner)), 2)


def _blocks(*parts: Floats) -> Floats:
    return np.asarray(sp.block_diag(parts).toarray())


def residual(rng: Rng, d: int, depth: int) -> verify.ReLUGraph:
    """Return x + W relu(V x + b), `depth` times in a row, then two outputs: x is carried beside the ReLUs."""
    width, layers, masks = d + 2, [], []
    read = np.eye(d)
    for _ in range(depth):
        layers.append((np.vstack([_dense(rng, width, d), np.eye(d)]) @ read, rng.standard_normal(width + d).round(2)))
        layers[-1][1][width:] = 0.0
        masks.append(np.arange(width + d) >= width)
        read = np.hstack([_dense(rng, d, width), np.eye(d)])
    layers.append((_dense(rng, 2, d) @ read, rng.standard_normal(2).round(2)))
    return verify.ReLUGraph(layers, masks)


def leaky(rng: Rng, d: int, depth: int) -> verify.ReLUGraph:
    """Return a chain of leaky ReLUs, alpha x + (1 - alpha) relu(x), with two outputs."""
    layers, masks, read = [], [], np.eye(d)
    for alpha in rng.uniform(0.01, 0.5, depth).round(2):
        weight, bias = _dense(rng, 4, read.shape[0]), rng.standard_normal(4).round(2)
        layers.append((np.vstack([weight, weight]) @ read, np.append(bias, bias)))
        masks.append(np.arange(8) >= 4)
        read = np.hstack([(1.0 - alpha) * np.eye(4), alpha * np.eye(4)])
    return verify.ReLUGraph([*layers, (_dense(rng, 2, 4) @ read, None)], masks)


def absolute(rng: Rng, d: int, depth: int) -> verify.ReLUGraph:
    """Return |W x + b|, `depth` times in a row, then two outputs."""
    layers, masks, read = [], [], np.eye(d)
    for _ in range(depth):
        weight, bias = _dense(rng, 3, read.shape[0]), rng.standard_normal(3).round(2)
        layers.append((np.vstack([weight, weight]) @ read, np.append(bias, bias)))
        masks.append(np.arange(6) >= 3)
        read = np.hstack([2.0 * np.eye(3), -np.eye(3)])
    return verify.ReLUGraph([*layers, (_dense(rng, 2, 3) @ read, None)], masks)


def largest(rng: Rng, d: int, depth: int) -> verify.ReLUGraph:
    """Return the largest of 2^depth functions of x by pairs, max(a, b) = b + relu(a - b), and its negative."""
    read, bias, layers, masks = _dense(rng, 2**depth, d), rng.standard_normal(2**depth).round(2), [], []
    for _ in range(depth):
        first, second = read[0::2], read[1::2]
        count = len(first)
        layers.append((np.vstack([first - second, second]), np.append(bias[0::2] - bias[1::2], bias[1::2])))
        masks.append(np.arange(2 * count) >= count)
        read, bias = np.hstack([np.eye(count), np.eye(count)]), np.zeros(count)
    return verify.ReLUGraph([*layers, (np.vstack([read, -read]), None)], masks)


def concatenated(rng: Rng, d: int, depth: int) -> verify.ReLUGraph:
    """Return two outputs of (x, the values of a chain of `depth` layers), x carried along all of them."""
    layers, masks, inner = [], [], d
    for index in range(depth):
        weight = _dense(rng, 4, inner)
        own = _blocks(weight, np.eye(d)) if index else np.vstack([weight, np.eye(d)])
        layers.append((own, np.append(rng.standard_normal(4).round(2), np.zeros(d))))
        masks.append(np.arange(4 + d) >= 4)
        inner = 4
    return verify.ReLUGraph([*layers, (_dense(rng, 2, 4 + d), None)], masks)


KINDS: dict[str, Callable[[Rng, int, int], verify.ReLUGraph]] = {
    "residual": residual,
    "leaky": leaky,
    "absolute": absolute,
    "largest": largest,
    "concatenated": concatenated,
}


def graph(kind: str, seed: int, d: int = 2, depth: int = 2) -> verify.ReLUGraph:
    """Return a graph of a kind with d inputs and two outputs."""
    return KINDS[kind](np.random.default_rng(seed), d, depth)


def points_of(region: verify.Box, count: int = 400, seed: int = 0) -> Floats:
    """Return random points and corners of a region."""
    rng = np.random.default_rng(seed)
    shares: NDArray[np.float64] = rng.random((count, region.size))
    shares[::4] = np.round(shares[::4])
    return region.project(region.lower + shares * (region.upper - region.lower))

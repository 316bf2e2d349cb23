"""Verify a sparse MNIST network beside a dense one of the same shape: how many images are decided, and how fast.

    CONVEXNN_DATA=folder python benchmarks/sparse_verification.py [--images 100] [--eps 0.05] [--budget 1000]
        [--width 50] [--seconds 60] [--dense-seconds 60] [--networks folder]

Ten digits (MNIST in CONVEXNN_DATA), pixels in [0, 1], the first test images, an L-inf ball clipped to [0, 1], all
nine targets, licence-free. The sparse network is `fit_network` with that many nonzero weights and no biases; the dense
one 784-width-10 by Adam, 10 epochs. With --networks both are kept in a folder, and read from there the next time.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.datasets import mnist

Data = tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]


def sparse(data: Data, given: Namespace) -> cx.SparseReLUNetwork:
    """Return the network of a budget."""
    return cx.fit_network(data[0], data[1], given.budget, width=given.width, loss="softmax", seed=0).network


def dense(data: Data, given: Namespace) -> cx.SparseReLUNetwork:
    """Return a dense network of the same width, by Adam on batches of 128 for 10 epochs."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(784, given.width), torch.nn.ReLU(), torch.nn.Linear(given.width, 10))
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    X, y = torch.tensor(data[0], dtype=torch.float32), torch.tensor(data[1])
    for _ in range(10):
        for batch in torch.randperm(len(X)).split(128):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(module(X[batch]), y[batch]).backward()
            adam.step()
    return verify.read_network(module)


def network_of(
    name: str, make: Callable[[Data, Namespace], cx.SparseReLUNetwork], data: Data, given: Namespace
) -> cx.SparseReLUNetwork:
    """Return a network, made or read from the folder of networks."""
    if given.networks is None:
        return make(data, given)
    path = Path(given.networks) / f"{name}_{given.budget}_{given.width}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(data, given).save(path)
    return cx.SparseReLUNetwork.load(path)


def main() -> None:
    """Read the command line, fit, verify, print one block a network."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--width", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--dense-seconds", type=float, default=60.0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--networks")
    given = parser.parse_args()
    data = mnist().parts
    kinds = (("sparse", sparse, given.seconds), ("dense", dense, given.dense_seconds))
    for name, make, seconds in kinds:
        network = network_of(name, make, data, given)
        accuracy = float(np.mean(network.predict(data[2]).argmax(axis=1) == data[3]))
        print(f"{name}: {network}; test accuracy {accuracy:.2%}", flush=True)
        report(network, data, given, seconds)


def report(network: cx.SparseReLUNetwork, data: Data, given: Namespace, seconds: float) -> None:
    """Verify the first test images and print the sums."""
    began = process_time()
    found = verify.evaluate(
        network,
        data[2][: given.images],
        data[3][: given.images],
        lambda x: verify.LinfBall(x, given.eps, clip=(0, 1)),
        time_limit=seconds,
        backend=given.backend,
    )
    print(found)
    by_milp = [answer.seconds for answer in found.answers if answer.backend is not None]
    proofs = Counter(answer.proof.value for answer in found.answers if answer.proof is not None)
    print(f"  proofs {dict(proofs)}; an engine was asked {len(by_milp)} times; CPU {process_time() - began:.1f} s")


if __name__ == "__main__":
    main()

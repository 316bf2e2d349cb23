"""Decide robustness of a dense MNIST network over L1 or L2 balls; bounds that know the ball beside those of its box.

    python benchmarks/balls.py [L1 or L2, images, radius, seconds]

Needs MNIST (`convexnn.datasets.mnist`) in the folder that CONVEXNN_DATA names. The network, 784-64-64-10
with ReLU, is trained here with torch on the training images and attacked around the first test images.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from statistics import median
from time import perf_counter

import torch

import verify
from convexnn.checks import Floats
from convexnn.datasets import Labels, mnist
from convexnn.network import SparseReLUNetwork

BALLS = {"L1": verify.L1Ball, "L2": verify.L2Ball}


def trained(images: Floats, labels: Labels, epochs: int = 5) -> SparseReLUNetwork:
    """Return a dense network after some epochs of Adam."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(64, 10))
    X, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            optimizer.step()
    return verify.read_network(model)


def unstable(network: SparseReLUNetwork, region: verify.Box, method: str) -> list[int]:
    """Return how many neurons of each hidden layer can switch over a region."""
    layers = verify.bound(network, region, method)[:-1]
    return [len(layer.switching) for layer in layers]


def main(kind: str = "L1", images: int = 10, radius: float = 5.0, seconds: float = 60.0) -> None:
    """Print one line an image: neurons that can switch, verdict, seconds."""
    X, y, tests, truths = mnist().parts
    began = perf_counter()
    network = trained(X, y)
    right = float((network.predict(tests).argmax(axis=1) == truths).mean())
    print(f"784-64-64-10 trained in {perf_counter() - began:.0f} s, {100 * right:.1f} % of test images right")
    times = []
    for index in range(images):
        ball = BALLS[kind](tests[index], radius, clip=(0, 1))
        box = unstable(network, verify.Box(ball.lower, ball.upper), "crown")
        known = [unstable(network, ball, method) for method in ("interval", "crown")]
        answer = verify.find_adversarial(network, ball, int(truths[index]), time_limit=seconds)
        times.append(answer.seconds)
        print(
            f"image {index}: can switch {box} by the box alone, {known[0]} by intervals, {known[1]} by CROWN; "
            f"{answer.status.name} in {answer.seconds:.2f} s, margin {answer.value:.4f}, bound {answer.bound:.4f}",
            flush=True,
        )
    print(f"median {median(times):.2f} s, most {max(times):.2f} s")


if __name__ == "__main__":
    main(*(read(text) for read, text in zip((str, int, float, float), sys.argv[1:], strict=False)))

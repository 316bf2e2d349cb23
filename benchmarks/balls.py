"""Decide robustness of a dense MNIST network over L1 or L2 balls; bounds that know the ball beside those of its box.

    python benchmarks/balls.py [L1 or L2, images, radius, seconds]

Needs MNIST (`convexnn.datasets.mnist`) in the folder that CONVEXNN_DATA names. The network, 784-64-64-10
with ReLU, is trained here with torch on the training images and attacked around the first test images.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from statistics import median
from time import perf_counter

import verify
from convexnn.network import SparseReLUNetwork


def unstable(network: SparseReLUNetwork, region: verify.Box, method: str) -> list[int]:
    """Return how many neurons of each hidden layer can switch over a region."""
    layers = verify.bound(network, region, method)[:-1]
    return [len(layer.switching) for layer in layers]


def main(kind: str = "L1", images: int = 10, radius: float = 5.0, seconds: float = 60.0) -> None:
    """Print one line an image: neurons that can switch, verdict, seconds."""
    began = perf_counter()
    network, tests, truths = common.mnist_network()
    right = float((network.predict(tests).argmax(axis=1) == truths).mean())
    print(f"784-64-64-10 trained in {perf_counter() - began:.0f} s, {100 * right:.1f} % of test images right")
    times = []
    for index in range(images):
        ball = common.BALLS[kind](tests[index], radius, clip=(0, 1))
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
    main(*common.arguments(str, int, float, float))

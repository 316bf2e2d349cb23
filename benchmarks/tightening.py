"""Count the neurons that can switch and time their bounds: intervals, CROWN, linear programs, sharpened slopes.

    CONVEXNN_DATA=folder python benchmarks/tightening.py [--net dense 256x2 256x4] [--images 3] [--eps 0.05]
        [--seconds 60] [--ball Linf]

The networks: dense 784-64-64-10, trained here and attacked around the first test images (an
L-inf, L1 or L2 ball of radius eps, pixels in [0, 1]); those of mnist_fc over the boxes of its first properties.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from argparse import Namespace
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

import verify
from convexnn.network import SparseReLUNetwork
from verify.branching.sharpening import sharpen
from verify.regions.intervals import Interval

Layers = tuple[Interval, ...]


def questions(net: str, given: Namespace) -> Iterator[tuple[SparseReLUNetwork, verify.Box]]:
    """Yield a network and a region, image by image."""
    if net == "dense":
        network, tests, _ = common.mnist_network()
        ball = common.BALLS[given.ball]
        yield from ((network, ball(x, given.eps, clip=(0, 1))) for x in tests[: given.images])
        return
    folder = common.data_folder("mnist_fc")
    network = verify.read_network(folder / f"mnist-net_{net}.onnx")
    for number in range(given.images):
        case = verify.read_property(folder / f"prop_{number}_{given.eps:.2f}.vnnlib").cases[0]
        yield network, verify.Box(case.lower, case.upper)


def sharpened(network: SparseReLUNetwork, region: verify.Box) -> Layers:
    """Return bounds of improved slopes, without splits."""
    return sharpen(network, region, verify.bound(network, region), lambda: False)


def main() -> None:
    """Read the command line, print one line a question and way."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--net", nargs="*", default=["dense", "256x2", "256x4"])
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--ball", default="Linf")
    given = parser.parse_args()
    ways: dict[str, Callable[[SparseReLUNetwork, verify.Box], Layers]] = {
        "interval": lambda network, region: verify.bound(network, region, "interval"),
        "crown": verify.bound,
        "lp": lambda network, region: verify.bound(network, region, "lp", time_limit=given.seconds),
        "sharpen": sharpened,
    }
    for net in given.net:
        for number, (network, region) in enumerate(questions(net, given)):
            for name, way in ways.items():
                began = perf_counter()
                layers = way(network, region)
                seconds = perf_counter() - began
                loose = [len(layer.switching) for layer in layers[:-1]]
                width = float(np.mean(layers[-1].upper - layers[-1].lower))
                print(
                    f"{net} {number}: {name:8} {loose} can switch, outputs {width:.3g} wide, {seconds:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()

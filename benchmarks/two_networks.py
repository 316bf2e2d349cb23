"""Ask properties of two networks (VNN-LIB 2.0): does a disturbed copy do the same, does a network rise in an input?

    CONVEXNN_DATA=folder python benchmarks/two_networks.py [--networks 8 --seconds 60 --noise 0.001 --seed 0 --jobs 1]

The folder holds vnncomp/acasxu/ with ACAS Xu networks. The properties are those of two families of VNN-COMP 2026, made
anew from their templates: `isomorphic`, whether any output of a copy whose weights are off by a share of N(0, noise) is
0.05 away from that of the network; `monotonic`, whether output 3 never falls where input 0 falls and the others stay. A
violation is checked in the networks. Seconds are of CPU, one thread; with --jobs above 1, so many processes a question,
they are those of the clock.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections import Counter
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

import convexnn as cx
import verify

HEAD = """(vnnlib-version <2.0>)
(declare-network f (declare-input x real [5]) (declare-output y real [5]))
(declare-network g ({}-to f) (declare-input z real [5]) (declare-output w real [5]))
"""

# Lower and upper ends of the inputs of the first network.
WIDE = ((0.6, -0.5, -0.5, 0.45, -0.5), (0.679857769, 0.5, 0.5, 0.5, -0.45))
NARROW = ((-0.16247807, -0.25, 0.25, 0.227272727, 0.25), (0.667245963, 0.0, 0.5, 0.227272727, 0.25))

BAND, OUTPUT = 0.05, 3


def box(ends: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Return the bounds of the first network's inputs."""
    return "".join(f"(assert (<= {low!r} x[{i}] {high!r}))" for i, (low, high) in enumerate(zip(*ends, strict=True)))


def same(inputs: range) -> str:
    """Return that inputs of both networks are equal."""
    return "".join(f"(assert (== x[{i}] z[{i}]))" for i in inputs)


def isomorphic() -> verify.Property:
    """Return that no output differs by the band."""
    sides = " ".join(f"(> w[{i}] (+ y[{i}] {BAND})) (< w[{i}] (- y[{i}] {BAND}))" for i in range(5))
    return verify.parse_property(f"{HEAD.format('isomorphic')}{box(WIDE)}{same(range(5))}(assert (or {sides}))")


def monotonic() -> verify.Property:
    """Return that an output does not rise where the first input falls."""
    falls = f"(assert (<= {NARROW[0][0]!r} z[0] x[0]))(assert (< y[{OUTPUT}] w[{OUTPUT}]))"
    return verify.parse_property(f"{HEAD.format('equal')}{box(NARROW)}{same(range(1, 5))}{falls}")


def disturbed(network: cx.SparseReLUNetwork, noise: float, rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return a copy whose weights and biases are off by a share of N(0, noise)."""
    layers = []
    for weight, bias in network.layers:
        other = weight.copy()
        other.data = other.data * (1.0 + noise * rng.standard_normal(other.nnz))
        layers.append((other, bias * (1.0 + noise * rng.standard_normal(len(bias)))))
    return cx.SparseReLUNetwork(layers)


def confirmed(check: verify.Check, networks: list[cx.SparseReLUNetwork], family: str) -> bool:
    """Whether the witness of a violation, if there is one, is one in the networks."""
    if check.witness is None:
        return True
    one, other = (net.predict(x[None])[0] for net, x in zip(networks, np.split(check.witness, 2), strict=True))
    return bool(other[OUTPUT] > one[OUTPUT] if family == "monotonic" else np.abs(other - one).max() > BAND)


def main(given: Any) -> None:
    """Print a line a property and the sums of each family."""
    rng = np.random.default_rng(given.seed)
    files = sorted((common.data_folder("vnncomp") / "acasxu").glob("*.onnx*"))
    chosen = [files[place] for place in np.sort(rng.permutation(len(files))[: given.networks])]
    rows: dict[str, list[tuple[str, float]]] = {"isomorphic": [], "monotonic": []}
    wrong, clock = 0, process_time if given.jobs == 1 else perf_counter
    for file in chosen:
        network = verify.read_network(file)
        copy = disturbed(network, given.noise, rng)
        for family, networks, asked in (
            ("isomorphic", [network, copy], isomorphic()),
            ("monotonic", [network, network], monotonic()),
        ):
            began = clock()
            check = verify.check_vnnlib(networks, asked, time_limit=given.seconds, n_jobs=given.jobs)
            rows[family].append((check.status.name, clock() - began))
            wrong += not confirmed(check, networks, family)
            print(f"{file.name.partition('_batch')[0]:24} {family:11} {check.status.name:9} {rows[family][-1][1]:6.2f}")
    for family, found in rows.items():
        seconds = [spent for _, spent in found]
        print(
            f"{family}: {dict(Counter(name for name, _ in found))}, seconds {median(seconds):.2f} in the median, "
            f"{max(seconds):.1f} at most, {sum(seconds):.0f} in all"
        )
    print(f"witnesses that are none: {wrong}")


if __name__ == "__main__":
    parser = common.option_parser(__doc__)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--noise", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())

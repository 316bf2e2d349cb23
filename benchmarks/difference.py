"""Carry proofs from pruned copies over to MNIST networks: how many, beside what is proven of the networks themselves.

    CONVEXNN_DATA=folder python benchmarks/difference.py [--images 20] [--eps 0.01 0.02 0.03 0.05]
        [--sparsity 0.1 0.3 0.5 0.8 0.9] [--seconds 20] [--hidden 64 64] [--method magnitude] [--scope layer]

Digits (MNIST in CONVEXNN_DATA), pixels in [0, 1], the first test images that the network has right, L-inf balls
clipped to [0, 1]. The network 784-64-64-10 (or of other hidden layers) is trained here with torch, 5 epochs of Adam.
Columns: `difference`, the largest proven bound on how far a margin exceeds the copy's, mean over the images; images
proven by way of the copy, the copy by CROWN, or by branch and bound and MILP too; of those, the ones that CROWN on the
network itself does not prove, and that branch and bound on it does not; median and most seconds.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from argparse import Namespace
from dataclasses import dataclass
from statistics import mean, median

import numpy as np

import verify
from convexnn.checks import Floats
from convexnn.datasets import Labels
from convexnn.network import SparseReLUNetwork
from verify.bounds.margins import Margins, margins_of
from verify.questions.difference import difference_of


@dataclass(frozen=True)
class Case:
    """One image: its ball and margins, whether CROWN and branch and bound prove the network robust, and seconds."""

    ball: verify.LinfBall
    margins: Margins
    crown: bool
    branched: bool
    seconds: float


def cases_of(network: SparseReLUNetwork, images: Floats, labels: Labels, eps: float, seconds: float) -> list[Case]:
    """Ask about the network itself."""
    result = []
    for image, label in zip(images, labels, strict=True):
        ball = verify.LinfBall(image, eps, clip=(0, 1))
        margins = margins_of(network, int(label))
        upper = margins.crown(ball, verify.bound(network, ball)).upper
        answer = verify.find_adversarial(network, ball, int(label), time_limit=seconds, backend="branching")
        robust = answer.status is verify.Verdict.ROBUST
        result.append(Case(ball, margins, bool((upper <= 0.0).all()), robust, answer.seconds))
    return result


def report(copy: SparseReLUNetwork, cases: list[Case], eps: float, sparsity: float, given: Namespace) -> None:
    """Ask about a copy, and print the sums."""
    gaps, crown, proven, beyond_crown, beyond, times = [], 0, 0, 0, 0, []
    for case in cases:
        dense, label = case.margins.network, case.margins.label
        moves = difference_of(dense, copy, case.ball, case.margins.rows).upper
        gaps.append(float(moves.max()))
        own = margins_of(copy, label).crown(case.ball, verify.bound(copy, case.ball)).upper
        crown += bool((own + moves <= 0.0).all())
        answer = verify.certify_through(dense, copy, case.ball, label, time_limit=given.seconds)
        robust = answer.status is verify.Verdict.ROBUST
        proven += robust
        beyond_crown += robust and not case.crown
        beyond += robust and not case.branched
        times.append(answer.seconds)
    columns = f"{crown:5} {proven:9} {beyond_crown:12} {beyond:13} {median(times):8.2f} {max(times):6.2f}"
    print(f"{eps:5} {sparsity:8} {mean(gaps):10.3f} {columns}", flush=True)


def main() -> None:
    """Read the command line, train, prune, print one line for each radius and sparsity."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.01, 0.02, 0.03, 0.05])
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.8, 0.9])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    parser.add_argument("--method", default="magnitude")
    parser.add_argument("--scope", default="layer")
    given = parser.parse_args()
    network, tests, truths = common.mnist_network(given.hidden)
    right = network.predict(tests).argmax(axis=1) == truths
    print(f"{network}; {100 * right.mean():.1f} % of test images right")
    chosen = np.flatnonzero(right)[: given.images]
    # Importance is of a region: pixels are free, so that one copy serves all images.
    pixels = verify.Box(np.zeros(784), np.ones(784))
    options = {"method": given.method, "scope": given.scope, "region": pixels}
    copies = {share: verify.prune(network, share, **options) for share in given.sparsity}
    print("  eps sparsity difference CROWN all means beyond CROWN beyond branch  seconds   most")
    for eps in given.eps:
        cases = cases_of(network, tests[chosen], truths[chosen], eps, given.seconds)
        times = [case.seconds for case in cases]
        words = f"CROWN {sum(case.crown for case in cases)}, branch and bound {sum(case.branched for case in cases)}"
        print(f"{eps:5} the network itself: {words}; {median(times):.2f} {max(times):.2f} s", flush=True)
        for share, copy in copies.items():
            report(copy, cases, eps, share, given)


if __name__ == "__main__":
    main()

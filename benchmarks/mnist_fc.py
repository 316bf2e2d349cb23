"""Decide the mnist_fc properties of VNN-COMP 2021, licence-free, and hold the verdicts against the known labels.

    CONVEXNN_DATA=folder python benchmarks/mnist_fc.py [--net 256x2] [--seconds 60] [--cpu] [--properties 0_0.03 ...]

The folder holds mnist_fc/ with the networks (ONNX) and 30 properties (VNN-LIB 1.0). Labels are known for 256x2: with
eps 0.03 properties 7 and 14 are violated, with eps 0.05 0, 1, 3, 5, 7, 8, 9, 12, 13 and 14, and all others hold; an
input that violates eps 0.03 violates eps 0.05 too, and for other networks that is all that is checked. With --cpu the
seconds of a question are those of the process, as is right on a busy machine; engines keep to the wall's.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import re
from collections import Counter
from statistics import median
from time import perf_counter, process_time

import verify
import verify.clock

VIOLATED = {"0.03": {7, 14}, "0.05": {0, 1, 3, 5, 7, 8, 9, 12, 13, 14}}
NAMES = [f"{number}_{eps}" for eps in VIOLATED for number in range(15)]


def label_of(net: str, name: str) -> str | None:
    """Return the known verdict of a property, if there is one."""
    number, _, eps = name.partition("_")
    if net != "256x2":
        return None
    return "VIOLATED" if int(number) in VIOLATED[eps] else "HOLDS"


def largest_model(check: verify.Check) -> int:
    """Return the most variables of a MILP in a trace."""
    sizes = [int(n) for event in check.trace for n in re.findall(r"MILP: (\d+) variables", event.finding)]
    return max(sizes, default=0)


def main() -> None:
    """Read the command line, decide, print one line a property and the sums."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--net", default="256x2")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--properties", nargs="*", default=NAMES)
    given = parser.parse_args()
    if given.cpu:
        vars(verify.clock)["perf_counter"] = process_time
    file = common.data_folder("mnist_fc") / f"mnist-net_{given.net}.onnx"
    network = verify.read_network(file)
    verdicts: dict[str, str] = {}
    seconds, sizes, wrong = [], [], []
    cpu, began = process_time(), perf_counter()
    for name in given.properties:
        question = file.with_name(f"prop_{name}.vnnlib")
        check = verify.check_vnnlib(network, question, time_limit=given.seconds, backend=given.backend, model=file)
        verdicts[name] = check.status.name
        seconds.append(check.seconds)
        sizes.append(largest_model(check))
        known = label_of(given.net, name)
        if check.status is not verify.Holding.UNKNOWN and known not in (None, check.status.name):
            wrong.append(name)
        proof = check.proof.value if check.proof else "-"
        print(f"{name:8} {check.status.name:9} {check.seconds:6.1f} s  {sizes[-1]:5} variables  {proof}", flush=True)
    wrong += [name for name in given.properties if contradicted(name, verdicts)]
    counts = Counter(verdicts.values())
    decided = len(verdicts) - counts["UNKNOWN"]
    print(f"{decided} of {len(verdicts)} decided ({dict(counts)}), {len(wrong)} wrong {wrong}")
    print(f"seconds: median {median(seconds):.1f}, most {max(seconds):.1f}; largest model {max(sizes)} variables")
    print(f"CPU {process_time() - cpu:.0f} s, wall {perf_counter() - began:.0f} s")


def contradicted(name: str, verdicts: dict[str, str]) -> bool:
    """Whether a property holds over a ball while the same one is violated over a smaller one."""
    number, _, eps = name.partition("_")
    return eps == "0.05" and verdicts[name] == "HOLDS" and verdicts.get(f"{number}_0.03") == "VIOLATED"


if __name__ == "__main__":
    main()

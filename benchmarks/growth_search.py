"""How the search for a maximum grows with inputs and neurons: CPU seconds to OPTIMAL, and subproblems a second.

    python benchmarks/growth_search.py [--inputs 2 5 10 15 20] [--neurons 10 20 40] [--seeds 3] [--seconds 20]
                                       [--picture search_growth.png]

Networks with one hidden layer, and with two of half as many neurons, are trained as in `maxima.py`; the question is the
largest output over [-1, 1]^d. Seconds are of CPU, medians over the seeds, those of a search that the limit ended
counted as they are. Subproblems a second are those of each search alone for half a second: linear programs of
`verify.programs`, boxes of `verify.branching`. Nothing is asked of an engine for MILPs.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from maxima import trained

import verify
from convexnn.network import SparseReLUNetwork
from verify.questions.extremes import functions_of
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting.box_splitting import BoxSplitting
from verify.splitting.goals import goals_of
from verify.splitting.program_splitting import ProgramSplitting

# Seconds of each search alone.
ALONE = 0.5


@dataclass(frozen=True)
class Row:
    """Medians over the seeds for networks of some shape: seconds, how many are OPTIMAL, and subproblems a second."""

    shape: str
    inputs: int
    seconds: float
    optimal: int
    programs: float
    boxes: float


def hidden_of(neurons: int) -> list[tuple[int, ...]]:
    """Return the hidden layers that so many neurons make up."""
    return [(neurons,), (neurons // 2, neurons // 2)]


def inquiry_of(network: SparseReLUNetwork, box: verify.Box) -> Inquiry:
    """Return what is known of the output after ascent."""
    inquiry = Inquiry(functions_of(network, np.eye(1)), box, resources_of(60.0, "branching", 0))
    inquiry.tighten()
    inquiry.climb([0])
    return inquiry


def pace(network: SparseReLUNetwork, box: verify.Box, search: Callable[[Inquiry, float], int]) -> float:
    """Return the subproblems a CPU second of a search alone."""
    inquiry = inquiry_of(network, box)
    began = process_time()
    count = search(inquiry, float(inquiry.reached[0]))
    return count / max(process_time() - began, 1e-9)


def by_programs(inquiry: Inquiry, level: float) -> int:
    """Return how many linear programs are solved."""
    search = ProgramSplitting(inquiry, lambda point: False, level)
    search.run([0], inquiry.clock.seconds + ALONE)
    return sum(tree.count for tree in search.trees.values())


def by_boxes(inquiry: Inquiry, level: float) -> int:
    """Return how many boxes are bounded."""
    search = BoxSplitting(inquiry, goals_of([0]), lambda point: False, level)
    search.run(inquiry.clock.seconds + ALONE, patient=True)
    return search.search.count


def measured(inputs: int, hidden: tuple[int, ...], seeds: int, seconds: float) -> Row:
    """Return the medians for networks of one shape."""
    spent: list[float] = []
    paces: list[tuple[float, float]] = []
    optimal, box = 0, verify.Box(-np.ones(inputs), np.ones(inputs))
    for seed in range(seeds):
        network = verify.read_network(trained((inputs, *hidden, 1), seed))
        began = process_time()
        found = verify.maximize(network, box, backend="branching", time_limit=seconds)
        spent.append(process_time() - began)
        optimal += found.status is verify.Status.OPTIMAL
        paces.append((pace(network, box, by_programs), pace(network, box, by_boxes)))
    programs, boxes = (median(own) for own in zip(*paces, strict=True))
    return Row("-".join(map(str, hidden)), inputs, median(spent), optimal, programs, boxes)


def draw(rows: list[Row], path: Path) -> None:
    """Draw seconds, and subproblems a second, against inputs."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.0))
    for shape in dict.fromkeys(row.shape for row in rows):
        own = [row for row in rows if row.shape == shape]
        inputs = [row.inputs for row in own]
        line = {"marker": "o", "markersize": 4, "linestyle": "--" if "-" in shape else "-"}
        left.plot(inputs, [row.seconds for row in own], label=shape, **line)
        paint: Any = right.plot(inputs, [row.programs for row in own], label=f"{shape}, programs", **line)
        right.plot(inputs, [row.boxes for row in own], color=paint[0].get_color(), **{**line, "marker": "s"})
    left.set(xlabel="inputs", ylabel="CPU seconds of maximize", yscale="log")
    right.set(xlabel="inputs", ylabel="subproblems a CPU second", yscale="log")
    right.set_title("boxes: squares; linear programs: dots", fontsize=9)
    left.set_title("networks that the limit ended count as they are", fontsize=9)
    left.legend(title="hidden neurons", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read the command line, and print a line a shape."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--inputs", type=int, nargs="+", default=[2, 5, 10, 15, 20])
    parser.add_argument("--neurons", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows = []
    print("| hidden neurons | inputs | OPTIMAL | CPU seconds | linear programs a second | boxes a second |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    for neurons in given.neurons:
        for hidden in hidden_of(neurons):
            for inputs in given.inputs:
                row = measured(inputs, hidden, given.seeds, given.seconds)
                rows.append(row)
                proven = f"{row.optimal} of {given.seeds}"
                paces = f"{row.programs:,.0f} | {row.boxes:,.0f}"
                print(f"| {row.shape} | {row.inputs} | {proven} | {row.seconds:.2f} | {paces} |", flush=True)
    if given.picture is not None:
        draw(rows, given.picture)


if __name__ == "__main__":
    main()

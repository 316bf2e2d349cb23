"""Search through pruned copies of networks, beside the honest alternatives given the same time.

    CONVEXNN_DATA=folder python benchmarks/surrogates.py attack [--quick] [--seeds 3] [--seconds 60] [--jobs 1]
        [--folder results/surrogate_attack] [--engine highspy]
    python benchmarks/surrogates.py maximize [--seeds 2] [--folder results/surrogate_maximize] [...]

The studies `convexnn reproduce attack` (MNIST networks) and `convexnn reproduce maximize` (random ones), with a limit
of time and an engine of one's own.
"""

from __future__ import annotations

import common

# isort: split
from dataclasses import replace
from functools import partial
from pathlib import Path

from convexnn.studies import attack, maximize
from convexnn.studies.harness.reproduce import reproduce

# Each study, what makes its runs, and the number of seeds where nobody says how many.
STUDIES = {"attack": (attack.ATTACK, attack.runs, 3), "maximize": (maximize.MAXIMIZE, maximize.runs, 2)}


def main() -> None:
    """Read the command line, run what the folder's table lacks, print the page's tables."""
    parser = common.option_parser(__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--engine", default="highspy")
    given = parser.parse_args()
    study, runs, seeds = STUDIES[given.study]
    folder = given.folder or Path(f"results/surrogate_{given.study}")
    report = reproduce(
        replace(study, name=folder.name, runs=partial(runs, limit=given.seconds, engine=given.engine)),
        "quick" if given.quick else "default",
        seeds=range(seeds if given.seeds is None else given.seeds),
        jobs=given.jobs,
        output=folder.parent,
        callback=lambda now: print(f"\r{now.done} of {now.total} runs, about {now.left / 60.0:.0f} min left ", end=""),
    )
    print(f"\n{report.tables}\n{report}")


if __name__ == "__main__":
    main()

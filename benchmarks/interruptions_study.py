"""What `interruptions.py` starts: the command line, with a study of a moment among the others.

    python benchmarks/interruptions_study.py reproduce small --output FOLDER

Nothing else is imported, so that a process takes as long as the command itself.
"""

from __future__ import annotations

import sys
import time
from types import MappingProxyType
from typing import Any

from convexnn.cli import main
from convexnn.studies.harness import study as studies
from convexnn.studies.harness.study import Run, Scale, Study

# Runs of the study, and the seconds of each.
RUNS, MOMENT = 30, 0.03


def runs(scale: Scale) -> list[Run]:
    """Return the runs."""
    return [{"seed": seed, "number": number} for seed in scale.seeds for number in range(RUNS)]


def answer(run: Run) -> dict[str, Any]:
    """Wait a moment and return a product."""
    time.sleep(MOMENT)
    return {"value": 3 * run["number"] + run["seed"]}


SMALL = Study(
    name="small",
    title="A moment each",
    protocol="Each run waits for a moment.",
    keys=("seed", "number"),
    fields=("value",),
    runs=runs,
    answer=answer,
    figures=lambda rows, folder: [],
    tables=lambda rows: f"{len(rows)} rows",
)


if __name__ == "__main__":
    studies.STUDIES = MappingProxyType({**studies.STUDIES, "small": ("interruptions_study", "SMALL")})
    sys.exit(main())

"""Rows of studies written and read back, and the pages made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from convexnn.studies.harness.study import Row, Run, Study
from convexnn.studies.harness.summary import page
from convexnn.studies.harness.table import RunTable


def written(study: Study, folder: Path, answers: list[tuple[Run, Any]]) -> list[Row]:
    """Return the rows of runs as the table gives them back."""
    table = RunTable(folder / "runs.csv", study)
    for run, answer in answers:
        figures = {"seconds": 0.5, "peak_mb": 1.0}
        table.append(run, [{**figures, **row} for row in (answer if isinstance(answer, list) else [answer])])
    return table.rows([run for run, _ in answers])


def check_page(study: Study, folder: Path, rows: list[Row], words: tuple[str, ...]) -> None:
    """Draw the rows and write them up; the page says what it should, the pictures are there."""
    paths = study.figures(rows, folder)
    text = page(study, rows, paths, "command")
    assert all(word in text for word in words), text
    assert all(np.ptp(matplotlib.image.imread(path)[..., :3]) > 0.5 for path in paths)

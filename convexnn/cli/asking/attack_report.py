"""The page of an attack: what was asked, an answer a row, and the inputs that are read wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convexnn.checks import require
from convexnn.files import replacing
from convexnn.reports import Section, html_page
from convexnn.tables import Table, counting

if TYPE_CHECKING:
    import verify

# Attacks that are shown, and changes of each where inputs are no images.
MOST_SHOWN, MOST_CHANGES = 8, 12

NOTE = (
    "Margin: by how much another class leads at the best input found, positive where it wins. Bound: no input of "
    "the region has a larger margin, which is proven; at a counterexample the search stops, and the "
    "bound is what was known."
)


@dataclass(frozen=True, eq=False)
class AttackReport:
    """What a page needs beside the answers.

    Attributes
    ----------
    file : Path or None
        Of the page; None for no page.
    image_shape : (height, width) or None
        Of inputs that are images.
    asked : tuple of (str, str)
        Names and values of what was asked.
    """

    file: Path | None
    image_shape: tuple[int, int] | None
    asked: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if self.image_shape is not None and self.file is None:
            raise ValueError("image-shape is given without report; expected both, or neither")

    def check(self, region: verify.Box) -> None:
        """Raise, before the work, where inputs are no such images, or a package is missing (ImportError)."""
        if self.file is None:
            return
        for module, package in (("jinja2", "jinja2"), ("markdown_it", "markdown-it-py")):
            require(module, package, "a report")
        if self.image_shape is None:
            return
        require("matplotlib.figure", "matplotlib", "a report with pictures")
        height, width = self.image_shape
        if min(height, width) < 1 or height * width != region.size:
            raise ValueError(f"image-shape is {height} {width}; expected two sizes whose product is {region.size}")

    def write(self, rows: Sequence[int | None], regions: Sequence[verify.Box], records: Sequence[Any]) -> None:
        """Write the page of regions and the records of their answers, where there is a file; None is no row."""
        if self.file is None:
            return
        names = ["the box" if row is None else f"row {row}" for row in rows]
        attacks = [place for place, record in enumerate(records) if record["witness"] is not None]
        lead = f"Is there, near each input, another one that the network reads differently? {_counts(records)}."
        asked = (*self.asked, ("region", str(regions[0])))
        sections = [Section(text=lead, table=Table(("what was asked", ""), asked)), _answers(names, records)]
        sections += [self._shown(names[place], regions[place], records[place]) for place in attacks[:MOST_SHOWN]]
        if len(attacks) > MOST_SHOWN:
            sections.append(Section(text=f"{len(attacks) - MOST_SHOWN} more were found; their lines hold the inputs."))
        with replacing(self.file, "w", encoding="utf-8") as stream:
            stream.write(html_page("Attack", sections))

    def _shown(self, name: str, region: verify.Box, record: Any) -> Section:
        """Return what an attack changes."""
        title, before, after = f"An attack on {name}", region.center, np.array(record["witness"])
        if self.image_shape is None:
            return Section(title, table=_changes(before, after))
        from convexnn.cli.demonstration.pictures import triple

        most = np.abs(after - before).max()
        titles = (f"{name}: class {record['label']}", "read otherwise", f"difference, at most {most:.3g}")
        picture = triple(before, after, self.image_shape, titles)
        return Section(title, picture=picture, alt="The input, the one that is read otherwise, and their difference")


def _counts(records: Sequence[Any]) -> str:
    found = Counter(record["verdict"] for record in records)
    return f"Of {counting(len(records), 'question')}: " + ", ".join(f"{found[name]} {name}" for name in found)


def _answers(names: Sequence[str], records: Sequence[Any]) -> Section:
    rows = []
    for name, record in zip(names, records, strict=True):
        figures = [_number(record["margin"]), _number(record["bound"])]
        label = "" if record["label"] is None else str(record["label"])
        rows.append((name, label, record["verdict"], *figures, record["proof"] or "", f"{record['seconds']:.2f}"))
    header = ("row", "class", "status", "margin found", "proven bound", "proof", "seconds")
    return Section("Answers", table=Table.of(header, rows), note=NOTE)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _changes(before: Any, after: Any) -> Table:
    """Return the inputs that change most."""
    change = after - before
    order = np.argsort(-np.abs(change), kind="stable")[:MOST_CHANGES]
    rows = [(f"x{i}", f"{before[i]:.6g}", f"{after[i]:.6g}", f"{change[i]:+.3g}") for i in order if change[i]]
    return Table(("input", "before", "after", "change"), tuple(rows))

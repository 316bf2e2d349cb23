"""The tables of the demonstration, as rows of text for the terminal and the report, and its figures for JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

import verify
from convexnn.cli.demonstration.experiment import N_IMAGES, RADIUS, Demo, Mapped, Recovered
from convexnn.cli.files.json_records import answer_record
from convexnn.datasets import GREY_LEVELS


@dataclass(frozen=True)
class CaptionedTable:
    """A table: title, a note below it, header and rows."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_rich(self) -> Table:
        """Return the table for a terminal."""
        table = Table(title=self.title, caption=self.note, title_justify="left", caption_justify="left")
        for index, name in enumerate(self.header):
            table.add_column(name, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        return table


def recovery_table(demo: Demo) -> CaptionedTable:
    """Return the first table: the same network recovered in two ways, beside a linear fit."""
    linear = (f"{demo.linear.n_weights}", f"{demo.linear.loss:.4f}", *"------", f"{demo.linear.accuracy:.1%}", "-")
    names = (
        "weights found",
        "loss of the convex model",
        "exact network: nonzeros",
        "exact network: difference",
        "exact network: test accuracy",
        "refit network: nonzeros",
        "refit network: difference",
        "refit network: loss",
        "refit network: test accuracy",
        "seconds of the solver",
    )
    columns = [_recovered_column(demo.iht), _recovered_column(demo.l1), linear]
    rows = tuple((name, *cells) for name, *cells in zip(names, *columns, strict=True))
    note = (
        "Loss: mean squared error / 2 on the training images, for targets of -1 and +1. Difference: the worst one "
        "between network and convex model, on the same images. The exact network keeps the function and pays with "
        "nonzeros; the refit network keeps the weights found (and one output weight a neuron) and fits them again. "
        "What follows is about the refit network of IHT."
    )
    return CaptionedTable(
        "Odd or even? A sparse network, found in two ways", note, ("", demo.iht.name, demo.l1.name, "linear"), rows
    )


def _recovered_column(recovered: Recovered) -> tuple[str, ...]:
    exact, refit = recovered.exact, recovered.refit
    return (
        f"{recovered.solution.nnz}",
        f"{recovered.loss:.4f}",
        f"{exact.mapping.network.nnz:,}",
        f"{exact.mapping.error:.0e}",
        f"{exact.accuracy:.1%}",
        f"{refit.mapping.network.nnz:,}",
        f"{refit.mapping.error:.2f}",
        f"{refit.mapping.loss:.4f}",
        f"{refit.accuracy:.1%}",
        f"{recovered.seconds:.2f}",
    )


def robustness_table(demo: Demo) -> CaptionedTable:
    """Return the second table: what is proven about the test images."""
    levels = RADIUS * GREY_LEVELS / 2
    kinds: dict[str, Callable[[verify.Answer], bool]] = {
        "proven robust, by interval bounds": lambda a: a.proof is verify.Proof.INTERVAL,
        "proven robust, by CROWN bounds": lambda a: a.proof is verify.Proof.CROWN,
        "proven robust, by linear programs": lambda a: a.proof is verify.Proof.LP,
        "proven robust, by branch and bound": lambda a: a.proof is verify.Proof.BRANCHED,
        "proven robust, by MILP": lambda a: a.proof is verify.Proof.SOLVER,
        "attack found": lambda a: a.status is verify.Verdict.COUNTEREXAMPLE,
        "already misclassified": lambda a: a.status is verify.Verdict.MISCLASSIFIED,
        "undecided": lambda a: a.status in (verify.Verdict.UNKNOWN, verify.Verdict.INTERRUPTED),
    }
    rows = []
    for name, belongs in kinds.items():
        seconds = [image.answer.seconds for image in demo.images if belongs(image.answer)]
        times = (f"{np.median(seconds):.3f}", f"{max(seconds):.3f}") if seconds else ("-", "-")
        rows.append((name, f"{len(seconds)}", *times))
    note = (
        "Exact: an image is robust if no change of that size can turn the answer. Nothing is sampled, and no "
        "licence is needed."
    )
    title = (
        f"{N_IMAGES} test images, every pixel free to change by {RADIUS:g} ({levels:g} of {GREY_LEVELS} grey levels)"
    )
    return CaptionedTable(title, note, ("verdict", "images", "median seconds", "most seconds"), tuple(rows))


def image_table(demo: Demo) -> CaptionedTable:
    """Return one row an image, for the report."""
    rows = tuple(
        (
            str(image.row),
            demo.split.names[image.label > 0],
            image.answer.status.name.lower(),
            f"{image.answer.value:.3f}",
            f"{image.answer.bound:.3f}",
            image.answer.proof.value if image.answer.proof else "-",
            f"{image.answer.seconds:.3f}",
        )
        for image in demo.images
    )
    note = (
        "The margin is minus the label times the network's output: positive means misclassified. A robust image has a "
        "proven bound below zero; where an attack was found, the search stops there and the bound is what was known."
    )
    header = ("image", "digit", "verdict", "largest margin found", "proven bound", "proof", "seconds")
    return CaptionedTable("Image by image", note, header, rows)


def demo_record(demo: Demo) -> dict[str, Any]:
    """Return the figures of both tables for machines."""
    return {
        "patterns": {"drawn": demo.patterns.n_drawn, "merged": demo.patterns.n_merged, "kept": len(demo.patterns)},
        "iht": _recovered_record(demo.iht),
        "l1": {**_recovered_record(demo.l1), "strength": demo.l1.solution.program.strength},
        "linear": {"loss": demo.linear.loss, "test_accuracy": demo.linear.accuracy},
        "radius": RADIUS,
        "images": [{"image": image.row, **answer_record(image.answer)} for image in demo.images],
        "seconds": demo.seconds,
    }


def _recovered_record(recovered: Recovered) -> dict[str, Any]:
    return {
        "loss": recovered.loss,
        "weights": recovered.solution.nnz,
        "gap": recovered.solution.gap,
        "seconds": recovered.seconds,
        "exact": _mapped_record(recovered.exact),
        "refit": _mapped_record(recovered.refit),
    }


def _mapped_record(mapped: Mapped) -> dict[str, Any]:
    return {
        "nonzeros": mapped.mapping.network.nnz,
        "neurons": mapped.mapping.network.n_neurons,
        "worst_difference": mapped.mapping.error,
        "loss": mapped.mapping.loss,
        "test_accuracy": mapped.accuracy,
    }

"""What a study is, and where each one is found by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from convexnn.checks import as_known

# A row as it is read from the table: text under the name of its column.
Row = dict[str, str]

# What identifies a run: names and JSON scalars (text, numbers, True, False, None) alone.
Run = dict[str, Any]

Size = Literal["quick", "default", "full"]

# Seeds where the caller names none.
SEEDS: Mapping[Size, tuple[int, ...]] = MappingProxyType({"quick": (0, 1), "default": (0, 1, 2), "full": (0, 1, 2)})

# The module of each study and its name there; imported when asked for.
STUDIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "planted": ("convexnn.studies.planted", "PLANTED"),
        "mnist-binary": ("convexnn.studies.mnist", "BINARY"),
        "mnist": ("convexnn.studies.mnist", "MNIST"),
        "inr-mnist": ("convexnn.studies.images", "MNIST"),
        "inr-cifar": ("convexnn.studies.images", "CIFAR"),
        "iris": ("convexnn.studies.iris", "IRIS"),
        "attack": ("convexnn.studies.attack", "ATTACK"),
        "maximize": ("convexnn.studies.maximize", "MAXIMIZE"),
        "memory": ("convexnn.studies.memory", "MEMORY"),
        "train-to-verify": ("convexnn.studies.train_to_verify", "TRAIN_TO_VERIFY"),
    }
)


@dataclass(frozen=True)
class Scale:
    """How much is asked for.

    Attributes
    ----------
    size : {"quick", "default", "full"}
        At most 10 minutes on 2 cores; what the documents state; the paper's whole grid.
    seeds : tuple of int
        Of the runs.

    Examples
    --------
    >>> from convexnn.studies.harness.study import Scale, study_named
    >>> study = study_named("planted")
    >>> len(study.runs(Scale("quick", (0,)))) < len(study.runs(Scale("full", (0,))))
    True
    """

    size: Size
    seeds: tuple[int, ...]


def equal_cost(run: Run) -> float:
    """Return 1: every run takes as long as any other."""
    return 1.0


def no_details(rows: list[Row]) -> str:
    """Return no details: the tables say it all."""
    return ""


@dataclass(frozen=True)
class Study:
    """One experiment of a paper, with what stands beside it.

    Attributes
    ----------
    name : str
        As on the command line.
    title : str
        One line.
    protocol : str
        What the paper did, what is done otherwise here, and why: a paragraph of Markdown.
    keys : tuple of str
        Columns that identify a run. Whatever changes the outcome is a key (a limit of time, a number of epochs): a run
        that is in the table is not run again.
    fields : tuple of str
        Columns that are measured, beside ``seconds``, ``peak_mb`` and ``versions``, which the sweep adds.
    runs : callable
        From a :class:`Scale` to its runs, in the order of the tables; every run has all `keys`.
    answer : callable
        A module-level function from a run to its `fields`; other values of ``seconds`` and ``peak_mb`` than those of
        the whole call may be among them. A run that gives several rows returns a list of them, each with the keys in
        which it differs from the run; one row has the run's own keys.
    figures : callable
        Draws the rows of the runs into a folder; returns the files.
    tables : callable
        From the rows to Markdown: the tables of the page, and of the terminal.
    details : callable
        From the rows to Markdown: tables of every cell, where those are many; folded at the end of the page.
    cost : callable
        What a run takes, in any unit, as far as it is known before; for the time left.

    Examples
    --------
    >>> from convexnn.studies.harness.study import study_named
    >>> study = study_named("iris")
    >>> study.name, "seed" in study.keys, callable(study.answer)
    ('iris', True, True)
    """

    name: str
    title: str
    protocol: str
    keys: tuple[str, ...]
    fields: tuple[str, ...]
    runs: Callable[[Scale], list[Run]]
    answer: Callable[[Run], list[dict[str, Any]] | dict[str, Any]]
    figures: Callable[[list[Row], Path], list[Path]]
    tables: Callable[[list[Row]], str]
    details: Callable[[list[Row]], str] = no_details
    cost: Callable[[Run], float] = equal_cost


def study_named(name: str) -> Study:
    """Return the study of a name; the error lists those that there are.

    Examples
    --------
    >>> from convexnn.studies.harness.study import STUDIES, study_named
    >>> [study_named(name).name for name in STUDIES] == list(STUDIES)
    True
    """
    module, attribute = STUDIES[as_known(name, "study", STUDIES)]
    study: Study = getattr(importlib.import_module(module), attribute)
    return study

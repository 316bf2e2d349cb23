"""What the studies of surrogates share: single methods and the portfolio on one question, and a table that resumes.

A question is max c . outputs of a dense network over a region, and whether it exceeds a level. A single method sees
every point it finds evaluated in the dense network as it is, unpolished; its time counts from nothing, bounds and
model included.
"""

from __future__ import annotations

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.ascent import ascend
from verify.backends import candidates, first_sound
from verify.surrogates import Surrogate
from verify.surrogates import candidates as points_of


@dataclass(frozen=True)
class Question:
    """A dense network, a region, the weights c (k,) of its outputs, and the level to exceed (infinite: none)."""

    network: cx.SparseReLUNetwork
    region: verify.Box
    row: Floats
    level: float
    limit: float
    seed: int


@dataclass
class Record:
    """What one method found: the best value, and the seconds at which it came and at which the level was exceeded."""

    question: Question
    began: float = field(default_factory=perf_counter)
    best: float = -np.inf
    best_at: float = np.nan
    first: float = np.nan

    def seconds(self) -> float:
        """Return the seconds since the method began."""
        return perf_counter() - self.began

    def left(self) -> float:
        """Return the seconds left."""
        return max(0.0, self.question.limit - self.seconds())

    def show(self, point: Floats) -> bool:
        """Evaluate a point in the dense network; return whether it exceeds the level."""
        value = float(self.question.network.activations(point[None])[-1][0] @ self.question.row)
        if value > self.best:
            self.best, self.best_at = value, self.seconds()
        if value > self.question.level and np.isnan(self.first):
            self.first = self.seconds()
        return value > self.question.level


def by_milp(question: Question, copy: cx.SparseReLUNetwork, engine: str) -> dict[str, Any]:
    """Return what the MILP of one network, the dense one or a copy, finds: every incumbent counts."""
    record = Record(question)
    line, trouble = first_sound(candidates(engine))
    if line is None:
        raise SystemExit(trouble)
    known = verify.bound(copy, question.region)
    unstable = sum(len(layer.switching) for layer in known[:-1])
    built = verify.encode(copy, question.region, question.row, known)
    building = record.seconds()
    points_of(Surrogate("", copy), question.region, question.row, line, record.left, record.show, rounds=1)
    more = {"unstable": unstable, "nonzeros": built.milp.rows.nnz, "building": building}
    return {**_row(record), **more}


def by_ascent(question: Question) -> dict[str, Any]:
    """Return what gradient ascent finds that begins anew, anywhere, until the time is over."""
    record, rng = Record(question), np.random.default_rng(question.seed)
    done = False
    while not done and record.left() > 0.0:
        point, _ = ascend(question.network, question.region, question.row, rng, stop=lambda: record.left() <= 0.0)
        done = record.show(point)
    return _row(record)


def by_relaxation(question: Question, engine: str) -> dict[str, Any]:
    """Return what the point of the dense network's linear relaxation is worth."""
    record = Record(question)
    encoding = verify.encode(question.network, question.region, question.row)
    outcome = candidates(engine)[0].maximise(encoding.milp.relaxed(), record.left())
    if outcome.values is not None:
        record.show(encoding.point(outcome.values))
    return _row(record)


def _row(record: Record) -> dict[str, Any]:
    return {
        "found": int(np.isfinite(record.first)),
        "first": record.first,
        "best": record.best,
        "best_at": record.best_at,
        "seconds": record.seconds(),
    }


FIELDS = ("found", "first", "best", "best_at", "seconds", "unstable", "nonzeros", "building", "note")


def options(about: str | None, seeds: int, folder: str) -> Namespace:
    """Return the options of a study from the command line."""
    parser = ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", default=folder)
    parser.add_argument("--engine", default="highspy")
    return parser.parse_args()


class Table:
    """A CSV file with one row a run; runs that it has are not run again."""

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        self.versions = " ".join(f"{name}-{version(name)}" for name in ("convexnn", "numpy", "torch", "highspy"))
        if not path.exists():
            self._write([*keys, *FIELDS, "versions"], "w")

    def rows(self) -> list[dict[str, str]]:
        """Return all rows."""
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def missing(self, runs: Iterable[Any]) -> list[Any]:
        """Return the runs, dataclasses with the fields `keys`, that have no row."""
        known = {tuple(row[key] for key in self.keys) for row in self.rows()}
        return [run for run in runs if tuple(str(asdict(run)[key]) for key in self.keys) not in known]

    def add(self, run: Any, found: dict[str, Any]) -> None:
        """Write a row."""
        values = {name: f"{value:.9g}" if isinstance(value, float) else value for name, value in found.items()}
        self._write([asdict(run)[key] for key in self.keys] + [values.get(name, "") for name in FIELDS], "a")

    def _write(self, values: list[Any], mode: str) -> None:
        with self.path.open(mode, newline="") as file:
            csv.writer(file).writerow(values if mode == "w" else [*values, self.versions])


def run_all(table: Table, runs: list[Any], answer: Callable[[Any], dict[str, Any]], jobs: int) -> None:
    """Run what the table lacks, in some processes, and write each row as it comes."""
    from joblib import Parallel, delayed

    waiting = table.missing(runs)
    began = perf_counter()
    found = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_tagged)(answer, run) for run in waiting)
    for number, (run, row) in enumerate(found, 1):
        table.add(run, row)
        left = (perf_counter() - began) / number * (len(waiting) - number)
        print(f"\r{number} of {len(waiting)} runs, about {left / 60.0:.0f} min left ", end="", flush=True)
    print()


def _tagged(answer: Callable[[Any], dict[str, Any]], run: Any) -> tuple[Any, dict[str, Any]]:
    return run, answer(run)


def by(rows: list[dict[str, str]], *names: str) -> Iterator[tuple[tuple[str, ...], list[dict[str, str]]]]:
    """Yield rows with the same values of some columns, in the order in which they first appear."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    yield from groups.items()

"""Fit real tables with defaults only, and hold the nets against linear models, tuned MLPs, boosted trees and an EBM.

    python benchmarks/tables.py [--data diabetes wine ... | first | second] [--splits 5] [--engines ours linear ...]
        [--set ridge=0.01 ...] [--log FILE] [--markdown]

The tables and the rule that chose them: `tables_data.py`; `first` and `second` are its two halves. Three quarters of
the rows are fitted, stratified for labels, a quarter is scored: R2 for numbers, else accuracy. Engines:

* ours: the estimator as it is, random_state apart;
* linear: ridge or logistic regression on standardised features, the strength cross-validated;
* mlp: scikit-learn's on standardised features (and target), 100 hidden neurons and an alpha of 0.01, 1 or 10 by 3-fold
  GridSearchCV, at most 200 epochs a fit;
* boosting: HistGradientBoosting as it is;
* ebm: the explainable boosting machine of `interpret` with 2 outer bags (14 by default: a minute a fit) and 5
  interactions (none for more than two labels).

Weights are all that a net has, biases included. Seconds are of CPU, one thread: one fit of ours, the whole search of
the MLP's. Against each rival a table is won or lost where the mean difference over the splits is more than twice its
standard error (at least 2 splits), else tied. `--log` keeps what each fit gave in a file and reads it from there.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import json
import warnings
from ast import literal_eval
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables_data import SOURCES, halves, table

import convexnn as cx
from convexnn.tables import Table

# Standard errors of the mean difference beyond which a table is won or lost.
ERRORS = 2.0


@dataclass(frozen=True)
class EngineResult:
    """Score on the rows held out, number of weights and biases (0 where it says nothing), seconds of CPU."""

    score: float
    weights: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """Rows fitted and held out, with their targets, whether these are labels, and the seed of the split."""

    rows: Any
    fresh: Any
    target: Any
    truth: Any
    labels: bool
    seed: int

    @classmethod
    def of(cls, name: str, seed: int) -> Task:
        """Return a split of a table."""
        X, y = table(name)
        labels = SOURCES[name].labels
        parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y if labels else None)
        rows, fresh, target, truth = parts
        return cls(rows, fresh, target, truth, labels, seed)

    def run(self, model: Any, count: Callable[[Any], int]) -> EngineResult:
        """Return how a model does, with the number of weights that `count` finds in it."""
        began = process_time()
        model.fit(self.rows, self.target)
        seconds = process_time() - began
        return EngineResult(model.score(self.fresh, self.truth), count(model), seconds)


def ours(task: Task, **options: Any) -> EngineResult:
    """Fit the estimator with its defaults, or with the options given."""
    kind = cx.SparseReLUClassifier if task.labels else cx.SparseReLURegressor
    return task.run(kind(random_state=task.seed, **options), lambda model: model.network_.nnz)


def linear(task: Task) -> EngineResult:
    """Fit a linear model whose strength is cross-validated: what there is to gain over it."""
    best = (
        LogisticRegressionCV(Cs=7, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False)
        if task.labels
        else RidgeCV(np.logspace(-3, 3, 13))
    )
    model = make_pipeline(StandardScaler(), best)
    return task.run(model, lambda model: model[-1].coef_.size + np.size(model[-1].intercept_))


def mlp(task: Task) -> EngineResult:
    """Tune scikit-learn's MLP by a grid search."""
    if task.labels:
        model, prefix = make_pipeline(StandardScaler(), MLPClassifier(random_state=task.seed)), "mlpclassifier__"
    else:
        network = make_pipeline(StandardScaler(), MLPRegressor(random_state=task.seed))
        model = TransformedTargetRegressor(network, transformer=StandardScaler())
        prefix = "regressor__mlpregressor__"
    search = GridSearchCV(model, {f"{prefix}alpha": [0.01, 1.0, 10.0]}, cv=3)
    return task.run(search, _mlp_weights)


def _mlp_weights(search: Any) -> int:
    best = search.best_estimator_
    found = best[-1] if hasattr(best, "steps") else best.regressor_[-1]
    return sum(part.size for part in (*found.coefs_, *found.intercepts_))


def boosting(task: Task) -> EngineResult:
    """Fit scikit-learn's boosted trees with their defaults."""
    kind = HistGradientBoostingClassifier if task.labels else HistGradientBoostingRegressor
    return task.run(kind(random_state=task.seed), lambda model: 0)


def ebm(task: Task) -> EngineResult:
    """Fit an explainable boosting machine."""
    glassbox = import_module("interpret.glassbox")
    kind = glassbox.ExplainableBoostingClassifier if task.labels else glassbox.ExplainableBoostingRegressor
    pairs = 5 if not task.labels or len(np.unique(task.target)) == 2 else 0
    return task.run(kind(outer_bags=2, interactions=pairs, n_jobs=1, random_state=task.seed), lambda model: 0)


ENGINES: dict[str, Callable[..., EngineResult]] = {
    "ours": ours,
    "linear": linear,
    "mlp": mlp,
    "boosting": boosting,
    "ebm": ebm,
}


class Log:
    """What fits gave, a line of JSON each, in a file or in memory alone."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known = {key: EngineResult(**result) for key, result in map(json.loads, lines)}

    def result(self, engine: str, name: str, seed: int, options: dict[str, Any]) -> EngineResult:
        """Return what an engine gives on a split: as it is known, or run now."""
        key = " ".join([engine, name, str(seed), *(f"{option}={value}" for option, value in options.items())])
        if key not in self.known:
            self.known[key] = ENGINES[engine](Task.of(name, seed), **options)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps([key, asdict(self.known[key])]) + "\n")
        return self.known[key]


@dataclass(frozen=True)
class Outcome:
    """The results of all engines on the splits of one table."""

    name: str
    runs: dict[str, list[EngineResult]]

    def mean(self, engine: str, field: str) -> float:
        """Return the mean of a field over the splits."""
        return float(np.mean([getattr(run, field) for run in self.runs[engine]]))

    def verdict(self, rival: str) -> str:
        """Return "win", "tie" or "loss" of ours against a rival."""
        differences = [own.score - other.score for own, other in zip(self.runs["ours"], self.runs[rival], strict=True)]
        mean = np.mean(differences)
        error = np.std(differences, ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else abs(mean)
        return "tie" if abs(mean) <= ERRORS * error else "win" if mean > 0.0 else "loss"

    def row(self, rivals: list[str]) -> tuple[str, ...]:
        """Return the figures of the table, one mark for each rival: + won, - lost."""
        marks = {"win": " +", "tie": "", "loss": " -"}
        scores = (f"{100 * self.mean(rival, 'score'):.1f}{marks[self.verdict(rival)]}" for rival in rivals)
        shape = " x ".join(map(str, table(self.name)[0].shape))
        share = f"{100 * self.share:.1f} %" if "mlp" in rivals else ""
        weights, seconds = f"{self.mean('ours', 'weights'):.0f}", f"{self.mean('ours', 'seconds'):.2f}"
        own = f"{100 * self.mean('ours', 'score'):.1f}"
        return (self.name.replace("_", " "), shape, own, *scores, weights, share, seconds)

    @property
    def share(self) -> float:
        """Weights of ours as a share of the MLP's."""
        return self.mean("ours", "weights") / self.mean("mlp", "weights")


def summary(outcomes: list[Outcome], rivals: list[str]) -> list[str]:
    """Return lines on all tables: wins, ties and losses, seconds, the share of weights."""
    lines = []
    for rival in rivals:
        verdicts = [outcome.verdict(rival) for outcome in outcomes]
        counts = " / ".join(f"{verdicts.count(kind)}" for kind in ("win", "tie", "loss"))
        seconds = sum(outcome.mean(rival, "seconds") for outcome in outcomes)
        lines.append(f"against {rival}: {counts} (wins / ties / losses); {seconds:.0f} s for all tables")
    lines.append(f"ours: {sum(outcome.mean('ours', 'seconds') for outcome in outcomes):.0f} s for all tables")
    if "mlp" in rivals:
        lines.append(f"share of the MLP's weights: {100 * np.mean([outcome.share for outcome in outcomes]):.1f} %")
    return lines


def main() -> None:
    parser = common.option_parser(__doc__)
    parser.add_argument("--data", nargs="+", choices=["first", "second", *SOURCES], default=list(SOURCES))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters other than the defaults")
    parser.add_argument("--log", type=Path, help="file that keeps what each fit gave; fits in it are not run again")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    options = {name: literal_eval(value) for name, _, value in (item.partition("=") for item in given.set)}
    parts = dict(zip(("first", "second"), halves(), strict=True))
    names = [name for entry in given.data for name in parts.get(entry, [entry])]
    log, rivals = Log(given.log), [engine for engine in given.engines if engine != "ours"]
    outcomes = []
    with warnings.catch_warnings():
        # An MLP that has not converged after its epochs is one of the candidates like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name in names:
            runs = {
                engine: [
                    log.result(engine, name, seed, options if engine == "ours" else {}) for seed in range(given.splits)
                ]
                for engine in dict.fromkeys(["ours", *rivals])
            }
            outcomes.append(Outcome(name, runs))
    header = ("data", "size", "ours", *rivals, "weights", "of the MLP's", "seconds")
    rows = Table.of(header, [outcome.row(rivals) for outcome in outcomes])
    print(rows.to_markdown() if given.markdown else rows.to_text())
    print("\n".join(summary(outcomes, rivals)))


if __name__ == "__main__":
    main()

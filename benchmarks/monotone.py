"""What monotone features cost in accuracy on real tables, and how often networks without turn where they should not.

Tables of `tables_data.py`, whose packages it needs for pima and boston. The signs are those that a doctor or an agent
would state; nobody looked for the best. Beside ours stand scikit-learn's boosted trees with the same signs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import common
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from tables_data import SOURCES, table

import convexnn as cx
from convexnn.checks import Floats
from convexnn.tables import Table

# Of each table the columns with a sign, by their places, and the words for them.
RISING = {
    "diabetes": ({2: 1, 3: 1, 8: 1}, "body mass, blood pressure, triglycerides +"),
    "boston": ({0: -1, 4: -1, 5: 1, 10: -1, 12: -1}, "rooms +; crime, nitric oxides, pupils, poverty -"),
    "pima": ({1: 1, 4: 1, 5: 1, 6: 1}, "glucose, body mass, pedigree, age +"),
    "breast_cancer": (
        {place: -1 for group in (0, 20) for place in (group, group + 2, group + 3, group + 6, group + 7)},
        "radius, perimeter, area, concavity, concave points, mean and worst: benign -",
    ),
}

# How far a feature is moved to see whether the output turns, in its deviations.
STEP = 0.5


def signs_of(name: str, n_features: int) -> list[int]:
    """Return the sign of each feature of a table."""
    return [RISING[name][0].get(place, 0) for place in range(n_features)]


def outputs(model: Any, rows: Floats) -> Floats:
    """Return numbers, or logits."""
    return np.asarray(model.decision_function(rows) if hasattr(model, "classes_") else model.predict(rows))


def turned(model: Any, rows: Floats, signs: list[int]) -> float:
    """Return the share of rows and features with a sign at which a step in the feature moves the output against it."""
    steps = STEP * rows.std(axis=0)
    wrong = [
        np.mean(sign * (outputs(model, rows + np.eye(len(signs))[place] * steps) - outputs(model, rows)) < 0.0)
        for place, sign in enumerate(signs)
        if sign
    ]
    return float(np.mean(wrong))


def run(name: str, splits: int) -> tuple[str, ...]:
    """Return the figures of a table: scores free and monotone, their difference with its error, what turns, weights."""
    X, y = table(name)
    labels, signs = SOURCES[name].labels, signs_of(name, X.shape[1])
    own = cx.SparseReLUClassifier if labels else cx.SparseReLURegressor
    trees = HistGradientBoostingClassifier if labels else HistGradientBoostingRegressor
    scores = np.empty((splits, 4))
    weights, turning = np.empty((splits, 2)), np.empty((splits, 2))
    for seed in range(splits):
        rows, fresh, target, truth = train_test_split(
            X, y, test_size=0.25, random_state=seed, stratify=y if labels else None
        )
        for place, (kind, cst) in enumerate((kind, cst) for kind in (own, trees) for cst in (None, signs)):
            model = partial(kind, random_state=seed)(monotonic_cst=cst).fit(rows, target)
            scores[seed, place] = model.score(fresh, truth)
            if kind is own:
                weights[seed, place], turning[seed, place] = model.network_.nnz, turned(model, fresh, signs)
    free, monotone, *beside = (f"{100 * score:.1f}" for score in scores.mean(axis=0))
    cost = 100 * (scores[:, 1] - scores[:, 0])
    difference = f"{cost.mean():+.1f} +- {cost.std(ddof=1) / splits**0.5:.1f}"
    shares = [f"{100 * share:.1f} %" for share in turning.mean(axis=0)]
    counts = [f"{count:.0f}" for count in weights.mean(axis=0)]
    return (name.replace("_", " "), RISING[name][1], free, monotone, difference, *beside, *shares, *counts)


def main() -> None:
    parser = common.option_parser(__doc__)
    parser.add_argument("--data", nargs="+", choices=list(RISING), default=list(RISING))
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    scores = ("free", "monotone", "difference", "trees", "monotone trees")
    header = ("data", "signs", *scores, "turned, free", "turned, monotone", "nonzeros", "monotone nonzeros")
    rows = Table.of(header, [run(name, given.splits) for name in given.data])
    print(rows.to_markdown() if given.markdown else rows.to_text())


if __name__ == "__main__":
    main()

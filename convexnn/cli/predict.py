"""The command `predict`: what a saved model says of the rows of a table."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from convexnn.checks import Floats
from convexnn.cli.common.printing import score_name
from convexnn.cli.files.data_file import read_data, read_features
from convexnn.cli.files.writable import writable_if_given
from convexnn.tables import write_csv


def predict(
    model: Annotated[Path, typer.Argument(help="The model: an .npz file written by `convexnn fit --save`.")],
    data: Annotated[Path, typer.Argument(help="Rows with the model's features, by name; other columns are ignored.")],
    target: Annotated[
        str | None, typer.Option(help="Column that holds the truth; its score is told on standard error.")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="One more column for each class.")] = False,
    to_csv: Annotated[Path | None, typer.Option("--csv", help="Write to this file, not to standard output.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Print the predictions of a saved model for the rows of a table, as CSV with the header `prediction`.

    Example: convexnn predict model.npz new.csv --csv predictions.csv
    """
    file = writable_if_given(to_csv, [model, data])
    estimator = read_model(model)
    if probabilities and not hasattr(estimator, "classes_"):
        raise ValueError(f"probabilities asked of {model}, which predicts numbers; expected a model of classes")
    names = [str(name) for name in getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))]
    # Rows of a file are arrays, which scikit-learn would warn of: they have no names of their own.
    vars(estimator).pop("feature_names_in_", None)
    X = read_features(data, names)
    predicted = estimator.predict(X)
    header, columns = ["prediction"], [predicted.tolist()]
    if probabilities:
        header += [f"probability of {label}" for label in estimator.classes_]
        columns += estimator.predict_proba(X).T.tolist()
    score = None if target is None else _score(estimator, X, data, target)
    rows = list(zip(*columns, strict=True))
    if as_json:
        print(json.dumps({"columns": header, "rows": rows, "score": score}))
    elif file is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
    if file is not None:
        write_csv(file, header, rows)
    if score is not None:
        print(f"{score_name(estimator)} {score:.4f} on {len(X)} rows", file=sys.stderr)


def read_model(path: Path) -> Any:
    """Return the estimator of a file, of whichever kind it is."""
    from convexnn.estimators.classifier import SparseReLUClassifier
    from convexnn.estimators.files import estimator_kind
    from convexnn.estimators.regressor import SparseReLURegressor

    kinds: dict[str, Any] = {kind.__name__: kind for kind in (SparseReLUClassifier, SparseReLURegressor)}
    kind = estimator_kind(path)
    if kind not in kinds:
        raise ValueError(f"{path} holds a {kind}; expected one of: {', '.join(kinds)}")
    return kinds[kind].load(path)


def _score(estimator: Any, X: Floats, data: Path, target: str) -> float:
    """Return the score against a column of the file, which must be of the kind that the model predicts."""
    truth = read_data(data, target).y
    numbers = truth.dtype.kind == "f"
    if hasattr(estimator, "classes_"):
        # Numbers are compared as numbers: a truth of 1.5 is not the class 1.
        alike = numbers and estimator.classes_.dtype.kind != "U"
        predicted = estimator.predict(X)
        return float(np.mean(predicted == truth if alike else predicted.astype(str) == truth.astype(str)))
    if not numbers:
        raise ValueError(f"target {target!r} holds text, and the model predicts numbers; expected a column of numbers")
    return float(estimator.score(X, np.asarray(truth)))

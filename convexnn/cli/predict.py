"""The command `predict`: what a saved model says of the rows of a table."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from convexnn.cli.common import options as shared
from convexnn.cli.common.printing import print_remark, score_name
from convexnn.cli.files.data_file import Rows, read_rows
from convexnn.cli.files.writable import writable_if_given
from convexnn.cli.tables.cells import flag
from convexnn.cli.tables.encoding import Encoding
from convexnn.cli.tables.raw_table import shown
from convexnn.tables import write_csv


def predict(
    model: Annotated[Path, typer.Argument(help="The model: an .npz file written by `convexnn fit --save`.")],
    data: Annotated[Path, typer.Argument(help="Rows with the model's features, by name; other columns are ignored.")],
    target: Annotated[
        str | None, typer.Option(help="Column that holds the truth; its score is told on standard error.")
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(help="Missing cells: fail; drop: an empty prediction; or median. (default: as in the fit)"),
    ] = None,
    unknown: Annotated[str, typer.Option(help="Text that the model does not know: fail, or zero.")] = "fail",
    separator: shared.Separator = None,
    comment: shared.Comment = None,
    decimal: shared.Decimal = ".",
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
    rows = read_rows(
        data,
        estimator_encoding(estimator, model),
        target,
        missing=missing,
        unknown=unknown,
        separator=separator,
        decimal=decimal,
        comment=comment,
        truth_as=_truth_as(estimator),
    )
    for remark in rows.remarks:
        print_remark(remark)
    # Rows of a file are arrays, which scikit-learn would warn of: they have no names of their own.
    vars(estimator).pop("feature_names_in_", None)
    predicted = estimator.predict(rows.X)
    header, columns = ["prediction"], [predicted.tolist()]
    if probabilities:
        header += [f"probability of {label}" for label in estimator.classes_]
        columns += estimator.predict_proba(rows.X).T.tolist()
    score = None if target is None else _score(estimator, rows, predicted, target)
    strange = None if target is None else _strange_labels(estimator, rows, target)
    if strange is not None:
        print_remark(strange)
    lines = _in_place(list(zip(*columns, strict=True)), rows.kept.tolist(), len(header))
    if as_json:
        print(json.dumps({"columns": header, "rows": lines, "score": score}))
    elif file is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *lines])
    if file is not None:
        write_csv(file, header, lines)
    if score is not None:
        print(f"{score_name(estimator)} {score:.4f} on {int(rows.known.sum())} rows", file=sys.stderr)


def read_model(path: Path) -> Any:
    """Return the estimator of a file, of whichever kind it is."""
    from convexnn.estimators.classifier import SparseReLUClassifier
    from convexnn.estimators.files import estimator_kind
    from convexnn.estimators.regressor import SparseReLURegressor

    kinds: dict[str, Any] = {kind.__name__: kind for kind in (SparseReLUClassifier, SparseReLURegressor)}
    kind = estimator_kind(path)
    if kind not in kinds:
        raise ValueError(f"{path} holds a {kind}; expected one of: {', '.join(kinds)}")
    estimator = kinds[kind].load(path)
    estimator_encoding(estimator, path)
    return estimator


def estimator_encoding(estimator: Any, path: Path) -> Encoding:
    """Return how columns become features of an estimator of a file; one that does not say takes them as numbers."""
    if not hasattr(estimator, "columns_"):
        names = getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))
        return Encoding.of_numbers([str(name) for name in names])
    try:
        return Encoding.from_record(estimator.columns_, estimator.n_features_in_)
    except ValueError as error:
        raise ValueError(f"{path} is not an estimator saved by convexnn ({error})") from None


def _in_place(predicted: list[tuple[Any, ...]], kept: list[bool], width: int) -> list[tuple[Any, ...]]:
    """Return one tuple a row of the table, empty where a row was left out."""
    given = iter(predicted)
    return [next(given) if keep else (None,) * width for keep in kept]


def _truth_as(estimator: Any) -> str:
    """Return what a truth must be read as to be held against the predictions."""
    if not hasattr(estimator, "classes_"):
        return "numbers"
    return "text" if estimator.classes_.dtype.kind in "UO" else "labels"


def _spelt(truth: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """Return labels as text; yes and no as the classes spell them, where these are yes and no."""
    labels, known = truth.astype(str), {flag(str(label)): str(label) for label in classes}
    if None in known or len(known) < len(classes):
        return labels
    return np.array([known.get(flag(label), label) for label in labels.tolist()])


def _strange_labels(estimator: Any, rows: Rows, target: str) -> str | None:
    """Return the line about a truth that is none of the model's labels; None where there is no such, or no labels."""
    if not hasattr(estimator, "classes_"):
        return None
    truth, classes = np.asarray(rows.truth)[rows.known], estimator.classes_
    wrong = ~np.isin(*((truth, classes) if truth.dtype.kind == "f" else (_spelt(truth, classes), classes.astype(str))))
    if not wrong.any():
        return None
    example = truth[wrong][0]
    cell = f"{example:.15g}" if truth.dtype.kind == "f" else repr(str(example))
    count = "none" if wrong.all() else f"{np.count_nonzero(~wrong):,}"
    names = shown([str(label) for label in classes])
    return f"column {target!r}: {count} of {len(wrong):,} labels known to the model ({names}); {cell} counts as wrong"


def _score(estimator: Any, rows: Rows, predicted: NDArray[Any], target: str) -> float:
    """Return the score against a column of the file, which must be of the kind that the model predicts."""
    truth, told = np.asarray(rows.truth)[rows.known], predicted[rows.known]
    numbers = truth.dtype.kind == "f"
    if hasattr(estimator, "classes_"):
        # Numbers are compared as numbers: a truth of 1.5 is not the class 1.
        return float(np.mean(told == truth if numbers else told.astype(str) == _spelt(truth, estimator.classes_)))
    if not numbers:
        raise ValueError(f"target {target!r} holds text, and the model predicts numbers; expected a column of numbers")
    return float(estimator.score(rows.X[rows.known], truth))

"""The command `fit`: a table in, an estimator with a sparse ReLU network out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from convexnn.checks import as_known, as_nonnegative, require
from convexnn.cli.common import options as shared
from convexnn.cli.common.exit_codes import FIT_CODES
from convexnn.cli.common.printing import print_json, print_plain, print_remark, score_name
from convexnn.cli.files.data_file import DataFile, read_data
from convexnn.cli.files.writable import writable
from convexnn.formulas import folded_lines, is_short
from convexnn.tables import counting

TASKS = ("auto", "classify", "regress")

# What is said of a fit that was cut short, by the name of its status.
CUT_SHORT_BY = {
    "TIME_LIMIT": "cut short by the time limit: this is the best network by then; raise --time-limit for a better one",
    "INTERRUPTED": "cut short by Ctrl-C or SIGTERM: this is the best network by then; fit anew for a better one",
}

# What parts two features with signs: a comma after a sign, as the name of a feature may have one.
SIGNED = re.compile(r"(?<==[01])\s*,|(?<==[-+][01])\s*,")

# Distinct whole numbers up to which a target of numbers looks like labels.
FEW = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """An estimator fitted to the training rows of a table, and its scores; None where no rows were held out."""

    model: Any
    data: DataFile
    n_train: int
    n_test: int
    train_score: float | None
    test_score: float | None
    seconds: float

    @property
    def measure(self) -> str:
        """What the scores are."""
        return score_name(self.model)


def fit(
    data: Annotated[Path, typer.Argument(help="A table: CSV, packed by gzip or not, or Parquet.")],
    target: shared.TargetColumn = None,
    drop: shared.DroppedColumns = None,
    missing: shared.Missing = "fail",
    separator: shared.Separator = None,
    comment: shared.Comment = None,
    decimal: shared.Decimal = ".",
    text: shared.TextColumns = None,
    task: Annotated[
        str, typer.Option(help="auto, classify or regress. (auto: text is classified, numbers are regressed on)")
    ] = "auto",
    budget: Annotated[
        int | None, typer.Option(help="Most nonzero weights, biases apart. (default: from the data's size)")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(help="Most neurons of a hidden layer. (default: 1.8 times the root of the budget, at most 100)"),
    ] = None,
    depth: Annotated[int, typer.Option(help="Hidden layers.")] = 1,
    bias: Annotated[bool, typer.Option(help="Whether neurons and outputs have biases.")] = True,
    ridge: Annotated[float | None, typer.Option(help="Strength of the ridge. (default: from the noise)")] = None,
    monotonic: shared.Monotonic = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds, reading the table among them. (default: none)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of the search.")] = 0,
    test_share: Annotated[
        float, typer.Option(help="Share of the rows that is held out and scored; 0: none, all rows are fitted.")
    ] = 0.25,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    save: Annotated[
        Path | None, typer.Option(help="Write the model to this .npz file; `convexnn predict` reads it.")
    ] = None,
    onnx: Annotated[Path | None, typer.Option(help="Write the network to this .onnx file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Fit a sparse ReLU network to a table and score it on rows held out: R2 for numbers, accuracy for labels.

    Columns of text become a feature for each value, and True and False, or yes and no, 1 and 0. The model keeps how.

    Example: convexnn fit data.csv --target price --budget 40 --save model.npz

    Exit code 0: fitted; 4: cut short by the time limit, Ctrl-C or SIGTERM, what it had by then is shown and written; 2:
    bad input; 130: interrupted before there was a network.
    """
    if not 0.0 <= as_nonnegative(test_share, "test_share") < 1.0:
        raise ValueError(f"test_share is {test_share}; expected a share of at least 0 and below 1")
    written = [writable(path, [data]) for path in (save, onnx) if path is not None]
    if onnx is not None:
        require("onnx", "onnx", "--onnx")
    began = perf_counter()
    table = read_table(
        data,
        target,
        drop,
        task,
        {"missing": missing, "separator": separator, "comment": comment, "decimal": decimal, "text": text or []},
    )
    reading = perf_counter() - began
    options: dict[str, Any] = {"budget": budget, "width": width, "depth": depth, "bias": bias, "ridge": ridge}
    options |= {
        "monotonic_cst": monotonic_signs(monotonic, table.features),
        "time_limit": time_limit,
        "random_state": seed,
        "device": device,
    }
    model, y = estimator_and_target(table, task, options)
    fitted = _fitted(model, table, y, test_share, seed, reading)
    if hint := _hint(table, task):
        print_remark(hint)
    if save is not None:
        fitted.model.save(save)
    if onnx is not None:
        fitted.model.network_.to_onnx(onnx)
    if as_json:
        print_json(_record(fitted))
    else:
        print_plain(_words(fitted))
        if written:
            print_plain("written: " + ", ".join(map(str, written)))
    if (status := fitted.model.status_.name) in FIT_CODES:
        print_remark(CUT_SHORT_BY[status])
        raise typer.Exit(FIT_CODES[status])


def read_table(data: Path, target: str | None, drop: list[str] | None, task: str, reading: dict[str, Any]) -> DataFile:
    """Return the table of a file, its remarks printed; `reading` holds the options of how it is read."""
    labels = task == "classify"
    table = read_data(data, target, drop or [], labels=labels, labels_by="--task classify", **reading)
    for remark in table.remarks:
        print_remark(remark)
    return table


def estimator_and_target(table: DataFile, task: str, options: dict[str, Any]) -> tuple[Any, NDArray[Any]]:
    """Return the estimator for the table's target, unfitted, and the target as it takes it."""
    from convexnn.estimators.classifier import SparseReLUClassifier
    from convexnn.estimators.regressor import SparseReLURegressor

    as_known(task, "task", TASKS)
    numbers = table.y.dtype.kind == "f"
    if task == "regress" and not numbers:
        raise ValueError(f"task is 'regress', and target {table.target!r} holds text; expected numbers")
    if numbers and task != "classify":
        return SparseReLURegressor(**options), table.y
    whole = numbers and bool((table.y == np.round(table.y)).all())
    if numbers and not whole:
        odd = float(table.y[np.argmax(table.y != np.round(table.y))])
        raise ValueError(
            f"task is 'classify', and target {table.target!r} holds {odd}; expected labels: text, or whole numbers"
        )
    return SparseReLUClassifier(**options), table.y.astype(np.int64) if whole else table.y


def monotonic_signs(text: str | None, features: Sequence[str]) -> list[int] | None:
    """Return -1, 0 or 1 for each feature, from words such as debt=-1,income=+1."""
    if text is None:
        return None
    signs = dict[str, int]()
    for word in SIGNED.split(text):
        # The name of a feature of a text column has an = of its own.
        name, equals, sign = word.strip().rpartition("=")
        if name not in features:
            known = ", ".join(map(repr, features[:FEW])) + (", ..." if len(features) > FEW else "")
            what = f"{name!r} is no feature" if equals else f"{sign!r} has no sign"
            raise ValueError(f"monotonic is {text!r}, and {what}; expected NAME=SIGN of {known}")
        if sign not in ("-1", "0", "1", "+1"):
            raise ValueError(f"monotonic gives {name!r} the sign {sign!r}; expected +1, 0 or -1")
        if signs.setdefault(name, int(sign)) != int(sign):
            raise ValueError(f"monotonic gives {name!r} the signs {signs[name]} and {sign}; expected one of them")
    return [signs.get(name, 0) for name in features]


def _hint(table: DataFile, task: str) -> str:
    """Return a word about a target of numbers that may be meant as labels."""
    if task != "auto" or table.y.dtype.kind != "f":
        return ""
    values = np.unique(table.y)
    if len(values) == 1:
        return f"target {table.target!r} is {values[0]:g} in every row: there is nothing to learn"
    if len(values) > FEW or (values != np.round(values)).any():
        return ""
    return (
        f"target {table.target!r} holds {len(values)} whole numbers, fitted as such; --task classify if they are labels"
    )


def _fitted(model: Any, table: DataFile, y: NDArray[Any], test_share: float, seed: int, reading: float) -> Fitted:
    """Return the model fitted to the rows that are not held out, with its scores; `reading` has taken of its time."""
    train, test = _split(y, test_share, seed)
    limit, began = model.time_limit, perf_counter()
    if limit is not None:
        model.set_params(time_limit=max(0.0, as_nonnegative(limit, "time_limit") - reading))
    model.fit(table.X[train], y[train])
    seconds = perf_counter() - began
    model.set_params(time_limit=limit)
    scores = [float(model.score(table.X[rows], y[rows])) if len(rows) else None for rows in (train, test)]
    model.feature_names_in_ = np.array(table.features, dtype=object)
    model.columns_ = table.encoding.to_record()
    return Fitted(model, table, len(train), len(test), scores[0], scores[1], seconds)


def _split(y: NDArray[Any], test_share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows to fit and those held out; labels keep their shares where each has rows enough for it."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(y))
    n_test = round(test_share * len(y))
    if n_test == 0 or (n_test < 2 and y.dtype.kind == "f"):
        # R2 of a single row is not defined.
        return rows, rows[:0]
    if len(y) - n_test < 2:
        raise ValueError(f"test_share is {test_share}, of {len(y)} rows; expected at least 2 rows left to fit")
    counts = np.unique(y, return_counts=True)[1]
    even = y.dtype.kind != "f" and counts.min() >= 2 and min(n_test, len(y) - n_test) >= len(counts)
    train, test = train_test_split(rows, test_size=n_test, random_state=seed, stratify=y if even else None)
    return train, test


def _words(fitted: Fitted) -> str:
    """Return the outcome in lines."""
    model, data, network = fitted.model, fitted.data, fitted.model.network_
    classes = f", {len(model.classes_)} classes" if hasattr(model, "classes_") else ""
    weights = f"{counting(_weights(network), 'weight')} of at most {model.budget_}"
    held = (
        ""
        if fitted.test_score is None
        else f"{fitted.measure} {fitted.test_score:.4f} on {fitted.n_test} rows held out"
    )
    own = f"{fitted.measure} {fitted.train_score:.4f} on the {fitted.n_train} rows fitted"
    return "\n".join(
        (
            f"{type(model).__name__}: {data.target!r}{classes}, from {counting(len(data.features), 'feature')}",
            f"  {', '.join(part for part in (held, own) if part)}",
            f"  {network} ({weights}, and biases); {fitted.seconds:.1f} s",
            *_formulas(network, data),
        )
    )


def _formulas(network: Any, data: DataFile) -> list[str]:
    """Return the network's formulas in the names of the columns, a line a unit; none where it is too large for them.

    Neurons that are active on all rows are put into the outputs in lines of their own.
    """
    if not is_short(network.layers):
        return []
    lines = network.formula(data.features).split("\n")
    if len(network.layers) == 2:
        always = (network.activations(data.X)[0] > 0.0).all(axis=0)
        if always.any():
            names = ", ".join(f"h{unit}" for unit in np.flatnonzero(always))
            lines.append(f"with {names} active, as on all rows of the table:")
            lines += [f"  {line}" for line in folded_lines(network.layers, always, data.features)]
    return [f"    {line}" for line in lines]


def _weights(network: Any) -> int:
    return sum(int(weight.nnz) for weight, _ in network.layers)


def _record(fitted: Fitted) -> dict[str, Any]:
    model, network = fitted.model, fitted.model.network_
    return {
        "estimator": type(model).__name__,
        "target": fitted.data.target,
        "features": list(fitted.data.features),
        "classes": model.classes_.tolist() if hasattr(model, "classes_") else None,
        "measure": fitted.measure,
        "rows": {"fitted": fitted.n_train, "held_out": fitted.n_test},
        "score": {"fitted": fitted.train_score, "held_out": fitted.test_score},
        "budget": model.budget_,
        "weights": _weights(network),
        "nonzeros": network.nnz,
        "neurons": network.n_neurons,
        "formula": network.formula(fitted.data.features).split("\n") if is_short(network.layers) else [],
        "status": model.status_.name,
        "seconds": fitted.seconds,
    }

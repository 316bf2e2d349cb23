"""Read networks in the forms that people have, and hold each against onnxruntime, torch or scikit-learn.

    python benchmarks/doors.py [--only WORDS]

Torch modules are read as they are and as both exporters of torch write them (the second needs onnxscript), fitted
estimators as they are and as skl2onnx writes them (if installed), Keras networks in hand-made files as tf2onnx lays
them out; then all networks in the folder that CONVEXNN_DATA names. Printed: what was read, the largest difference
relative to the outputs, and why the others were refused.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from door_files import keras_like
from door_forms import Made, Rows, estimators, modules

import verify
from convexnn.checks import Floats
from verify.reading.graph.agreement import finished

N_ROWS = 20


@dataclass(frozen=True)
class Outcome:
    """What came of a form.

    Attributes
    ----------
    form : str
        Its name.
    network : str
        The network, or empty.
    gap : float
        The largest difference relative to the outputs.
    reason : str
        Why it was refused, or empty.
    """

    form: str
    network: str
    gap: float
    reason: str


def tried(form: str, made: Made) -> Outcome:
    """Read a source and compare it with what runs it."""
    try:
        network = verify.read_network(made.source, input_shape=made.shape)
    except (ValueError, TypeError) as error:
        return Outcome(form, "", 0.0, str(error))
    rows = np.random.default_rng(1).standard_normal((N_ROWS, network.n_inputs)).astype(np.float32)
    found = network.activations(rows.astype(np.float64))[-1]
    found = found if network.final is None else finished(found, network.final)
    expected = made.run(rows).reshape(N_ROWS, -1)
    gap = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1.0))
    return Outcome(form, str(network), gap, "")


def by_onnxruntime(model: bytes, rows: Rows) -> Floats:
    """Return the last output of a model for rows one by one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    tensor, name = session.get_inputs()[0], session.get_outputs()[-1].name
    sizes = [size if isinstance(size, int) and size > 0 else 1 for size in tensor.shape]
    kind = np.float64 if "double" in tensor.type else np.float32
    answers = [session.run([name], {tensor.name: row.reshape(sizes).astype(kind)})[0] for row in rows]
    if isinstance(answers[0], list):
        answers = [np.array(list(answer[0].values())) for answer in answers]
    return np.array([np.ravel(answer) for answer in answers], dtype=np.float64)


def exported(made: Made, dynamo: bool, dynamic: bool) -> Made:
    """Return a torch module as an exporter of torch writes it."""
    import torch

    example = torch.zeros(1, *made.sizes)
    options: dict[str, Any] = {"dynamo": dynamo}
    if dynamic and not dynamo:
        options |= {"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]}
    target: Any = None if dynamo else BytesIO()
    program = torch.onnx.export(made.source.eval(), (example,), target, verbose=False, **options)
    content = program.model_proto.SerializeToString() if program is not None else target.getvalue()
    return Made(content, lambda rows: by_onnxruntime(content, rows), None, made.sizes)


def converted(made: Made) -> Made:
    """Return an estimator as skl2onnx writes it."""
    # Not among the libraries that the types of this project know.
    skl2onnx, types = import_module("skl2onnx"), import_module("skl2onnx.common.data_types")
    content = skl2onnx.to_onnx(
        made.source, initial_types=[("x", types.FloatTensorType([None, made.sizes[0]]))], target_opset=17
    ).SerializeToString()
    return Made(content, lambda rows: by_onnxruntime(content, rows), None, made.sizes)


def forms() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the name of each form and what makes it."""
    for name, made in modules().items():
        yield f"torch {name}", partial(same, made)
        yield f"torch legacy export {name}", partial(exported, made, False, False)
        yield f"torch legacy export, dynamic batch {name}", partial(exported, made, False, True)
        if find_spec("onnxscript") is not None:
            yield f"torch dynamo export {name}", partial(exported, made, True, False)
    for name, made in estimators().items():
        yield f"scikit-learn {name}", partial(same, made)
        if find_spec("skl2onnx") is not None:
            yield f"skl2onnx {name}", partial(converted, made)
    for name, model in keras_like().items():
        yield f"tf2onnx-like {name}", partial(content_made, model.SerializeToString())
    for path in public_files():
        yield f"file {path.name}", partial(file_made, path)


def same(made: Made) -> Made:
    """Return a form as it is."""
    return made


def content_made(content: bytes) -> Made:
    """Return the network of the bytes of a file."""
    return Made(content, lambda rows: by_onnxruntime(content, rows), None, ())


def public_files() -> list[Path]:
    """Return the networks in the folder of data."""
    folder = os.environ.get("CONVEXNN_DATA")
    return [] if folder is None else sorted(Path(folder).glob("*/*.onnx")) + sorted(Path(folder).glob("*/*/*.onnx.gz"))


def file_made(path: Path) -> Made:
    """Return the network of a file."""
    from verify.reading.onnx_files.model_files import load_model

    content = load_model(path).proto.SerializeToString()
    return Made(path, lambda rows: by_onnxruntime(content, rows), None, ())


def main(given: list[str] | None = None) -> int:
    """Print what came of each form, and a summary; the exit code is 1 if one was read as another function."""
    parser: Any = common.option_parser(__doc__)
    parser.add_argument("--only", default="", help="forms whose name has these words")
    asked = parser.parse_args(given)
    counts: dict[str, Counter[str]] = {}
    worst, wrong = 0.0, False
    for form, make in forms():
        if asked.only not in form:
            continue
        kind = " ".join(form.split()[: 3 if "export" in form else 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = make()
            except Exception as error:
                print(f"{form}: could not be made ({type(error).__name__}: {str(error)[:100]})")
                continue
            outcome = tried(form, made)
        counts.setdefault(kind, Counter())["read" if outcome.network else "refused"] += 1
        worst, wrong = max(worst, outcome.gap), wrong or outcome.gap > 1e-3
        print(f"{form}: {outcome.network or 'refused: ' + outcome.reason[:160]}  {outcome.gap:.1e}", flush=True)
    for kind, count in counts.items():
        print(f"{kind:20} {count['read']:4} read {count['refused']:4} refused")
    print(f"largest difference, relative to the outputs: {worst:.1e}; onnx {onnx.__version__}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

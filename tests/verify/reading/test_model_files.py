"""Where ONNX models come from: files, compressed ones, bytes; what is no model; several outputs; unknown sizes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verify
from tests.helpers.onnx_models import NODE, held_against_onnxruntime, model_of
from verify.reading.onnx_files import model_files

W = np.arange(18.0, dtype=np.float32).reshape(6, 3) - 8.0
GEMM = NODE("Gemm", ["x", "W"], ["y"])


def simple() -> onnx.ModelProto:
    return model_of([NODE("Gemm", ["x", "W"], ["p"]), NODE("Relu", ["p"], ["y"])], W=W)


def test_a_model_is_read_from_every_source(tmp_path: Path) -> None:
    content = simple().SerializeToString()
    plain, packed, hidden = tmp_path / "net.onnx", tmp_path / "net.onnx.gz", tmp_path / "packed.onnx"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    hidden.write_bytes(gzip.compress(content))
    for source in (plain, str(plain), packed, hidden, content, bytearray(content), memoryview(content), simple()):
        network = verify.read_network(source)
        np.testing.assert_array_equal(network.layers[0][0].toarray(), W.T)


def test_a_question_takes_a_compressed_file_and_replays_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(simple().SerializeToString()))
    for source in (path, path.read_bytes() and simple()):
        answer = verify.find_adversarial(source, verify.LinfBall(np.full(6, -0.5), 2.0))
        assert answer.status is verify.Verdict.COUNTEREXAMPLE


STRANGE: dict[str, tuple[bytes, str]] = {
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "fetch it by `git lfs pull`"),
    "a web page": (b"\n<!DOCTYPE html><html></html>", "is a web page; download the file itself"),
    "another page": (b"<HTML>", "is a web page"),
    "an archive": (b"PK\x03\x04" + b"x" * 60, "is a zip archive, maybe a torch checkpoint"),
    "nothing": (b"", "is empty; expected an ONNX model"),
    "words": (b"not a model", "is not an ONNX file"),
    "half a gzip file": (gzip.compress(b"x" * 100)[:20], "is damaged, gzip cannot unpack it"),
    "a broken gzip file": (b"\x1f\x8b" + b"x" * 60, "is damaged, gzip cannot unpack it"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_model_is_said_with_what_to_do(name: str, tmp_path: Path) -> None:
    content, words = STRANGE[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        verify.read_network(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MOST_UNPACKED", 1000)
    monkeypatch.setattr(model_files, "MOST_RATIO", 2)
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(b"\0" * 100_000))
    with pytest.raises(ValueError, match="holds more than 1,000 bytes"):
        verify.read_network(path)


def test_weights_in_another_file_are_found_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(simple(), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(verify.read_network(path).layers[0][0].toarray(), W.T)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ValueError, match=r"keeps its weights in 'weights.bin', which is not beside it; put it into"):
        verify.read_network(path)


def test_an_output_is_asked_for_by_its_name() -> None:
    nodes = [NODE("Gemm", ["x", "W"], ["p"]), NODE("Relu", ["p"], ["y"])]
    model = model_of(nodes, outputs=("y", "p"), W=W)
    assert len(held_against_onnxruntime(model, (1, 6), output="p").layers) == 1
    assert len(held_against_onnxruntime(model, (1, 6), output="y").layers) == 2
    with pytest.raises(ValueError, match=r"has 2 outputs \('y', 'p'\); expected one, or output= with the name"):
        verify.read_network(model)
    with pytest.raises(ValueError, match=r"output is 'q'; expected one of the outputs of the ONNX model: 'y', 'p'"):
        verify.read_network(model, output="q")
    with pytest.raises(ValueError, match="output is given; expected it with a torch module or an ONNX model alone"):
        verify.read_network(verify.read_network(model, output="y"), output="y")


def test_labels_are_no_output_to_choose() -> None:
    nodes = [GEMM, NODE("ArgMax", ["y"], ["label"], axis=1)]
    model = model_of(nodes, outputs=("label", "y"), W=W)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert held_against_onnxruntime(model, (1, 6)).n_outputs == 3


def test_unknown_sizes_are_told_by_input_shape() -> None:
    kernel = np.ones((2, 1, 2, 2), dtype=np.float32)
    for shape in (("n", 1, "h", "w"), None):
        model = model_of([NODE("Conv", ["x", "K"], ["y"])], shape, K=kernel)
        assert held_against_onnxruntime(model, (1, 1, 3, 4), input_shape=(1, 3, 4)).n_inputs == 12
    model = model_of([NODE("Conv", ["x", "K"], ["y"])], ("n", 1, "h", "w"), K=kernel)
    with pytest.raises(ValueError, match=r"expected known sizes after the batch, or input_shape, as in"):
        verify.read_network(model)
    with pytest.raises(
        ValueError, match=r"input_shape is \(2, 3, 4\); expected that of the ONNX input 'x' after the ba"
    ):
        verify.read_network(model, input_shape=(2, 3, 4))


def test_functions_of_the_model_are_inlined() -> None:
    model = model_of([NODE("Twice", ["x"], ["p"], domain="mine"), NODE("Relu", ["p"], ["y"])])
    body = [NODE("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    held_against_onnxruntime(model, (1, 6))
    model.functions[0].node[0].CopyFrom(NODE("Twice", ["a"], ["b"], domain="mine"))
    with pytest.raises(ValueError, match="has functions that call each other in a circle"):
        verify.read_network(model)


def explosive() -> onnx.ModelProto:
    """Return a model of few bytes whose functions stand for many nodes."""
    model = model_of([NODE("f20", ["x"], ["y"], domain="mine")])
    model.opset_import.append(helper.make_opsetid("mine", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    for index in range(21):
        inner = NODE("Neg", ["a"], ["c"]) if not index else NODE(f"f{index - 1}", ["a"], ["c"], domain="mine")
        last = NODE("Neg", ["c"], ["b"]) if not index else NODE(f"f{index - 1}", ["c"], ["b"], domain="mine")
        model.functions.append(helper.make_function("mine", f"f{index}", ["a"], ["b"], [inner, last], opsets))
    return model


def twice() -> onnx.ModelProto:
    model = model_of([GEMM], W=W)
    model.graph.initializer.append(numpy_helper.from_array(2 * W, "W"))
    return model


def negative() -> onnx.ModelProto:
    model = model_of([GEMM], W=W)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -1
    return model


def broken() -> onnx.ModelProto:
    model = model_of([GEMM], W=W)
    model.graph.initializer[0].dims[0] = -1
    return model


def without_input() -> onnx.ModelProto:
    model = model_of([GEMM], W=W)
    del model.graph.input[:]
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (explosive, "has 2,097,152 nodes with those of its functions; expected at most"),
        (twice, "has the initializer 'W' twice; expected each name once"),
        (negative, "has shape [0, -1]; expected sizes of at least 1"),
        (broken, "has the constant 'W' of shape [-1, 3]"),
        (without_input, "has no input; expected one at least"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        verify.read_network(make())
    assert "\n" not in str(caught.value)

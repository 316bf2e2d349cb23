"""The nodes that skl2onnx writes, laid out as it does, beside onnxruntime."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import verify
from tests.helpers.onnx_models import NODE, held_against_onnxruntime, model_of

RNG = np.random.default_rng(0)
ML = "ai.onnx.ml"


def numbers(*shape: int) -> list[float]:
    return [float(np.float32(number)) for number in RNG.standard_normal(shape).ravel()]


def classifier(transform: str, two: bool = False, **options: Any) -> onnx.NodeProto:
    """Return a linear classifier of 4 features, its rows the negatives of each other where there are two classes."""
    rows = np.array(numbers(3, 4)).reshape(3, 4)
    shift = np.array(numbers(3))
    rows, shift = (np.array([-rows[0], rows[0]]), np.array([-shift[0], shift[0]])) if two else (rows, shift)
    labels = list(range(len(rows)))
    stated = {"coefficients": rows.ravel().tolist(), "intercepts": shift.tolist(), "classlabels_ints": labels}
    return NODE("LinearClassifier", ["x"], ["label", "y"], domain=ML, post_transform=transform, **(stated | options))


SCALER = NODE("Scaler", ["x"], ["s"], domain=ML, offset=numbers(4), scale=[0.5, 2.0, 1.0, 3.0])
REGRESSOR: dict[str, Any] = {"coefficients": numbers(2, 4), "intercepts": numbers(2), "targets": 2}

CASES: dict[str, list[onnx.NodeProto]] = {
    "a scaler": [SCALER, NODE("Identity", ["s"], ["y"])],
    "a scaler of one number": [NODE("Scaler", ["x"], ["y"], domain=ML, offset=[0.5], scale=[2.0])],
    "a scaler and a regressor": [SCALER, NODE("LinearRegressor", ["s"], ["y"], domain=ML, **REGRESSOR)],
    "a classifier": [classifier("NONE")],
    "a classifier of probabilities": [classifier("SOFTMAX")],
    "a classifier of two classes": [classifier("LOGISTIC", two=True)],
    "an imputer of what is no number": [
        NODE("Imputer", ["x"], ["y"], domain=ML, imputed_value_floats=[0.0] * 4, replaced_value_float=float("nan"))
    ],
    "a vectorizer": [NODE("FeatureVectorizer", ["x"], ["y"], domain=ML, inputdimensions=[4])],
}


@pytest.mark.parametrize("name", CASES)
def test_a_node_of_tables_is_what_onnxruntime_makes_of_it(name: str) -> None:
    held_against_onnxruntime(model_of(CASES[name], ("n", 4)), (1, 4))


def test_columns_are_extracted() -> None:
    nodes = [NODE("ArrayFeatureExtractor", ["x", "columns"], ["y"], domain=ML)]
    held_against_onnxruntime(model_of(nodes, ("n", 4), columns=np.array([2, 0])), (1, 4))


def test_a_map_of_scores_is_its_scores() -> None:
    nodes = [
        NODE("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        classifier("LOGISTIC", two=True),
        NODE("Normalizer", ["y"], ["p"], domain=ML, norm="L1"),
        NODE("Cast", ["label"], ["output_label"], to=TensorProto.INT64),
        NODE("ZipMap", ["p"], ["output_probability"], domain=ML, classlabels_int64s=[0, 1]),
    ]
    nodes[1].input[0] = "c"
    model = model_of(nodes, ("n", 4), outputs=("output_label", "output_probability"))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    pairs = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(pairs))
    network = verify.read_network(model)
    assert network.final == "sigmoid"
    weight = network.layers[0][0].toarray()
    np.testing.assert_array_equal(weight[0], -weight[1])
    assert network.notes == ("the sigmoid at the end is left out: outputs are what comes before it",)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            NODE("Normalizer", ["x"], ["y"], domain=ML, norm="L2"),
            "it divides a row by its norm, which is not piecewise",
        ),
        (
            NODE("Normalizer", ["x"], ["y"], domain=ML, norm="L1"),
            "it divides a row by its norm, which is not piecewise",
        ),
        (
            NODE("TreeEnsembleRegressor", ["x"], ["y"], domain=ML),
            "(TreeEnsembleRegressor) is not supported; expected one",
        ),
        (
            NODE("LinearRegressor", ["x"], ["y"], domain=ML, coefficients=[1.0] * 5),
            "LinearRegressor): it takes 5 entries",
        ),
        (
            NODE("LinearRegressor", ["x"], ["y"], domain=ML, coefficients=[float("nan")] * 4),
            "it has a weight or bias that is not finite",
        ),
        (classifier("PROBIT"), "its post_transform is 'PROBIT'; expected NONE, SOFTMAX or LOGISTIC"),
        (NODE("Imputer", ["x"], ["y"], domain=ML, imputed_value_floats=[1.0]), "it replaces a number"),
    ],
)
def test_what_is_not_linear_is_refused(node: onnx.NodeProto, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        verify.read_network(model_of([node], ("n", 4)))
    assert "\n" not in str(caught.value)

"""Tables of pandas: columns of any kind of number are read, others named."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.frames import frame_array

pd = pytest.importorskip("pandas")

NUMBERS: dict[str, Any] = {
    "float beside bool": pd.DataFrame({"a": [0.5, 1.0], "b": [True, False]}),
    "nullable": pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
    "objects": pd.DataFrame({"a": np.array([1, 2.5], dtype=object), "b": ["3", None]}),
    "categories of numbers": pd.DataFrame({"a": pd.Categorical([3, 4]), "b": [1, 2]}),
    "columns of one name": pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
}
OTHERS: dict[str, tuple[Any, str]] = {
    "text": (pd.DataFrame({"a": [0.5], "b": ["red"]}), "'b' of str, such as 'red'; expected numbers (text: a feature"),
    "categories": (pd.DataFrame({"b": pd.Categorical(["red"])}), "'b' of category, such as 'red'; expected numbers"),
    "dates": (pd.DataFrame({"d": pd.to_datetime(["2024-01-31"])}), "(dates: write them as numbers"),
    "months": (pd.DataFrame({"d": pd.period_range("2024-01", periods=1, freq="M")}), "(dates: write them as numbers"),
    "times": (pd.DataFrame({"t": pd.to_timedelta([3], "D")}), "(times: write them as numbers"),
    "complex": (pd.DataFrame({"c": [1j]}), "(complex: take real and imaginary parts"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_any_kind_are_read(name: str) -> None:
    frame = NUMBERS[name]
    found = frame_array(frame, "X")
    assert found.shape == frame.shape
    for place in range(frame.shape[1]):
        for row, cell in enumerate(frame.iloc[:, place]):
            assert np.isnan(found[row, place]) if pd.isna(cell) else found[row, place] == float(cell)


@pytest.mark.parametrize("name", OTHERS)
def test_a_column_of_something_else_is_named(name: str) -> None:
    frame, words = OTHERS[name]
    with pytest.raises(TypeError, match=re.escape(words)) as caught:
        cx.recover(frame, [1.0], budget=1)
    assert "\n" not in str(caught.value)


def test_what_estimators_take_the_functions_take_too() -> None:
    rows = np.random.default_rng(0).standard_normal(40)
    frame = pd.get_dummies(pd.DataFrame({"a": rows, "c": ["u", "v"] * 20}))
    cx.sample_patterns(frame, 5, seed=0)
    found = cx.recover(frame, np.maximum(rows, 0), budget=1, width=1, seed=0, time_limit=10)
    assert cx.SparseReLURegressor(time_limit=0).fit(frame, rows).n_features_in_ == 3
    assert [neuron.formula for neuron in cx.explain(found, list(frame.columns)).neurons] == ["a"]


def test_values_of_a_frame_are_read_as_the_frame_is() -> None:
    rows = np.random.default_rng(0).standard_normal(40)
    frame = pd.get_dummies(pd.DataFrame({"a": rows, "c": ["u", "v"] * 20}))
    objects = frame.to_numpy()
    assert objects.dtype == object
    target = np.array([*np.maximum(rows, 0)], dtype=object)
    found = cx.recover(objects, target, budget=1, width=1, seed=0, time_limit=10)
    np.testing.assert_array_equal(found.program.X, frame_array(frame, "X"))
    objects[3, 0] = None
    with pytest.raises(ValueError, match=re.escape("X holds nan at index (3, 0)")):
        cx.recover(objects, target, budget=1)
    objects[3, 0] = "red"
    with pytest.raises(TypeError, match=re.escape("(its dtype is object, with 'red')")):
        cx.recover(objects, target, budget=1)
    objects[3, 0] = 10**400
    with pytest.raises(TypeError, match="X cannot be read as real numbers"):
        cx.recover(objects, target, budget=1)


def test_an_estimator_names_columns_too() -> None:
    with pytest.raises(TypeError, match="X has a column 'c' of str, such as 'u'; expected numbers"):
        cx.SparseReLURegressor().fit(pd.DataFrame({"a": [0.5, 1.0], "c": ["u", "v"]}), [0.0, 1.0])
    with pytest.raises(ValueError, match="X has 2 columns of the name 'a'; expected different names"):
        cx.SparseReLURegressor().fit(NUMBERS["columns of one name"], [0.0, 1.0])

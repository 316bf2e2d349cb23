"""Cells, columns and encodings of tables, held against pandas and against what is plain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.cli.files.data_file import read_data, read_rows
from convexnn.cli.tables.cells import (
    NumberCell,
    common_unit,
    is_date,
    is_missing,
    is_written_elsewhere,
    number_cell,
    one_spelling,
)
from convexnn.cli.tables.columns import CategoryColumn, FlagColumn, NumberColumn, column_kind
from convexnn.cli.tables.encoding import Encoding
from convexnn.cli.tables.raw_table import read_table
from convexnn.network_files import stored, write_arrays
from tests.helpers.command_line import call, complained


@pytest.mark.parametrize(
    ("cell", "value", "sign", "grouped"),
    [
        ("-1.5e-3", -0.0015, "", False),
        ("1,234.5", 1234.5, "", True),
        ("-$1,234,567", -1234567.0, "$", True),
        ("$-2.50", -2.5, "$", False),
        ("+.5 €", 0.5, "€", False),
        ("£ 3", 3.0, "£", False),
        ("\u2212₹3", -3.0, "₹", False),
        ("12 %", 12.0, "%", False),
        ("007", 7.0, "", False),
    ],
)
def test_numbers_with_signs(cell: str, value: float, sign: str, grouped: bool) -> None:
    assert number_cell(cell) == NumberCell(value, sign, grouped)


def test_what_is_no_number() -> None:
    cells = ["", "$", "%", "1,23", "1,2345", ",123", "12,34,567", "$1%", "--1", "-$-1", "1_000", "inf", "1e999", "nan"]
    cells += ["1 2", "(3)", "$" + "9" * 200_000, "-" + " " * 100_000 + "x", "1," * 50_000]
    assert [cell for cell in cells if number_cell(cell) is not None] == []


def test_dates_and_gaps() -> None:
    dates = ["2024-01-31", "31.1.2024", "1/31/24", "2024/1/31 10:15", "2024-01-31T10:15:00.5Z", "10:15", "9:05 pm"]
    dates += ["31 Jan 2024", "January 31, 2024", "31-jan-24", "Jan 2024", "2024-01-31 10:15:00+02:00", "Jan-24"]
    dates += ["2024-01", "1999/12", "01JAN2024", "2024Q1", "q3 2024", "Mon, 5 Jan 2024", "Thursday 2024-02-01"]
    assert [cell for cell in dates if not is_date(cell)] == []
    others = ["", "12", "1.5", "3-1", "may", "mark 12", "a 2024-01-31", "1.2", "192.168.0.1", "ab-12-34", "1-800-555"]
    others += ["2024-13", "1800-01", "2024-1", "2024Q5", "Q1", "01JAN24", "monday", "20x4-01"]
    assert [cell for cell in others if is_date(cell)] == []
    assert [cell for cell in ("", "NA", "n/a", "NaN", "NULL", "?", ".") if not is_missing(cell)] == []
    assert [cell for cell in ("0", "none", "Nan a", "..", "no") if is_missing(cell)] == []


def test_units_beside_numbers() -> None:
    united = {"kr": ["10 kr", "-1,5 kr", "2.000 kr"], "USD": ["USD 10", "USD -5"], "k": ["900k", "1.5M"]}
    united |= {"\u00b0C": ["10\u00b0C", "9.5 \u00b0C"], "kg": ["3 kg"] * 18 + ["5kg", "unweighed"]}
    assert {unit: common_unit(cells) for unit, cells in united.items()} == {unit: unit for unit in united}
    others = [["red", "blue"], ["1st", "2nd", "3rd"], ["3 kg", "5 lb"], ["id1", "id2"], ["10-20", "20-30"], ["a 1"], []]
    others += [["3 kg"] * 8 + ["north", "south"], ["room 1", "room 2"], ["5" * 200_000 + "x"], ["1 " * 30]]
    assert [cells for cells in others if common_unit(cells) is not None] == []


def test_numbers_as_they_are_written_elsewhere() -> None:
    numbers = ["-1,5", "1.234,5", "1 234,5", "1'234", "(3)", "($1,234)", "5;2", "1\u00a0234", "3,5 €", "12,5%"]
    numbers += ["12,34,567", "1,00,000.5"]
    assert [cell for cell in numbers if number_cell(cell) is not None or not is_written_elsewhere(cell)] == []
    others = ["1.2.3", "555-1234", "1, 2", "3 kg", "a", "", "1,2,3", "12 34", "4+"]
    assert [cell for cell in others if is_written_elsewhere(cell) or is_date(cell)] == []


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "x"], "number"),
        (["1", "x"], "number"),
        (["1", "x", "y"], "category"),
        (["1,5", "2,5"], "number"),
        (["1.234,5", "2.000,0", "n"], "number"),
        (["inf", "x"], "number"),
        (["True", "no", "YES"], "flag"),
        (["True", "no", "perhaps"], "category"),
        (["2024-01-31", "2024-02-01", "later"], "date"),
        (["2024-01-31", "later"], "category"),
    ],
)
def test_a_column_is_what_most_of_its_cells_are(cells: list[str], kind: str) -> None:
    assert column_kind(cells) == kind


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", False),
        ("a,2020\n1,2\n", True),
        ("red,1\nblue,2\n", False),
        ("NA,1\n2,2\n", False),
        ("True,False\nTrue,True\n", False),
        ("yes,no\n1,0\n", True),
        ("$5,x\n$6,y\n", False),
        ("2024-01-31,1\n2024-02-01,2\n", False),
        ("place,2024-01-31\nRome,1\n", True),
        ("a,b\nred,blue\n", True),
        ("a,b\n", True),
        ("1,b\n", False),
        ("a,,y\n1,2,3\n", True),
    ],
)
def test_what_a_header_is(text: str, header: bool, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert bool(read_table(tmp_path / "x.csv").header) == header


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ('"a;b;c",d\n', ","),
        ('"a,b,c";d\n', ";"),
        ('"a ""x, y, z""",d;e;f\n', ";"),
        ("a|b\n", "|"),
        ("a\tb,c\td\n", "\t"),
        ('"a,b" c\n', " "),
        ("sep=|\na,b|c\n", "|"),
        ('"sep=\t"\na,b\tc\n', "\t"),
        ('"a\nb",c,y\n1,2,3\n', ","),
        ('a,"b\n\nc; d; e",y\n1,2,3\n', ","),
        ("length, m;width, m;height, m;y\n1;2;3;4\n", ";"),
        ("length, m;width, m;height, m;y\n1,5;2,5;3;4\n", ";"),
        ("a,note; more,y\n1,x; z,2,\n3,x; z,4,\n", ","),
        ("a,y\n1,2,\n", ","),
        ("Sep=;\n", ""),
    ],
)
def test_the_mark_is_found_outside_of_quotes(text: str, mark: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    if mark:
        assert read_table(tmp_path / "x.csv").mark == mark
    else:
        with pytest.raises(ValueError, match="is empty; expected rows of numbers"):
            read_table(tmp_path / "x.csv")


@pytest.mark.parametrize("spoken", ["tab", "\\t", "\t"])
def test_a_mark_that_is_named_wins(spoken: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("sep=;\na,b,c\td;e\n1\t2\n")
    table = read_table(tmp_path / "x.csv", separator=spoken)
    assert (table.names, table.rows[0]) == (("a,b,c", "d;e"), (3, ["1", "2"]))


def test_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    text = 'sep=,\n\n# one\r\na,b\n\n"1\n\n# 2",3\r# two, "\n4,5\n'
    (tmp_path / "x.csv").write_bytes(text.encode())
    table = read_table(tmp_path / "x.csv", comment="#")
    assert table.header_line == 4
    assert table.rows == [(6, ["1\n\n# 2", "3"]), (10, ["4", "5"])]


def test_columns_are_those_of_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "n": rng.standard_normal(200) * 10.0 ** rng.integers(-9, 9, 200),
            "t": rng.choice(["u", "v,w", 'say "x"', "new\nline"], 200),
            "m": rng.integers(0, 9, 200).astype(float),
            "f": rng.choice([True, False], 200),
            "y": rng.standard_normal(200),
        }
    )
    frame.loc[rng.choice(200, 30), "m"] = np.nan
    frame.loc[rng.choice(200, 30), "t"] = None
    frame.to_csv(tmp_path / "x.csv", index=False)
    table = read_data(tmp_path / "x.csv", missing="median")
    text = frame["t"].fillna(frame["t"].mode()[0])
    dummies = pandas.get_dummies(text, prefix="t", prefix_sep="=").astype(float)
    expected = [frame[["n"]], dummies, frame["m"].fillna(frame["m"].median()), frame["f"].astype(float)]
    np.testing.assert_array_equal(table.X, pandas.concat(expected, axis=1).to_numpy())
    assert table.features == ("n", *(name.replace("\n", " ") for name in dummies.columns), "m", "f")
    np.testing.assert_array_equal(table.y, frame["y"])
    whole = frame.dropna()
    dropped = read_data(tmp_path / "x.csv", missing="drop")
    np.testing.assert_array_equal(dropped.X[:, 0], whole["n"])
    # The same rows by the record that a model keeps.
    record = json.loads(json.dumps(table.encoding.to_record()))
    rows = read_rows(tmp_path / "x.csv", Encoding.from_record(record, table.X.shape[1]), "y")
    np.testing.assert_array_equal(rows.X, table.X)
    np.testing.assert_array_equal(rows.truth, table.y)


def test_medians_of_large_numbers_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,y\n1.6e308,1\n1.7e308,2\n?,3\n")
    assert read_data(tmp_path / "x.csv", missing="median").X[2, 0] == pytest.approx(1.65e308)


NUMBER = {"kind": "number", "name": "a", "fill": 0.5, "sign": ""}
TEXT = {"kind": "category", "name": "b", "values": ["u", "v"], "fill": "u"}
RECORD = {"format": "convexnn-columns-1", "missing": "fail", "columns": [NUMBER, TEXT]}


@pytest.mark.parametrize(
    "record",
    [
        *[3, None, [], {}, "x", {**RECORD, "format": "x"}, {**RECORD, "missing": []}, {**RECORD, "columns": NUMBER}],
        {**RECORD, "columns": [NUMBER]},
        *[
            {**RECORD, "columns": [column, TEXT]}
            for column in (
                *[3, [], {}, {"kind": []}, {"kind": "date", "name": "a"}, {"kind": "number"}, {**NUMBER, "more": 1}],
                *[{**NUMBER, "fill": fill} for fill in ("u", float("nan"), float("inf"), [1], 3)],
                *[{**NUMBER, "name": 3}, {**NUMBER, "sign": None}, {**NUMBER, "values": ["u"]}],
                *[{**TEXT, "fill": 1.0}, {**TEXT, "values": "uv"}, {**TEXT, "values": [1]}, {**TEXT, "values": None}],
            )
        ],
    ],
)
def test_a_record_that_is_none(record: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^(its|one of its) columns?"):
        Encoding.from_record(record, 3)


def test_a_record_comes_back() -> None:
    encoding = Encoding(
        (NumberColumn("a", 0.5, "%"), FlagColumn("b", 1.0), CategoryColumn("c", ("u", "v"), "v")), "drop"
    )
    assert Encoding.from_record(json.loads(json.dumps(encoding.to_record())), 4) == encoding
    assert encoding.features == ("a", "b", "c=u", "c=v")


def model(path: Path, **arrays: Any) -> Path:
    """Write a regressor of three features that adds them, with more arrays."""
    network = cx.SparseReLUNetwork([(np.eye(3)[:1], None), (np.ones((1, 1)), None)])
    about = {"format": "convexnn-estimator-1", "kind": "SparseReLURegressor", "parameters": {}}
    return write_arrays(path, {**stored(network), "estimator": np.array(json.dumps(about)), **arrays})


@pytest.mark.parametrize("columns", ["[" * 5_000, "{", "3", json.dumps({**RECORD, "columns": [NUMBER]})])
def test_a_model_with_a_broken_record_is_refused(columns: str, tmp_path: Path) -> None:
    path = model(tmp_path / "m.npz", columns=np.array(columns))
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n")
    assert complained(call("predict", path, tmp_path / "x.csv"), "m.npz is not an estimator saved by convexnn")


def test_a_model_without_a_record_takes_numbers(tmp_path: Path) -> None:
    path = model(tmp_path / "m.npz", feature_names=np.array(["a", "b", "c"]))
    (tmp_path / "x.csv").write_text("c,b,a\n0,1,7\n2,,8\n")
    words = "missing is 'median', and the model keeps no medians; expected fail or drop, or fit it anew"
    assert complained(call("predict", path, tmp_path / "x.csv", "--missing", "median"), words)
    assert complained(
        call("predict", path, tmp_path / "x.csv"), "has 1 missing cell, in column 'b' (1); the first is ''"
    )
    assert call("predict", path, tmp_path / "x.csv", "--missing", "drop").stdout == 'prediction\n7.0\n""\n'


def test_labels_of_one_kind_have_one_spelling_too() -> None:
    assert one_spelling(["Yes", "yes", "yes"]) == {"Yes": "yes", "yes": "yes"}
    assert one_spelling(["yes", "no", "no"]) == one_spelling(["yes", "Yes", "maybe"]) == one_spelling([]) == {}

"""Tables as people have them: twenty messy files, each fitted or refused in a line that helps."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import convexnn as cx
from convexnn.checks import Floats
from convexnn.cli.files.data_file import read_data, read_rows
from convexnn.cli.tables.encoding import Encoding
from convexnn.estimators.base import SparseReLUEstimator
from convexnn.estimators.scaling import constant_network
from convexnn.solution import Status
from tests.helpers.command_line import Result, call, complained


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every fit by that of a constant: only the reading matters."""

    def learn(self: Any, X: Floats, y: NDArray[Any], loss: str, outputs: Any, constant: Floats, weights: Any) -> None:
        self.network_ = constant_network(X.shape[1], constant)
        self.budget_, self.width_, self.ridge_, self.n_iter_, self.status_ = 1, 1, 0.0, 0, Status.EXACT

    monkeypatch.setattr(SparseReLUEstimator, "_learn", learn)


def fit(path: Path, *options: str) -> Result:
    return call("fit", path, "--test-share", 0, "--json", *options)


FITTED: dict[str, tuple[bytes, list[str], dict[str, Any], str]] = {
    "missing features filled": (
        b"a,c,y\n1,red,1\n,red,2\n4,NA,3\n9,blue,4\n",
        ["--missing", "median"],
        {"features": ["a", "c=blue", "c=red"], "rows": 4},
        "2 missing cells filled by medians, text by the most frequent",
    ),
    "rows with gaps dropped": (
        b"a,b,y\n1,?,1\n2,3,\n4,n/a,3\n5,6,4\n7,.,5\n8,9,null\n1,2,3\n",
        ["--missing", "drop"],
        {"features": ["a", "b"], "rows": 2},
        "5 rows of 7 left out, with missing cells: the first is line 2",
    ),
    "rows without a target dropped": (
        b"a,y\n1,1\n,2\n3,NaN\n4,4\n",
        ["--missing", "median"],
        {"features": ["a"], "rows": 3},
        "1 row of 4 left out, without a target: the first is line 4",
    ),
    "text and flags": (
        b"size,colour,open,y\n1,red,True,1\n2,blue,false,2\n3,red,TRUE,4\n",
        [],
        {"features": ["size", "colour=blue", "colour=red", "open"], "rows": 3},
        "column 'open' is yes or no: 1 or 0",
    ),
    "money and thousands": (
        b'price,rent,y\n"$1,234.50",3 \xe2\x82\xac,"3,504"\n-$20,4 \xe2\x82\xac,950\n$3,5 \xe2\x82\xac,"1,000,000"\n',
        [],
        {"features": ["price", "rent"], "estimator": "SparseReLURegressor"},
        "column 'price' is read as numbers: '$1,234.50' as 1234.5",
    ),
    "percent throughout": (b"a,b,y\n1,12%,3%\n2,3.5 %,4%\n3,0%,5%\n", [], {"estimator": "SparseReLURegressor"}, "12%"),
    "separators in quotes": (
        b'"name, first; last; more",b,y\n"x; y; z; w",1,2\n"p; q",2,3\n"x; y; z; w",2,3\n',
        [],
        {"features": ["name, first; last; more=p; q", "name, first; last; more=x; y; z; w", "b"]},
        "is text: 2 features",
    ),
    "sep line of Excel": (b"sep=;\r\na;b;y\r\n1;2;3\r\n4;5;6\r\n7;8;8\r\n", [], {"features": ["a", "b"]}, ""),
    "a mark of its own": (b"a~b~y\n1~2~3\n4~5~6\n", ["--separator", "~"], {"features": ["a", "b"]}, ""),
    "tabs, packed": (gzip.compress(b"a\tb\ty\n1\t2\t3\n4\t5\t6\n"), [], {"features": ["a", "b"]}, ""),
    "a byte order mark": (b"\xef\xbb\xbfa|y\n1|2\n3|5\n", [], {"features": ["a"]}, ""),
    "blanks and quotes": (
        b'"city" "n" "y"\n"New  York"   1 2\nRome 2 3\nRome 4 5\n',
        [],
        {"features": ["city=New  York", "city=Rome", "n"]},
        "",
    ),
    "comments asked for": (b'# by hand\na,y\n1,2\n# "half, way\n3,5\n', ["--comment", "#"], {"rows": 2}, ""),
    "rows with # asked for": (
        b"tag,n,y\n#ab,1,1\n#cd,2,2\n#ab,3,4\n",
        ["--comment", ""],
        {"features": ["tag=#ab", "tag=#cd", "n"]},
        "",
    ),
    "a cell of two lines": (
        b'a,note,y\n1,"up\n\n# down",2\n3,flat,4\n5,flat,6\n',
        [],
        {"features": ["a", "note=flat", "note=up # down"]},
        "",
    ),
    "decimal commas": (
        "preis;n;y\n1.234,50 €;1 000;3,5\n20,00 €;7;4\n3,5 €;2;1e3\n".encode(),
        ["--decimal", ","],
        {"features": ["preis", "n"], "estimator": "SparseReLURegressor"},
        "column 'preis' is read as numbers: '1234.50 €' as 1234.5",
    ),
    "two columns of one name": (
        b"a,a,y\n1,2,3\n2,4,4\n3,5,9\n",
        [],
        {"features": ["a", "a.1"]},
        "another column of the name 'a' is 'a.1' here",
    ),
    "a comma at every end": (b"a,y,\n1,2,\n3,4,\n5,5,\n", [], {"features": ["a"], "target": "y"}, ""),
    "a comma at every row's end": (b"a,y\n1,2,\n3,4,\n5,5,\n", [], {"features": ["a"], "target": "y"}, ""),
    "yes and no in many ways": (b"a,y\nYes,1\nn,2\nNO,3\nY,5\n", [], {"features": ["a"]}, "'a' is yes or no: 1 or 0"),
    "codes": (
        b"zip,y\n02100,1\n12345,2\n00501,4\n",
        [],
        {"features": ["zip"]},
        "'02100' as 2100 (codes? --text 'zip')",
    ),
    "codes as labels": (
        b"zip,y\n02100,1\n12345,2\n02100,4\n",
        ["--text", "zip"],
        {"features": ["zip=02100", "zip=12345"]},
        "column 'zip' is text: 2 features",
    ),
    "one value of the target": (b"a,y\n1,3\n2,3\n4,3\n", [], {}, "target 'y' is 3 in every row: there is nothing to l"),
    "an error of a spreadsheet": (
        b"a,y\n1,1\n#N/A,2\n3,2\n",
        ["--missing", "median"],
        {"rows": 3},
        "1 missing cell filled",
    ),
    "no header, text": (b"1.5,red,3\n2,blue,4\n2,red,5\n", [], {"features": ["0", "1=blue", "1=red"]}, ""),
    "no header, flags": (b"yes,1\nno,2\nyes,4\n", ["--target", "1"], {"features": ["0"], "rows": 3}, ""),
    "columns that pandas counts": (
        b"0,1,2\n1.5,2.5,3.5\n4.5,5.5,6.5\n7,8,9\n",
        [],
        {"features": ["0", "1"], "target": "2", "rows": 3},
        "line 1 is taken for a header, which counts the columns, not for data",
    ),
    "an index beside columns that pandas counts": (
        b",0,1,2\n0,1.5,2.5,3.5\n1,4.5,5.5,6.5\n2,7,8,9\n",
        ["--drop", "unnamed.0"],
        {"features": ["0", "1"], "target": "2", "rows": 3},
        "line 1 is taken for a header, which counts the columns, not for data",
    ),
    "years above the columns": (
        b"2019,2020,2021\n1.5,2.5,3.5\n4.5,5.5,6.5\n",
        [],
        {"features": ["0", "1"], "rows": 3},
        "line 1 is taken for data, not for a header: columns are named by their index from 0",
    ),
    "data that count": (b"0,1\n1,0\n1,1\n", [], {"features": ["0"], "rows": 3}, ""),
    "a row of long numbers": (
        b"1" * 30 + b",1,2\n4,5,6\n7,8,9\n",
        [],
        {"features": ["0", "1"], "rows": 3},
        "",
    ),
    "missing in more words": (
        b"a,b,y\n1,NaT,1\nn.a.,2,2\n4,\\N,3\n9,-nan,4\n#NA,5,7\n",
        ["--missing", "median"],
        {"features": ["a", "b"], "rows": 5},
        "5 missing cells filled",
    ),
    "labels among numbers": (
        b"a,y\n1,1\n2,2\n3,3+\n4,1\n",
        ["--task", "classify"],
        {"classes": ["1", "2", "3+"]},
        "",
    ),
    "a header of two lines": (b'"size\nin m",c,y\n1,2,3\n4,5,6\n', [], {"features": ["size in m", "c"], "rows": 2}, ""),
    "yes and no in many ways, as the target": (
        b"a,y\n1,yes\n2,No\n3,YES\n4,yes\n5,Y\n6,No\n7,n\n",
        [],
        {"classes": ["No", "yes"], "rows": 7},
        "target 'y' is yes or no in 5 spellings, read as 'No' and 'yes'",
    ),
    "a few numbers among labels": (b"a,y\n1,low\n2,high\n3,7\n4,low\n", [], {"classes": ["7", "high", "low"]}, ""),
}


@pytest.mark.parametrize("name", FITTED)
def test_a_messy_file_is_fitted(name: str, no_fit: None, tmp_path: Path) -> None:
    content, options, expected, remark = FITTED[name]
    (tmp_path / "data.csv").write_bytes(content)
    result = fit(tmp_path / "data.csv", *options)
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    figures["rows"] = figures["rows"]["fitted"]
    assert {key: figures[key] for key in expected} == expected
    assert remark in result.stderr


def test_a_header_that_counts_is_told_in_a_prediction_too(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("0,1,2\n1.5,2.5,3.5\n")
    rows = read_rows(tmp_path / "new.csv", Encoding.of_numbers(["0", "1"]))
    np.testing.assert_array_equal(rows.X, [[1.5, 2.5]])
    assert rows.remarks == ("line 1 is taken for a header, which counts the columns, not for data",)


REFUSED: dict[str, tuple[bytes, list[str], str]] = {
    "gaps, unasked": (
        b"a,b,y\n1,,1\n2,NA,2\n?,3,NULL\n",
        [],
        "has 4 missing cells, in columns 'a' (1), 'b' (2), 'y' (1); the first is '' in line 2, column 'b'; --missing",
    ),
    "NA in the target": (b"a,y\n1,2\n2,NA\n3,4\n", [], "the first is 'NA' in line 3, column 'y'"),
    "money in the target": (
        b"a,y\n1,2\n2,$3.50\n3,4\n",
        [],
        "holds '$3.50' in line 3, column 'y', and '2' in line 2, column 'y'; expected one sign, or none, in the whole",
    ),
    "percent in the target": (b"a,y\n1,2\n2,12%\n3,4\n", [], "holds '12%' in line 3, column 'y', and '2' in line 2"),
    "percent in a feature": (
        b"a,y\n12%,2\n5%,2\n0.5,4\n",
        [],
        "holds '0.5' in line 4, column 'a', and '12%' in line 2",
    ),
    "two currencies": ("a,y\n$1,2\n€2,3\n$3,4\n".encode(), [], "holds '€2' in line 3, column 'a', and '$1' in line 2"),
    "text in the target": (
        b"a,y\n1,2\n2,3+\n3,4\n",
        [],
        "holds '3+' in line 3, column 'y'; expected a finite number (text? correct the cell, or if these are labels: "
        "--task classify)",
    ),
    "codes in the target": (
        b"a,y\n1,02\n2,03\n3,02\n",
        ["--text", "y"],
        "text names the target 'y'; expected a feature (a target of labels: --task classify)",
    ),
    "text in a feature": (
        b"a,y\n1,2\nhigh,3\n3,4\n",
        [],
        "holds 'high' in line 3, column 'a'; expected a finite number",
    ),
    "dates": (
        b"when,a,y\n2024-01-31,1,2\n2024-02-01,2,3\n",
        [],
        "holds '2024-01-31' in line 2, column 'when'; expected numbers or labels, not dates (write dates as numbers, "
        "such as days or a month, or leave the column out: --drop 'when')",
    ),
    "months": (
        b"when,a,y\n2024-01,1,2\n2024-02,2,3\n",
        [],
        "expected numbers or labels, not dates (write dates as numb",
    ),
    "dates as target": (
        b"a,y\n1,3/14/2024 10:15\n2,3/15/2024 9:00\n",
        [],
        "in line 2, column 'y'; expected numbers or",
    ),
    "names": (
        b"who,a,y\n" + b"".join(b"person %d,%d,%d\n" % (i, i, i) for i in range(60)),
        [],
        "holds 'person 0' in line 2, column 'who', and 59 other values that are no numbers; expected at most 50 in all "
        "(leave the column out: --drop 'who')",
    ),
    "units in the target": (
        b"a,y\n" + b"".join(b"%d,%d kg\n" % (i, i) for i in range(60)),
        [],
        "holds '0 kg' in line 2, column 'y', and 59 other labels; expected at most 50 labels, or numbers (--task "
        "classify, if these are labels)",
    ),
    "numbers of another country": (
        b"a;y\n1;1.234,50\n2;3,5\n",
        [],
        "holds '1.234,50' in line 2, column 'y'; expected a",
    ),
    "decimal commas": (
        b"a;y\n1,5;2\n3,5;4\n",
        [],
        "holds '1,5' in line 2, column 'a'; expected a finite number (a decimal comma? --decimal , reads it as 1.5)",
    ),
    "a point among decimal commas": (
        b"a;y\n1,5;2\n3.5;4\n",
        ["--decimal", ","],
        "holds '3.5' in line 3, column 'a'; expected a decimal comma, as --decimal , says",
    ),
    "row names of R": (b"a,y\n1,2,3\n2,4,5\n", [], "expected 2 (in all rows one more: row names, as R writes them?"),
    "a web page": (
        b"\n<!DOCTYPE html>\n<html><body>a, b, c\n1, 2, 3</body></html>",
        [],
        "is a web page or XML; save the",
    ),
    "JSON": (b'[{"a": 1, "y": 2},\n{"a": 2, "y": 3}]', [], "is JSON; save the table as CSV (UTF-8)"),
    "units in a feature": (
        b"a,y\n" + b"".join(b"%d kg,%d\n" % (i, i) for i in range(60)),
        [],
        "(a unit behind numbers? keep the numbers alone; or leave the column out: --drop 'a')",
    ),
    "a name without a header": (
        b"1,2\n3,4\n",
        ["--target", "y"],
        "target is 'y'; expected an index from 0 to 1, or one of: 0, 1 (the file has no header)",
    ),
    "thousands or decimals": (
        b"a;y\n1,500;2\n3;4\n",
        [],
        "holds '1,500' in line 2, column 'a' (a decimal comma, or between thousands?); write decimals with a point",
    ),
    "thousands without quotes": (b"a,y\n1,500,2\n3,4\n", [], "has 3 cells in line 2; expected 2 (decimal commas? "),
    "a comment, unasked": (
        b"a,y\n1,2\n # half way\n3,4\n",
        [],
        "has a row that begins with # in line 3; --comment '#' leaves such lines out, --comment '' reads them",
    ),
    "a comment before all": (b"# by hand\na,y\n1,2\n3,4\n", [], "is the first line a comment? --comment '#' leaves"),
    "UTF-16": (
        "a,y\n1,2\n3,4\n".encode("utf-16"),
        [],
        "is not UTF-8 text but UTF-16; save it as UTF-8 (Excel: CSV UTF-8)",
    ),
    "UTF-16 without a mark": ("a,y\n1,2\n3,4\n".encode("utf-16-le"), [], "is not UTF-8 text but UTF-16"),
    "Latin-1": ("a,y\n1,süß\n3,herb\n".encode("latin-1"), [], "is not UTF-8 text: byte 0xfc in line 2 (Latin-1 or"),
    "half a packed file": (gzip.compress(b"a,y\n1,2\n3,4\n")[:20], [], "is damaged, gzip cannot unpack it"),
    "a spreadsheet": (b"PK\x03\x04 and more", [], "is a spreadsheet or an archive; save the table as CSV (UTF-8)"),
    "a column without values": (
        b"a,b,y\n1,,2\n3,NA,4\n",
        ["--missing", "median"],
        "has no value in column 'b': all of",
    ),
    "too few whole rows": (
        b"a,y\n1,\n2,3\n",
        ["--missing", "drop"],
        "has 1 row without missing cells, of 2; expected at",
    ),
    "a separator of two": (b"a,y\n1,2\n3,4\n", ["--separator", ";;"], "separator is ';;'; expected one character"),
    "an unnamed index, unasked": (
        b",0,1,2\n0,1.5,2.5,3.5\n1,4.5,5.5,6.5\n",
        [],
        "has an empty cell in line 1, column 'unnamed.0'; expected a name (written with its index? leave that out: "
        "--drop unnamed.0)",
    ),
    "features of one name": (
        b"c,c=red,y\nred,1,2\nblue,3,4\nred,2,2\n",
        [],
        "has columns 'c' and 'c=red', which both make a feature 'c=red'; expected different names (leave one out: ",
    ),
    "a number that is a label but for its last digits": (
        b"a,y\n1,1\n2,2.0000001\n3,2\n",
        ["--task", "classify"],
        "target 'y' holds 2.0000001; expected labels: text, or whole numbers",
    ),
    "a number that one has instead of a label": (
        b"a,y\n1,1.5\n2,2\n3,2.25\n",
        ["--task", "classify"],
        "task is 'classify', and target 'y' holds 1.5; expected labels: text, or whole numbers",
    ),
    "thousands of India": (
        b'a,y\n"1,00,000",1\n"2,50,00,000.5",2\n"99",4\n',
        [],
        "holds '1,00,000' in line 2, column 'a'; expected a finite number (write decimals with a point, and nothing",
    ),
    "a word for no value": (
        b"a,y\n1,1\nNone,2\n3,4\n",
        [],
        "holds 'None' in line 3, column 'a'; expected a finite number (no value? leave the cell empty, and say "
        "--missing drop or --missing median)",
    ),
    "packed twice": (
        gzip.compress(gzip.compress(b"a,y\n1,2\n3,4\n")),
        [],
        "is packed by gzip twice, or comes packed through a pipe; unpack it first",
    ),
    "a way unknown": (
        b"a,y\n1,2\n3,4\n",
        ["--missing", "mean"],
        "missing 'mean' is unknown; expected one of: fail, drop",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_messy_file_is_refused_in_a_line_that_helps(name: str, no_fit: None, tmp_path: Path) -> None:
    content, options, words = REFUSED[name]
    (tmp_path / "data.csv").write_bytes(content)
    result = fit(tmp_path / "data.csv", *options)
    assert complained(result, words), result.stderr
    assert "data.csv" in result.stderr or "--" in "".join(options)


def test_spreadsheets_are_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").write_bytes(b"a,y\n1,2\n3,4\n")
    assert complained(fit(tmp_path / "data.xlsx"), "data.xlsx is a spreadsheet; save the table as CSV (UTF-8)")


def test_a_dash_is_no_file() -> None:
    assert complained(fit(Path("-")), "data file is '-'; expected the path of a file, /dev/stdin for a pipe")


def test_parquet_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert complained(
        fit(tmp_path / "data.parquet"), "needs the package pyarrow; install it with: pip install convexnn[parquet]"
    )


def test_parquet_is_read_as_a_table_of_text_is(no_fit: None, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow (pip install convexnn[parquet])")
    frame = pandas.DataFrame(
        {
            "a": np.array([0.1, 1e-300, np.nan], dtype=np.float64),
            "b": np.array([0.1, 0.2, 3], dtype=np.float32),
            "c": pandas.Categorical(["red", None, "red"]),
            "d": [True, False, True],
            "y": [1, 2, 4],
        }
    )
    frame.to_parquet(tmp_path / "data.parquet")
    assert complained(
        fit(tmp_path / "data.parquet"), "2 missing cells, in columns 'a' (1), 'c' (1); the first is '' in row 2"
    )
    table = read_data(tmp_path / "data.parquet", missing="median")
    assert table.features == ("a", "b", "c=red", "d")
    expected = [[0.1, np.float32(0.1), 1, 1], [1e-300, np.float32(0.2), 1, 0], [0.05, 3, 1, 1]]
    np.testing.assert_array_equal(table.X, np.array(expected, dtype=np.float64))


def test_text_in_parquet_may_have_decimal_commas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow (pip install convexnn[parquet])")
    frame = pandas.DataFrame({"a": ["1,5", "1.002,25", None], "b": [1.5, 2.5, 3.5], "y": [1, 2, 4]})
    frame.to_parquet(tmp_path / "data.parquet")
    table = read_data(tmp_path / "data.parquet", missing="median", decimal=",")
    np.testing.assert_array_equal(table.X, [[1.5, 1.5], [1002.25, 2.5], [501.875, 3.5]])


def test_a_unit_beside_numbers_is_told_of_a_feature_and_of_a_target(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n10 kr,1 kg\n20 kr,2 kg\n15 kr,3 kg\n")
    remarks = read_data(tmp_path / "t.csv").remarks
    assert remarks == (
        "column 'a' is text: 3 features, such as 'a=10 kr' (numbers with the unit 'kr'? keep the numbers alone)",
        "target 'y' is of labels (numbers with the unit 'kg'? keep the numbers alone)",
    )
    assert not any("unit" in remark for remark in read_data(tmp_path / "t.csv", text=["a"]).remarks[:1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [[1, 2], [3], None],
            "not lists (write each entry as a column of its own, or leave the column out: --drop 'a')",
        ),
        ([{"k": 1}, {"k": 2}, {"k": 3}], "not records (write each field as a column of its own, or"),
        ([None, b"x", b"y"], "not bytes (decode them to text, or leave the column out: --drop 'a')"),
        (np.array([1, 2, 3], dtype="m8[s]"), "not times (write them as numbers, such as seconds, or leave the column"),
    ],
)
def test_what_is_neither_number_nor_text_in_parquet_is_refused_by_name(
    no_fit: None, tmp_path: Path, values: Any, words: str
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow (pip install convexnn[parquet])")
    path = tmp_path / "data.parquet"
    pandas.DataFrame({"a": values, "b": [1, 2, 4], "y": [1, 2, 4]}).to_parquet(path)
    for target in ("y", "a"):
        with pytest.raises(ValueError, match="column 'a'; expected numbers or labels, ") as caught:
            read_data(path, target=target, missing="median" if target == "y" else "drop")
        assert words in str(caught.value)
    assert read_data(path, drop=["a"]).features == ("b",)


def test_an_index_with_a_name_is_no_column_of_parquet_and_that_is_told(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow (pip install convexnn[parquet])")
    frame = pandas.DataFrame({"a": [1, 2, 4], "y": [1, 2, 4]})
    frame.to_parquet(tmp_path / "plain.parquet")
    frame.set_index(pandas.Index([7, 8, 9], name="id")).to_parquet(tmp_path / "named.parquet")
    assert read_data(tmp_path / "plain.parquet").remarks == ()
    told = read_data(tmp_path / "named.parquet")
    assert told.remarks == ("index id is left out; write frame.reset_index() for columns of it",)
    assert told.features == ("a",)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table whose target follows its text, and the model of it."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    worth = {"red": 1.0, "blue": 2.0, "dark, green": 5.0}
    lines = ["colour,open,price,y"]
    for i in range(120):
        colour, is_open, price = list(worth)[rng.integers(3)], bool(rng.integers(2)), rng.integers(900, 1100)
        value = worth[colour] + 3 * is_open + 0.01 * price
        shown = "" if i == 7 else f'"${price:,}"'
        lines.append(f'"{"NA" if i == 5 else colour}",{is_open},{shown},{value:.3f}')
    (folder / "shop.csv").write_text("\n".join(lines))
    options = ("--missing", "median", "--budget", 12, "--test-share", 0, "--seed", 1, "--save", folder / "m.npz")
    result = call("fit", folder / "shop.csv", *options)
    assert result.exit_code == 0, result.stderr
    return folder / "shop.csv", folder / "m.npz"


class TestTheModelThatIsKept:
    def test_it_encodes_as_it_was_fitted(self, shop: tuple[Path, Path], tmp_path: Path) -> None:
        table, model = shop
        loaded = cx.SparseReLURegressor.load(model)
        names = ["colour=blue", "colour=dark, green", "colour=red", "open", "price"]
        assert loaded.feature_names_in_.tolist() == names
        result = call("predict", model, table, "--target", "y", "--json")
        assert json.loads(result.stdout)["score"] > 0.9
        # Another order of columns, other signs, a gap that takes the median of the fit, one more column.
        (tmp_path / "new.csv").write_text('note,price,open,colour\nx,1000,yes,red\n,"1,000",TRUE,red\nx,,true,red\n')
        rows = json.loads(call("predict", model, tmp_path / "new.csv", "--json").stdout)["rows"]
        fill = next(column["fill"] for column in loaded.columns_["columns"] if column["name"] == "price")
        del loaded.feature_names_in_
        expected = loaded.predict([[0, 0, 1, 1, price] for price in (1000, 1000, fill)])
        assert [row[0] for row in rows] == expected.tolist()
        # Written again from Python it is the same model.
        again = cx.SparseReLURegressor.load(cx.SparseReLURegressor.load(model).save(tmp_path / "again.npz"))
        assert again.columns_ == loaded.columns_
        # A fit to other rows knows nothing of that table.
        assert not hasattr(again.set_params(epochs=1).fit(np.eye(4), np.arange(4.0)), "columns_")

    def test_text_that_it_does_not_know(self, shop: tuple[Path, Path], tmp_path: Path) -> None:
        (tmp_path / "new.csv").write_text("colour,open,price\nred,yes,$1\nmauve,no,$2\n")
        words = (
            "holds 'mauve' in line 3, column 'colour', which the model does not know; expected one of: 'blue', 'dark"
        )
        assert complained(call("predict", shop[1], tmp_path / "new.csv"), words)
        rows = json.loads(call("predict", shop[1], tmp_path / "new.csv", "--unknown", "zero", "--json").stdout)["rows"]
        loaded = cx.SparseReLURegressor.load(shop[1])
        del loaded.feature_names_in_
        assert rows[1][0] == loaded.predict([[0, 0, 0, 0, 2]])[0]
        assert complained(
            call("predict", shop[1], tmp_path / "new.csv", "--unknown", "x"), "unknown 'x' is unknown; exp"
        )

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ("red,maybe,$1", "holds 'maybe' in line 3, column 'open'; expected True or False, or yes or no"),
            ("red,yes,cheap", "holds 'cheap' in line 3, column 'price'; expected a finite number"),
            ("red,yes,12%", "holds '12%' in line 3, column 'price', and '$1' in line 2"),
        ],
    )
    def test_cells_that_are_not_what_its_columns_are(
        self, row: str, words: str, shop: tuple[Path, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "new.csv").write_text(f"colour,open,price\nred,yes,$1\n{row}\n")
        assert complained(call("predict", shop[1], tmp_path / "new.csv"), words)

    def test_another_sign_than_it_was_fitted_to(self, shop: tuple[Path, Path], tmp_path: Path) -> None:
        for sign in ("1%", "€1"):
            (tmp_path / "new.csv").write_text(f"colour,open,price\nred,yes,{sign}\n", encoding="utf-8")
            words = f"holds '{sign}' in line 2, column 'price'; expected numbers with $, as the model was fitted to"
            assert complained(call("predict", shop[1], tmp_path / "new.csv"), words)

    def test_rows_that_are_left_out_keep_their_place(self, shop: tuple[Path, Path], tmp_path: Path) -> None:
        new = tmp_path / "new.csv"
        new.write_text("colour,open,price,y\nred,yes,$1,5\n?,no,$2,6\nblue,no,$3,\nred,no,,7\nblue,no,$9,8\n")
        result = call("predict", shop[1], new, "--missing", "drop", "--target", "y")
        told = [row["prediction"] for row in csv.DictReader(io.StringIO(result.stdout))]
        assert [bool(cell) for cell in told] == [True, False, True, False, True]
        assert "2 rows of 5 left out, with missing cells: the first is line 3" in result.stderr
        assert "on 2 rows" in result.stderr
        words = "has 2 missing cells, in columns 'colour' (1), 'price' (1); the first is '?' in line 3, column 'colour'"
        assert complained(call("predict", shop[1], new, "--missing", "fail"), words)
        filled = json.loads(call("predict", shop[1], new, "--json").stdout)["rows"]
        assert [str(row[0]) for row in filled][0::2] == told[0::2]
        new.write_text("colour,open,price\n,yes,$1\n")
        assert complained(
            call("predict", shop[1], new, "--missing", "drop"), "has a missing cell in every row; expected"
        )


def test_a_truth_of_yes_and_no_is_scored_in_any_spelling(tmp_path: Path) -> None:
    rows = [f"{n},{'yes' if n > 5 else 'no'}" for n in range(12)]
    (tmp_path / "data.csv").write_text("\n".join(["a,y", *rows]))
    call("fit", tmp_path / "data.csv", "--test-share", 0, "--budget", 4, "--save", tmp_path / "model.npz")
    (tmp_path / "new.csv").write_text("a,y\n0,NO\n1,n\n10,Yes\n11,TRUE\n")
    result = call("predict", tmp_path / "model.npz", tmp_path / "new.csv", "--target", "y")
    assert "accuracy 1.0000 on 4 rows" in result.stderr


def test_a_second_column_of_a_name_of_the_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,a,b,b\n1.5,9,2.5,9\n")
    rows = read_rows(tmp_path / "new.csv", Encoding.of_numbers(["a", "b", "b.1"]))
    np.testing.assert_array_equal(rows.X, [[1.5, 2.5, 9.0]])
    assert rows.remarks == ("another column of the name 'a' is 'a.1' here",)


def test_recover_and_budget_path_read_tables_as_fit_does(tmp_path: Path) -> None:
    table, model = tmp_path / "t.csv", tmp_path / "model.npz"
    rows = [f"{'red' if n % 2 else 'blue'},{n},{n * 1.5}" for n in range(1, 9)]
    table.write_text("\n".join(["color,size,y", *rows, "red,NA,7"]) + "\n")
    found = call("recover", str(table), "--budget", "3", "--missing", "median", "--time-limit", "0.2")
    assert "1 missing cell filled by medians" in found.stderr
    assert "y = " in found.stdout
    path = call("budget-path", str(table), "--budgets", "3", "--folds", "2", "--missing", "drop", "--save", str(model))
    assert "1 row of 9 left out" in path.stderr
    fresh = tmp_path / "fresh.csv"
    fresh.write_text("size,color\n3,blue\n")
    assert len(call("predict", str(model), str(fresh)).stdout.split()) == 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("weight", "column 'weight': none of 20 labels known to the model (no, yes); '1.5' counts as wrong"),
        ("other", "column 'other': 19 of 20 labels known to the model (no, yes); 'perhaps' counts as wrong"),
        ("y", ""),
    ],
)
def test_predict_says_which_labels_the_model_does_not_know(tmp_path: Path, target: str, words: str) -> None:
    answers = ["yes" if i % 3 else "no" for i in range(20)]
    lines = [f"{i},{i + 1}.5,{y},{'perhaps' if i == 1 else y}" for i, y in enumerate(answers)]
    (tmp_path / "a.csv").write_text("\n".join(["a,weight,y,other", *lines]))
    model = tmp_path / "model.npz"
    options = ("--target", "y", "--drop", "weight", "--drop", "other", "--budget", 4)
    call("fit", tmp_path / "a.csv", *options, "--save", model)
    result = call("predict", model, tmp_path / "a.csv", "--target", target)
    assert words in " ".join(result.stderr.split())
    assert ("known to the model" in result.stderr) == bool(words)

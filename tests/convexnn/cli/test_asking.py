"""What the commands of verify say of regions, radii, ranges and data sets: the same as Python does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.cli.app import COMMANDS
from tests.helpers.command_line import call, complained

NETWORK = cx.SparseReLUNetwork([([[1.0, 0.5], [-1.0, 1.0]], [0.0, 0.25]), ([[1.0, 0.0], [0.5, 1.0]], None)])
POINT = np.array([0.75, 0.25])


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return NETWORK.save(tmp_path / "net.npz")


@pytest.fixture
def points(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("0.75,0.25\n0.5,0.5\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "cut.csv").write_text("# x_0 + x_1 <= 1.0625\n1, 1, 1.0625\n")
    (tmp_path / "box.csv").write_text("0.5, 0\n1, 0.5\n")
    (tmp_path / "radii.csv").write_text("0.25, 0.0625\n")
    return tmp_path


CUT = ([[1.0, 1.0]], [1.0625])

REGIONS: dict[str, tuple[list[Any], verify.Box]] = {
    "linf": (["--radius", 0.25], verify.LinfBall(POINT, 0.25)),
    "l1": (["--radius", 0.25, "--norm", "l1"], verify.L1Ball(POINT, 0.25)),
    "l2": (["--radius", 0.25, "--norm", "l2"], verify.L2Ball(POINT, 0.25)),
    "clip": (["--radius", 0.5, "--norm", "l1", "--clip", 0, 1], verify.L1Ball(POINT, 0.5, clip=(0, 1))),
    "radii": (["--radii", "0.25,0.0625"], verify.Box([0.5, 0.1875], [1, 0.3125])),
    "radii of a file": (
        ["--radii", "FOLDER/radii.csv", "--clip", 0, 0.875],
        verify.Box([0.5, 0.1875], [0.875, 0.3125]),
    ),
    "constraints": (
        ["--radius", 0.25, "--constraints", "FOLDER/cut.csv"],
        verify.LinfBall(POINT, 0.25).where(*CUT),
    ),
}


def options(name: str, folder: Path) -> list[Any]:
    return [str(word).replace("FOLDER", str(folder)) for word in REGIONS[name][0]]


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_is_that_of_python(name: str, network: Path, points: Path, files: Path) -> None:
    result = call("maximize", network, points, "--output", 1, *options(name, files), "--json")
    assert result.exit_code == 0, result.stderr
    found, truth = json.loads(result.stdout), verify.maximize(NETWORK, REGIONS[name][1], 1)
    assert found["value"] == pytest.approx(truth.value, abs=1e-7)
    assert found["bound"] == pytest.approx(truth.bound, abs=1e-6)
    assert REGIONS[name][1].contains(np.array(found["witness"]))


def test_a_box_needs_no_points(network: Path, files: Path) -> None:
    box = verify.Box([0.5, 0.0], [1.0, 0.5])
    command = (network, "--box", files / "box.csv", "--constraints", files / "cut.csv", "--json")
    found = json.loads(call("output-range", *command).stdout)
    truth = verify.output_range(NETWORK, box.where(*CUT))
    assert found["status"] == "OPTIMAL"
    assert np.allclose(found["lower"], truth.lower, atol=1e-6)
    assert np.allclose(found["upper"], truth.upper, atol=1e-6)
    assert json.loads(call("attack", *command, "--label", 0).stdout)["label"] == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "none of them is given; expected one of radius, radii and box"),
        (["--radius", 1, "--radii", "1,1"], "radius and radii is given; expected one of"),
        (["--box", "FOLDER/box.csv"], "box goes without points, radius and radii with them"),
        (["--radius", 1, "--norm", "l7"], "norm 'l7' is unknown; expected one of: linf, l1, l2"),
        (["--radii", "1,1", "--norm", "l2"], "radii is given with the norm l2; expected linf"),
        (["--radii", "1"], "radii has 1 numbers; expected 2, one for each input"),
        (["--radii", "1,-1"], "expected finite numbers of at least 0"),
        (["--radii", "1,one"], "radii is '1,one'; expected numbers with commas between"),
        (["--radii", "1,1", "--clip", 0, 0.5], "outside clip"),
        (["--radius", 1, "--constraints", "FOLDER/box.csv"], "has 2 numbers in a row; expected 3"),
        (["--radius", 1, "--constraints", "FOLDER/none.csv"], "none.csv' cannot be read"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[Any], reason: str, network: Path, points: Path, files: Path
) -> None:
    given = [str(word).replace("FOLDER", str(files)) for word in words]
    assert complained(call("output-range", network, points, *given), reason)


def test_a_box_file_has_two_rows(network: Path, points: Path) -> None:
    points.write_text("1,2\n")
    assert complained(call("output-range", network, "--box", points), "has 1 rows; expected 2")
    assert complained(call("output-range", network, "--box", points, "--rows", "all"), "rows is given with box")


def test_rows_of_other_regions_are_other_lines_of_a_log(network: Path, points: Path, files: Path) -> None:
    command = ("output-range", network, points, "--rows", "all", "--log", files / "log.jsonl")
    for name in ("linf", "l1", "constraints", "radii"):
        assert call(*command, *options(name, files)).exit_code in (0, 2)
    lines = [json.loads(line) for line in (files / "log.jsonl").read_text().splitlines()]
    assert len({json.dumps(line["key"]) for line in lines}) == len(lines) == 8


def test_the_smallest_radius(network: Path, points: Path, tmp_path: Path) -> None:
    # At (1/2, 1/2) y_0 = .75 and y_1 = .375 + .25.
    command = ("min-radius", network, points, "--radius", 1, "--clip", 0, 1)
    result = call(*command, "--row", 1, "--json", "--witness", tmp_path / "near.npy")
    truth = verify.min_radius(NETWORK, verify.LinfBall([0.5, 0.5], 1.0, clip=(0, 1)))
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (0, "FOUND")
    assert found["lower"] <= truth.upper
    assert found["upper"] >= truth.lower
    assert np.abs(np.load(tmp_path / "near.npy") - 0.5).max() <= found["upper"]
    many = [json.loads(line) for line in call(*command, "--rows", "all", "--norm", "l1").stdout.splitlines()]
    assert [line["status"] for line in many] == ["FOUND", "FOUND"]
    wrong = call(*command, "--label", 1)
    assert (wrong.exit_code, wrong.stdout.partition(":")[0]) == (1, "MISCLASSIFIED")


def test_certified_accuracy(network: Path, points: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("0\n1\n")
    command = ("evaluate", network, points, tmp_path / "labels.csv", "--radius", 0.0625)
    found = json.loads(call(*command, "--json").stdout)
    assert (found["accuracy"], found["certified_accuracy"]) == (0.5, 0.5)
    assert found["verdicts"] == ["ROBUST", "MISCLASSIFIED"]
    assert call(*command, "--rows", "0").stdout.startswith("1 rows: accuracy 100.0%, certified 100.0%")
    assert complained(call(*command[:-1], -1), "radius is -1.0")


def test_every_command_has_an_example_and_short_help() -> None:
    for command in COMMANDS:
        name = command.__name__.replace("_", "-")
        result = call(name, "-h")
        assert result.exit_code == 0
        assert f"Example: convexnn {name} " in " ".join(result.stdout.split())
        assert "--json" in result.stdout


def test_the_version_is_shown() -> None:
    assert call("--version").stdout == f"convexnn {cx.__version__}\n"
    assert "vnncomp" in call("-h").stdout


class TestReport:
    """The page of an attack."""

    def test_many_rows_have_a_page_with_what_changes(self, network: Path, points: Path, tmp_path: Path) -> None:
        page, log = tmp_path / "page.html", tmp_path / "log.jsonl"
        result = call("attack", network, points, "--radius", 0.5, "--rows", "all", "--log", log, "--report", page)
        assert result.exit_code == 1, result.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        words = page.read_text(encoding="utf-8")
        assert "Of 2 questions" in words
        assert "L-inf ball of radius 0.5 over 2 inputs" in words
        for line in lines:
            assert line["verdict"] in words
            assert (f"An attack on row {line['key']['row']}" in words) is (line["witness"] is not None)
        assert "<img" not in words

    def test_images_are_shown(self, network: Path, points: Path, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        options = ["--report", page, "--image-shape", 1, 2]
        assert call("attack", network, points, "--radius", 0.5, *options).exit_code == 1
        words = page.read_text(encoding="utf-8")
        assert words.count("<img") == words.count('src="data:image/png;base64,') == 1

    def test_a_box_has_a_page(self, network: Path, files: Path, tmp_path: Path) -> None:
        assert call("attack", network, "--box", files / "box.csv", "--report", tmp_path / "page.html").exit_code == 0
        words = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "the box" in words
        assert "ROBUST" in words

    @pytest.mark.parametrize("other", [["--witness"], ["--rows", "all", "--log"]])
    def test_a_page_has_a_file_of_its_own(self, other: list[str], network: Path, points: Path, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        result = call("attack", network, points, "--radius", 0.5, "--report", page, *other, page)
        complained(result, "is named twice; expected another file for each of report, witness and log")
        assert not page.exists()

    @pytest.mark.parametrize("rows", [[], ["--rows", "all"]])
    def test_images_of_another_size_are_refused_before_the_work(
        self, rows: list[str], network: Path, points: Path, tmp_path: Path
    ) -> None:
        page = tmp_path / "page.html"
        options = ["--radius", 0.5, "--report", page, "--image-shape", 2, 2, *rows]
        complained(
            call("attack", network, points, *options), "image-shape is 2 2; expected two sizes whose product is 2"
        )
        complained(call("attack", network, points, "--radius", 0.5, "--image-shape", 1, 2, *rows), "without report")
        assert not page.exists()

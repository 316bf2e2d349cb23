"""What the documents show is run as printed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import convexnn as cx
from convexnn.studies.harness.study import SEEDS, Scale, study_named
from convexnn.studies.harness.table import RunTable
from tests.helpers.places import ROOT

DOCS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "docs" / "results").glob("*/runs.csv"))


def test_the_python_of_the_readme_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "at most 12 of" in shown
    assert re.search(r"^R2 on fresh data: (1\.000|0\.99)", shown, flags=re.MULTILINE)
    assert "sparse ReLU network 20-2-1: 5 nonzeros, 2 hidden neurons" in shown
    assert re.search(r"^accuracy 0\.9\d; sparse ReLU network 30-\d+-1: ", shown, flags=re.MULTILINE)
    assert re.search(r"^budget \d+: accuracy 0\.9\d on unseen rows$", shown, flags=re.MULTILINE)
    assert cx.SparseReLUNetwork.load(tmp_path / "network.npz").nnz <= 24
    assert re.search(r"^gap \de-(0[7-9]|1\d) of the loss at zero, cones violated by 0e\+00$", shown, flags=re.MULTILINE)
    assert "All 3 solvers that converged end within" in shown
    assert re.search(r"^ +planted weights: cannot be checked\.", shown, flags=re.MULTILINE)
    assert re.search(r"^L_12 <= \d", shown, flags=re.MULTILINE)
    assert re.search(r"^HT-stable to 1e-08 at step", shown, flags=re.MULTILINE)
    assert re.search(r"^largest output -?\d+\.\d+ at x = ", shown, flags=re.MULTILINE)
    assert re.search(r"^(ROBUST|COUNTEREXAMPLE): ", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_links_and_programs_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for script in re.findall(r"(?:benchmarks|examples)/\w+\.py", text):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", DOCS)
def test_tests_that_a_page_names_are_there(page: str) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_the_page_of_a_recorded_study_is_what_its_table_says(path: Path) -> None:
    study = study_named(path.parent.name)
    table, text = RunTable(path, study), (path.parent / "summary.md").read_text(encoding="utf-8")
    command = re.search(r"^    convexnn reproduce [\w-]+(?: --seeds ([\d,]+))?$", text, flags=re.MULTILINE)
    assert command is not None
    seeds = tuple(map(int, command[1].split(","))) if command[1] else SEEDS["default"]
    rows = table.rows(study.runs(Scale("default", seeds)))
    assert rows
    for part in (study.protocol, study.tables(rows), study.details(rows)):
        assert part.strip("\n") in text


# Every example, with words that it prints where it does what it says.
EXAMPLES = {
    "convex_programs.py": "All 3 solvers that converged end within",
    "estimators.py": "the same predictions after loading: True",
    "optimise_inputs.py": "the network promises 2.1",
    "recover_and_verify.py": "COUNTEREXAMPLE",
    "recover_network.py": "10 % noise, budget 30: 15 significant weights",
    "verify_torch.py": "COUNTEREXAMPLE",
}


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(script), run_name="__main__")
    assert EXAMPLES[script.name].lower() in capsys.readouterr().out.lower()


@pytest.mark.parametrize("package", ["convexnn", "verify"])
def test_the_examples_in_docstrings_are_true(package: str) -> None:
    import doctest
    import importlib
    import pkgutil

    module = importlib.import_module(package)
    names = [found.name for found in pkgutil.walk_packages(module.__path__, f"{package}.")]
    for name in [package, *names]:
        if not name.endswith("__main__"):
            assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_has_a_docstring() -> None:
    import verify

    for module in (cx, verify):
        for name in module.__all__:
            assert (getattr(module, name).__doc__ or "").strip(), name

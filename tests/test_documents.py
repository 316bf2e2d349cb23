"""What the documents show is run as printed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from convexnn.studies.harness.study import SEEDS, Scale, study_named
from convexnn.studies.harness.table import RunTable
from tests.helpers.places import ROOT

DOCS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "docs" / "results").glob("*/runs.csv"))


# Every page whose Python is run, with patterns of lines that it prints.
PYTHON = {
    "README.md": (
        r"y = h0 - h1$",
        r"^worst error on fresh data: (0e\+00|\de-1\d)$",
        r"^(ROBUST|COUNTEREXAMPLE): ",
        r"^OPTIMAL: ",
    ),
    "docs/global_optimum.md": (
        r"No gate is missing: .*\. As to widths: networks of \d+ neurons or more",
        r"^objective 0\.02\d+; no network of any width is below 0\.02\d+$",
    ),
    "docs/guides/data.md": (
        r"at most 12 of",
        r"^R2 on fresh data: (1\.000|0\.99)",
        r"sparse ReLU network 20-2-1: 5 nonzeros, 2 hidden neurons",
        r"^EXACT sparse ReLU network 10-3-1: ",
        r"^accuracy on fresh data: 0\.\d\d$",
    ),
    "docs/guides/estimators.md": (
        r"^accuracy 0\.9\d; sparse ReLU network 30-\d+-1: ",
        r"^uses .*worst",
        r"^h0 = relu\(.*worst",
        r"^slopes at most \[0\.0, 0\.0, 0\.0\]$",
    ),
    "docs/guides/budget.md": (r"^budget \d+: accuracy 0\.9\d on unseen rows$",),
    "docs/guides/convex_programs.md": (
        r"^gap \de-(0[7-9]|1\d) of the loss at zero, cones violated by 0e\+00$",
        r"All 4 solvers that converged end within",
        r"^fista: objective 0\.\d+, gap \de-\d\d, intercept \d\.\d+$",
    ),
    "docs/guides/theorems.md": (
        r"^ +planted weights: cannot be checked\.",
        r"^L_12 <= \d",
        r"^HT-stable to 1e-08 at step",
    ),
    "docs/guides/papers.md": (r"sparse ReLU network 100-5-1",),
    "docs/guides/verify.md": (r"^(ROBUST|COUNTEREXAMPLE): ", r"^OPTIMAL: ", r"^20 rows: accuracy 100.0%", r"^HOLDS: "),
    "docs/guides/embed.md": (r"^largest output -?\d+\.\d+ at x = ", r"^MathOpt: OPTIMAL, largest output \d"),
    "docs/how/bounds.md": (),
    "docs/how/hard_thresholding.md": (),
    "docs/how/mapping.md": (r"refit mapping: sparse ReLU network 1-3-1",),
    "docs/how/patterns.md": (r"^10 activation patterns \(enumerate\): 10 drawn of at most 10 possible",),
    "docs/how/search.md": (r"^OPTIMAL: ",),
    "docs/how/soundness.md": (r"^0\.1: ROBUST", r"^0\.1000\d+: COUNTEREXAMPLE"),
    "docs/tutorials/cluster.md": (r"^100 rows: accuracy 9", r"^\[\(6, 'EXACT'\), \(6, 'EXACT'\)"),
    "docs/tutorials/convex_program.md": (
        r"^at most \de-0[6-9] of the loss at zero above the optimum$",
        r"All 4 solvers that converged end within",
        r"cones violated by 0e\+00$",
        r"^exact: squared loss, at most 4 of 210 weights",
    ),
    "docs/tutorials/inside_a_model.md": (r"^the network promises 2\.1", r"^OPTIMAL: "),
    "docs/tutorials/planted_network.md": (
        r"The data are met to rounding",
        r"^largest difference of a weight: \de-1\d$",
        r"^\d\d weights kept of a budget of 90; \d\.\d % error",
    ),
    "docs/tutorials/read_a_network.md": (r"^R2 on fresh rows: 0\.[3-5]", r"the same predictions after loading: True"),
    "docs/tutorials/verify_your_network.md": (
        r"^radius 0\.05: ROBUST",
        r"^radius 0\.25: COUNTEREXAMPLE",
        r"^the module says 0 and not 1$",
        r"^FOUND: ",
    ),
}
PICTURES = runpy.run_path(str(ROOT / "docs" / "make_pictures.py"))


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs_as_printed(page: str, tmp_path: Path) -> None:
    shown = PICTURES["run_page"](ROOT / page, tmp_path)
    printed = "".join(block.text for block in shown)
    for words in PYTHON[page]:
        assert re.search(words, printed, flags=re.MULTILINE), words
    tutorial = page.startswith(("docs/tutorials", "docs/how"))
    assert any(block.pictures for block in shown) == tutorial
    assert all(title for block in shown for title in block.titles), "a picture without a title"


def test_the_python_of_every_page_is_run() -> None:
    with_python = {page for page in ["README.md", *DOCS] if PICTURES["blocks"](ROOT / page)}
    assert with_python == set(PYTHON)


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_links_and_programs_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for page_named in re.findall(r"(?:\{doc\}`|^:link: )([\w./]+)", text, flags=re.MULTILINE):
        assert (ROOT / page).parent.joinpath(f"{page_named}.md").exists(), page_named
    for script in re.findall(r"(?:benchmarks|examples)/\w+\.py", text):
        assert (ROOT / script).exists(), script


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {"docs/index.md"}
    for page in DOCS:
        folder = (ROOT / page).parent
        for tree in re.findall(
            r"^```\{toctree\}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
        ):
            entries = [line.rpartition("<")[2].rstrip(">") for line in tree.splitlines() if not line.startswith(":")]
            listed |= {str(found.relative_to(ROOT)) for entry in entries for found in folder.glob(f"{entry}.md")}
    assert set(DOCS) == listed


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
    "convex_programs.py": "All 4 solvers that converged end within",
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


def test_addresses_are_listed_in_one_place() -> None:
    listed = (ROOT / "docs" / "links.md").read_text(encoding="utf-8")
    files = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "pyproject.toml")]
    for folder in ("docs", "convexnn", "verify", "examples", "benchmarks"):
        files += [path for ending in ("*.py", "*.md") for path in (ROOT / folder).rglob(ending)]
    for path in files:
        if "_build" in path.parts or "generated" in path.parts:
            continue
        for address in re.findall(r"https?://[\w./~%-]{8,}", path.read_text(encoding="utf-8")):
            host = "/".join(address.split("/")[:3])
            assert host in listed, f"{path.name}: {address} is not in docs/links.md"

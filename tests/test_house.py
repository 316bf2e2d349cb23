"""The house: who may import whom, how large a room is, what an import costs, and that the libraries share a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.helpers.places import ROOT

# The rooms of each package from left to right: a file imports from its own room and from rooms before it. Files at the
# root are rooms of their own. A new file needs no line here; a new room does.
ROOMS = {
    "convexnn": [
        *(
            "frames",
            "checks",
            "files",
            "tiles",
            "records",
            "tables",
            "reports",
            "progress",
            "network_files",
            "formulas",
            "network",
            "explanation",
            "pricing",
            "rank_workers",
            "workers",
        ),
        *("patterns", "linear", "program", "mapping", "solution"),
        *("theory.supports", "theory"),
        *(
            "solvers.common",
            "solvers.convex.basis",
            "solvers.convex",
            "solvers.thresholding",
            "solvers.subset",
            "solvers",
        ),
        "optimum",
        *(
            "recovery.layer",
            "recovery.candidates",
            "recovery",
            "fitting",
            "comparison",
            "datasets",
            "estimators",
            "baselines",
            "plots",
        ),
        *("studies.harness", "studies.methods", "studies"),
        *("cli.tables", "cli.files", "cli.common", "cli.demonstration", "cli.asking", "cli"),
    ],
    "verify": [
        *("clock", "crew", "relu_graph", "regions"),
        *("reading.graph", "reading.onnx_files", "reading.torch_modules", "reading", "properties"),
        *("milp", "backends", "bounds", "answers", "branching", "programs"),
        *("encoding", "embedding", "points", "splitting", "questions"),
        "plots",
    ],
}

# All that `verify` sees of `convexnn`, and who of `convexnn` sees `verify`.
SHARED = {
    f"convexnn.{name}"
    for name in (
        *("network", "network_files", "checks", "files", "records", "tables", "workers"),
        *("pricing.price", "pricing.polishing"),
    )
}
KNOW_BOTH = ("studies", "cli")

# Files and inner rooms of a room, and lines of a file.
SMALLEST, LARGEST, LONGEST = 4, 15, 400

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ROOMS
    for path in sorted((ROOT / package).rglob("*.py"))
}
FOLDERS = [name for name, path in FILES.items() if path.name == "__init__.py" and name not in ROOMS]


@cache
def imports(name: str) -> set[str]:
    """Return the files of the house that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in FILES else node.module for whole in inner.values()}
    return (found & set(FILES)) - {name}


@cache
def room_of(name: str) -> str:
    """Return the room that a file is in, without its package; the face of a package is in none."""
    package, _, inside = name.partition(".")
    if name in FOLDERS or inside in ROOMS[package]:
        return inside
    return inside.rpartition(".")[0]


INSIDE = {
    f"{package}.{room}": [name for name in FILES if name.split(".")[0] == package and room_of(name) == room]
    for package, rooms in ROOMS.items()
    for room in rooms
}


@pytest.mark.parametrize("room", INSIDE)
def test_imports_run_from_left_to_right(room: str) -> None:
    package, _, inside = room.partition(".")
    known = set(ROOMS[package][: ROOMS[package].index(inside) + 1])
    # What stands on top uses the package as its users do.
    known |= {""} if inside.split(".")[0] in KNOW_BOTH else set()
    for name in INSIDE[room]:
        found = {room_of(other) for other in imports(name) if other.split(".")[0] == package}
        assert found <= known, f"{name} imports from {sorted(found - known)}, which stand after {inside}"


@pytest.mark.parametrize("room", INSIDE)
def test_the_packages_share_the_network_and_the_checks_alone(room: str) -> None:
    package, _, inside = room.partition(".")
    for name in INSIDE[room]:
        others = {other for other in imports(name) if other.split(".")[0] != package}
        assert others <= SHARED if package == "verify" else inside.split(".")[0] in KNOW_BOTH or not others


def test_imports_form_no_circle() -> None:
    graph = {name: imports(name) for name in FILES}
    while graph:
        ground = {name for name, needs in graph.items() if not needs & set(graph)}
        assert ground, f"a circle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in ground}


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_is_listed_and_nothing_lies_loose(package: str) -> None:
    rooms = {room_of(name) for name in FILES if name.split(".")[0] == package} - {""}
    assert rooms == set(ROOMS[package])
    loose = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert loose <= set(ROOMS[package])


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_room_has_its_size_and_says_what_is_in_it(folder: str) -> None:
    inside = [name for name in FILES if name.rpartition(".")[0] == folder]
    assert SMALLEST <= len(inside) <= LARGEST
    words = ast.get_docstring(ast.parse(FILES[folder].read_text(encoding="utf-8"))) or ""
    assert len(words.split()) > 20, "expected what is in here, what comes in, what goes out, where to start reading"


@pytest.mark.parametrize("room", INSIDE)
def test_a_file_is_read_in_one_sitting(room: str) -> None:
    lengths = {name: len(FILES[name].read_text(encoding="utf-8").splitlines()) for name in INSIDE[room]}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def run(code: str) -> str:
    """Run code in a fresh interpreter that treats warnings as errors."""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


HEAVY = ("torch", "cvxpy", "ortools", "onnx", "matplotlib", "sklearn", "gurobipy", "highspy", "rich", "typer")


@pytest.mark.parametrize("package", ["convexnn", "verify", "convexnn.cli"])
def test_an_import_brings_no_heavy_library(package: str) -> None:
    code = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_the_face_of_convexnn_loads_what_is_used_alone() -> None:
    told = "print('scipy' in sys.modules, set(cx.__all__) <= set(dir(cx)), cx.Status.EXACT.name)"
    code = f"import sys, convexnn as cx; {told}"
    assert run(code).split() == ["False", "True", "EXACT"]


# Both orders, in one process each: HiGHS under cvxpy and HiGHS under ortools must each solve min x subject to x >= 2.
CVXPY = """
import cvxpy as cp
x = cp.Variable(integer=True)
assert abs(cp.Problem(cp.Minimize(x), [x >= 1.5]).solve(solver="HIGHS") - 2) < 1e-9
"""
ORTOOLS = """
from ortools.math_opt.python import mathopt
for engine in (mathopt.SolverType.HIGHS, mathopt.SolverType.GSCIP):
    model = mathopt.Model()
    y = model.add_integer_variable(lb=1.5, ub=9)
    model.minimize(y)
    assert abs(mathopt.solve(model, engine).objective_value() - 2) < 1e-9
"""


@pytest.mark.parametrize("order", [(CVXPY, ORTOOLS), (ORTOOLS, CVXPY)], ids=["cvxpy first", "ortools first"])
def test_cvxpy_and_ortools_share_a_process_in_either_order(order: tuple[str, str]) -> None:
    # cvxpy and ortools warn of their own deprecations on import; only failures matter here.
    code = "import warnings; warnings.simplefilter('ignore')\n" + "\n".join(order)
    assert run(code) == ""


def test_the_highs_under_cvxpy_has_the_known_bug_of_1_14_not() -> None:
    code = """
import cvxpy as cp
from tests.helpers.places import ROOT
x, z = cp.Variable(nonneg=True), cp.Variable(integer=True)
value = cp.Problem(cp.Minimize(2 * x + 3 * z), [x + z >= 4.5, z >= 0]).solve(solver="HIGHS")
assert abs(value - 9) < 1e-9, value
"""
    assert run("import warnings; warnings.simplefilter('ignore')\n" + code) == ""


def test_parts_are_used_by_their_names() -> None:
    code = "import convexnn as cx; print(cx.plots.__name__, cx.datasets.planted.__name__, 'baselines' in dir(cx))"
    assert run(code).split() == ["convexnn.plots", "planted", "True"]


def test_the_version_is_the_same_wherever_it_is_stated() -> None:
    import tomllib

    import convexnn
    import verify

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert convexnn.__version__ == verify.__version__ == stated
    assert f"\nversion: {stated}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")

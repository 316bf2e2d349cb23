"""The house: who may import whom, what an import costs, and that the libraries share one process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Rooms from left to right; a room imports only rooms before it. Studies and the command line stand on top.
ORDER = [
    "checks",
    "tiles",
    "tables",
    "arrangements",
    "gates",
    "merging",
    "patterns",
    "columns",
    "least_squares",
    "active_set",
    "cones",
    "pairs",
    "masks",
    "operator",
    "selection",
    "losses",
    "scores",
    "refit",
    "penalties",
    "support_fit",
    "network",
    "targets",
    "program",
    "memory",
    "neurons",
    "mapping",
    "solution",
    "theory",
    "datasets",
    "solvers",
    "recovery",
    "fitting",
    "baselines",
    "path",
    "rows",
    "crosscheck",
    "estimators",
    "budget_path",
    "baselines",
    "studies",
    "cli",
]


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, inside functions too; of ``from package import module`` the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else node.module for name in inner}
    return found


def is_module(name: str) -> bool:
    """Whether a dotted name is a file or a folder of this house."""
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


def rooms_of(package: str, path: Path) -> set[str]:
    """Return the rooms of `package` that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", sorted((ROOT / "convexnn").rglob("*.py")), ids=str)
def test_convexnn_imports_run_from_left_to_right(path: Path) -> None:
    inside = path.relative_to(ROOT / "convexnn")
    room = inside.parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    known = set(ORDER[: ORDER.index(room) + (len(inside.parts) > 1)])
    assert rooms_of("convexnn", path) & set(ORDER) <= known
    if room not in ("studies", "cli"):
        assert not any(name.split(".")[0] == "verify" for name in imports(path))


@pytest.mark.parametrize("path", sorted((ROOT / "verify").rglob("*.py")), ids=str)
def test_verify_knows_the_network_and_the_checks_alone(path: Path) -> None:
    assert rooms_of("convexnn", path) & set(ORDER) <= {"network", "checks"}
    assert "convexnn" not in imports(path)


def test_imports_form_no_circle() -> None:
    files = {path: name for package in ("convexnn", "verify") for path, name in modules(package)}
    graph = {name: imports(path) & (set(files.values()) - {name}) for path, name in files.items()}
    while graph:
        ground = {name for name, needs in graph.items() if not needs & set(graph)}
        assert ground, f"a circle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in ground}


def modules(package: str) -> list[tuple[Path, str]]:
    """Return the files of a package with their dotted names; a package's face has the package's name."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return list(zip(paths, names, strict=True))


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
x, z = cp.Variable(nonneg=True), cp.Variable(integer=True)
value = cp.Problem(cp.Minimize(2 * x + 3 * z), [x + z >= 4.5, z >= 0]).solve(solver="HIGHS")
assert abs(value - 9) < 1e-9, value
"""
    assert run("import warnings; warnings.simplefilter('ignore')\n" + code) == ""


def test_the_version_is_stated_once_and_the_same() -> None:
    import tomllib

    import convexnn

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert convexnn.__version__ == stated

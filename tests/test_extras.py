"""The light install: what the base does without any extra, and what each missing extra says, in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from convexnn.checks import EXTRAS
from tests.helpers.places import ROOT

# Modules of another name than their package's.
MODULES = {"markdown-it-py": "markdown_it"}

# In a process of its own the packages named are as if they were not installed.
WITHOUT = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {gone!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Without]
"""

NETWORK = "cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])"

# What the base does, with the engines that it has.
BASE = f"""
import numpy as np
import convexnn as cx
import convexnn.plots
import verify
import verify.plots

X = np.random.default_rng(0).standard_normal((60, 4))
y = np.maximum(X[:, 0] - X[:, 1], 0.0)
patterns = cx.sample_patterns(X, 8, seed=0)
for penalty, cone in (("group_l1", False), ("group_l1", True), ("l1", True)):
    program = cx.ConvexProgram(X, y, patterns, penalty=penalty, strength=0.01, cone=cone)
    assert cx.solve(program).status.complete
# The last solver of `auto` is not there; the answers of those before it are.
hopeless = cx.solve(cx.ConvexProgram(X, y, patterns, penalty="l1", strength=0.01, cone=True), tolerance=0.0)
assert hopeless.nnz > 0
assert "pip install convexnn[cvxpy]" in cx.crosscheck(program)["cvxpy"].reason
assert cx.recover(X, y, budget=2).status is cx.Status.EXACT
assert cx.SparseReLURegressor(budget=6, random_state=0).fit(X, y).score(X, y) > 0.5
network = {NETWORK}
for backend in BACKENDS:
    found = verify.find_adversarial(network, verify.LinfBall([2.0], 0.5), backend=backend)
    assert found.status is verify.Verdict.ROBUST
wide = verify.L2Ball([2.0, 2.0], 0.5)
found = verify.maximize(cx.SparseReLUNetwork([([[1.0, 0.5], [-1.0, 2.0]], None), ([[1.0, 1.0]], None)]), wide)
assert found.status is verify.Status.OPTIMAL
print("done")
"""

PATH = "cx.budget_path(cx.SparseReLURegressor(epochs=2), np.eye(9), np.arange(9.0), [2, 4], cv=2)"

ROWS = f"verify.evaluate({NETWORK}, [[2.0]], [1], lambda x: verify.LinfBall(x, 0.5))"

# For each package of an extra, what needs it.
NEEDS = {
    "cvxpy": [
        'cx.solve(cx.ConvexProgram(np.eye(4), np.arange(4.0), cx.sample_patterns(np.eye(4), 3), penalty="l1", '
        'strength=0.1), "cvxpy")'
    ],
    "ortools": [
        f'verify.maximize({NETWORK}, verify.Box([-1.0], [2.0]), backend="{name}")' for name in ("highs", "gscip")
    ],
    "onnx": [f'{NETWORK}.to_onnx("never.onnx")', "verify.read_network(b'model')"],
    "matplotlib": [f"verify.plots.robustness({{0.5: {ROWS}}})", f"plots.budget_curve({PATH})", f"{PATH}.plot()"],
    "jinja2": ['html_page("title", [])'],
    "markdown-it-py": ['html_page("title", [Section(text="words")])'],
    "typer": ['main(["--version"])'],
    "rich": ['main(["--version"])'],
    "distributed": ['workers(1, "tcp://127.0.0.1:1").__enter__()'],
    "pyarrow": ['rows_on_disk("never.parquet", "never.npy")'],
    "gurobipy": [f'verify.maximize({NETWORK}, verify.Box([-1.0], [2.0]), backend="gurobi")'],
    "pyscipopt": [f'verify.maximize({NETWORK}, verify.Box([-1.0], [2.0]), backend="scip")'],
}
CALL = """
import sys
import numpy as np
import convexnn as cx
import verify
import verify.plots
from convexnn import plots
from convexnn.cli import main
from convexnn.cli.common.cluster import workers
from convexnn.datasets import rows_on_disk
from convexnn.reports import Section, html_page

for call in {calls!r}:
    try:
        code = eval(call)
    except ImportError as error:
        print(error)
    else:
        assert code == 2, code
"""


def run(gone: list[str], code: str) -> str:
    """Run code without some packages, warnings as errors, and return what it printed on both streams."""
    modules = {MODULES.get(package, package) for package in gone}
    words = [sys.executable, "-W", "error", "-c", WITHOUT.format(gone=modules) + code]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("engines", [("highspy", "scipy"), ("scipy",)], ids=["with highspy", "without, as on 3.14"])
def test_the_base_does_its_work_without_any_extra(engines: tuple[str, ...]) -> None:
    gone = [*EXTRAS, "pandas", "onnxruntime", *{"highspy"}.difference(engines)]
    assert run(gone, f"BACKENDS = {('auto', 'branching', *engines)}\n{BASE}") == "done\n"


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_extra_is_one_line_that_names_it(package: str) -> None:
    calls = NEEDS[package]
    lines = run([package], CALL.format(calls=calls)).splitlines()
    assert len(lines) == len(calls)
    for line in lines:
        assert line.endswith(f"needs the package {package}; install it with: pip install convexnn[{EXTRAS[package]}]")


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = project["optional-dependencies"]
    brought = {re.split(r"[<>=]", line)[0]: extra for extra in set(EXTRAS.values()) for line in stated[extra]}
    assert brought == EXTRAS
    base = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    assert not base & set(EXTRAS)

"""Cross-checks: rows against the solutions themselves, supports by definition, what agrees, tables and files."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import convexnn as cx
from convexnn.comparison.metrics import score
from convexnn.comparison.solver_result import SolverResult
from convexnn.solvers.registry import SOLVERS, able_solvers
from convexnn.tables import Table
from tests.helpers import zoo

X, Y = zoo.data(40, 5)

CASES = [
    zoo.Case("squared", 1, "group_l1", "gaussian", False, False),
    zoo.Case("squared", 2, "l1", "sparse", True, False),
    zoo.Case("logistic", 1, "l1", "gaussian", True, False),
    zoo.Case("softmax", 3, "group_l1", "gaussian", False, False),
    zoo.Case("squared", 1, "group_l1", "gaussian", False, True),
    zoo.Case("squared", 1, "none", "gaussian", False, False),
]


def convex(penalty: str = "group_l1", cone: bool = False) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X), penalty=penalty, strength=0.02, cone=cone)


def budget() -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X), budget=6)


@cache
def checked(case: zoo.Case) -> cx.Crosscheck:
    return cx.crosscheck(case.program(), options={"admm": {"max_iterations": 300}})


@pytest.mark.parametrize("case", CASES, ids=str)
class TestEveryProgram:
    def test_every_able_solver_has_a_row(self, case: zoo.Case) -> None:
        assert [row.solver for row in checked(case).rows] == able_solvers(case.program())

    def test_the_solvers_agree(self, case: zoo.Case) -> None:
        assert checked(case).agree()
        reference = checked(case).reference
        assert (reference == "cvxpy") == checked(case)["cvxpy"].converged
        assert reference is not None
        assert checked(case)[reference].converged
        assert not checked(case).interrupted

    def test_the_figures_are_those_of_the_solution(self, case: zoo.Case) -> None:
        for row in checked(case).rows:
            solution = row.solution
            assert solution is not None
            program = solution.program
            assert (row.objective, row.gap, row.nonzeros) == (solution.objective, solution.gap, solution.nnz)
            assert row.violation == (solution.violation if program.cone else None)
            assert row.mapping_error == solution.map().relative_error
            assert row.neurons == solution.to_network().n_neurons
            penalised = (
                (program.strength or 0.0)
                * program.penalty.value(program.neurons(np.stack(solution.pair or (solution.weights,))))
                if program.penalty
                else 0.0
            )
            assert row.loss == pytest.approx(solution.objective - penalised, rel=1e-9, abs=1e-12)

    def test_the_fit_is_scikit_learns(self, case: zoo.Case) -> None:
        row = checked(case)["cvxpy"]
        assert row.solution is not None
        program = row.solution.program
        given = row.solution.predict(program.X)
        if case.loss == "squared":
            expected = r2_score(program.targets, given.reshape(program.targets.shape))
        elif case.loss == "logistic":
            expected = accuracy_score(program.targets[:, 0] > 0, given.ravel() > 0)
        else:
            expected = accuracy_score(program.targets.argmax(axis=1), given.argmax(axis=1))
        assert row.fit == pytest.approx(expected)

    def test_the_supports_are_counted_by_contribution(self, case: zoo.Case) -> None:
        counted = {}
        for row in checked(case).rows:
            assert row.solution is not None
            program = row.solution.program
            lengths = np.linalg.norm(zoo.dense_matrix(program.rows, program.patterns), axis=0)
            cube = np.abs(row.solution.weights).reshape(len(lengths), -1) * lengths[:, None]
            counted[row.solver] = set(np.flatnonzero(cube.ravel() > 1e-4 * cube.max()))
        for row in checked(case).rows:
            own, other = counted[row.solver], counted[checked(case).reference or ""]
            assert row.support == len(own)
            assert row.precision == pytest.approx(len(own & other) / len(own))
            assert row.recall == pytest.approx(len(own & other) / len(other))

    def test_the_text_is_narrow_and_names_every_solver(self, case: zoo.Case) -> None:
        text = str(checked(case))
        assert max(map(len, text.splitlines())) <= 120
        for row in checked(case).rows:
            assert f"\n{row.solver}" in text
        assert f"against {checked(case).reference}." in text.replace("\n", " ")
        assert text.endswith(checked(case).verdict)


def test_a_budget_is_ranked_by_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "early", replace(SOLVERS["niht"]))
    found = cx.crosscheck(budget(), ("early", "niht"), options={"early": {"max_iterations": 1}})
    assert [row.solver for row in found.rows] == ["niht", "early"]
    assert found.best is found.rows[0]
    assert found.reference == "niht"
    assert found.agree()
    assert found.rows[1].reason == cx.Status.MAX_ITERATIONS.value
    assert found.verdict.startswith("The lowest objective is ")


def test_a_budget_below_a_proven_bound_is_no_agreement() -> None:
    found = cx.crosscheck(budget(), ("niht",))
    proven = replace(found.rows[0], solver="exact", objective=1.0, gap=0.0)
    undercut = replace(found, rows=(*found.rows, proven))
    assert not undercut.agree()
    assert undercut.verdict.startswith("The solvers do NOT agree: the lowest objective is ")
    assert undercut.verdict.endswith(", by niht, below the bound that exact proved.")


def test_a_budget_is_held_against_its_proven_optimum() -> None:
    found = cx.crosscheck(zoo.planted(n=60, d=4, gates=5, weights=2, seed=0)[0])
    assert found.reference == "exact"
    assert found.agree()
    assert found["exact"].gap is not None
    assert found["niht"].gap is None
    assert "relative gap" in str(found)
    assert found.verdict.startswith("The lowest objective is ")


def test_a_converged_solver_off_the_optimum_is_found_out() -> None:
    found = cx.crosscheck(convex(), ("fista", "cvxpy"))
    assert found.agree()
    row = found["fista"]
    assert row.objective is not None
    off = replace(row, objective=row.objective + 2e-5 * found.program.zero_loss, gap=None)
    assert not replace(found, rows=(off, found["cvxpy"])).agree()
    assert replace(found, rows=(off, found["cvxpy"])).agree(3e-5)
    assert replace(found, rows=(off, found["cvxpy"]), tolerance=3e-6).agree()
    apart = replace(found, rows=(off, found["cvxpy"]))
    assert apart.verdict.startswith("NOT in agreement to 1.0e-05: the solvers that converged end within 2.0e-05 of ")
    assert not apart.to_dict()["agree"]
    unfinished = replace(off, status=cx.Status.MAX_ITERATIONS)
    assert replace(found, rows=(unfinished, found["cvxpy"])).agree()
    assert not replace(found, rows=(unfinished,)).agree()
    assert replace(found, rows=(unfinished,)).verdict.startswith("NOT converged: the lowest objective is ")
    alone = replace(found, rows=(off, replace(found["cvxpy"], status=cx.Status.INACCURATE)))
    assert alone.verdict.startswith("NOT in agreement to 1.0e-05: fista alone converged, and ends within 2.0e-05 of ")


def test_agreement_is_judged_at_the_tolerance_asked_for() -> None:
    found = cx.crosscheck(convex(), ("fista", "cvxpy"), tolerance=1e-2)
    assert found.spread is not None
    assert found.spread > 1e-5
    assert found.within == pytest.approx(0.1)
    assert found.agree()
    assert not found.agree(1e-5)
    assert "NOT" not in found.verdict


def test_a_point_outside_the_cones_is_not_the_best() -> None:
    found = cx.crosscheck(convex(cone=True), ("interior_point", "admm"))
    row = found["admm"]
    assert row.objective is not None
    outside = replace(row, objective=0.5 * row.objective, violation=1e-3, status=cx.Status.INACCURATE)
    changed = replace(found, rows=(found["interior_point"], outside))
    assert changed.best is found["interior_point"]
    assert changed.agree()


class TestSolversWithoutAnAnswer:
    def test_one_that_cannot_do_the_program(self) -> None:
        found = cx.crosscheck(convex(), ("interior_point", "fista"))
        assert found["interior_point"].reason is not None
        assert found["interior_point"].reason.startswith("Not for this program: it needs a cone")
        assert found.agree()
        assert found.verdict.startswith("Only fista converged, at ")
        assert ", with a proven gap of " in found.verdict
        assert repr(cx.crosscheck(convex(), ("fista",))).startswith("<1 solver: Only fista converged")

    def test_one_whose_program_is_too_large(self) -> None:
        scarce = {"admm": {"memory_limit": 10}, "cvxpy": {"memory_limit": 10}}
        found = cx.crosscheck(convex(), options=scarce)
        for name in scarce:
            assert found[name].objective is None
            assert "memory_limit is 10" in (found[name].reason or "")
        assert found.reference in ("fista", "working_set")

    def test_one_whose_package_is_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "cvxpy", None)
        found = cx.crosscheck(convex(), ("fista", "cvxpy"))
        how = "install it with: pip install convexnn[cvxpy]"
        assert found["cvxpy"].reason == f"the solver 'cvxpy' needs the package cvxpy; {how}"

    def test_none_at_all(self) -> None:
        found = cx.crosscheck(convex(), ("niht", "interior_point"))
        assert (found.best, found.reference, found.spread) == (None, None, None)
        assert not found.agree()
        assert str(found).endswith("NOT solved: no solver gave an answer.")
        assert found.to_markdown() == "| solver |\n| :--- |"

    def test_an_interruption_ends_the_round(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(progress: Any) -> None:
            raise KeyboardInterrupt

        found = cx.crosscheck(convex(), ("fista", "admm"), options={"fista": {"callback": stop}})
        assert found.interrupted
        assert found["fista"].status is cx.Status.INTERRUPTED
        assert found["admm"].reason == "Not run: the cross-check was interrupted before it."

        def fail(*arguments: Any, **options: Any) -> cx.Solution:
            raise KeyboardInterrupt

        monkeypatch.setattr("convexnn.solvers.convex.cvxpy_reference._solved", fail)
        assert cx.crosscheck(convex(), ("cvxpy", "fista")).interrupted


@pytest.mark.parametrize("last", ["fista", "admm"])
def test_an_interruption_in_the_callback_keeps_the_rows(last: str) -> None:
    def stop(row: SolverResult) -> None:
        if row.solver == last:
            raise KeyboardInterrupt

    found = cx.crosscheck(convex(), ("fista", "admm"), callback=stop)
    assert found.interrupted
    assert found["fista"].converged
    assert found["fista"].recall == 1.0
    assert (found["admm"].objective is None) == (last == "fista")


def test_an_interruption_of_the_mapping_is_one_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convexnn.solution.map_back", stop)
    found = cx.crosscheck(convex(), ("fista", "admm"))
    assert found.interrupted
    assert [row.objective for row in found.rows] == [None, None]


def test_options_and_limits_reach_the_solvers() -> None:
    found = cx.crosscheck(convex(), ("cvxpy", "fista"), time_limit=0.0, options={"cvxpy": {"engine": "SCS"}})
    assert found["cvxpy"].solution is not None
    assert found["cvxpy"].solution.solver == "cvxpy (SCS)"
    assert found["fista"].status is cx.Status.TIME_LIMIT
    loose = cx.crosscheck(convex(), ("fista",), tolerance=1e-2)["fista"]
    assert (loose.iterations or 0) < (cx.solve(convex(), "fista").iterations)


def test_without_mapping_there_is_no_network() -> None:
    found = cx.crosscheck(convex(), ("fista",), mapped=False)
    assert found["fista"].neurons is None
    assert "network" not in str(found)


def test_weights_of_nothing_are_no_support() -> None:
    found = cx.crosscheck(convex().with_strength(100.0))
    assert [row.support for row in found.rows] == [0] * len(found.rows)
    assert [row.recall for row in found.rows] == [1.0] * len(found.rows)


class TestTables:
    def test_csv_holds_every_figure(self, tmp_path: Path) -> None:
        found = checked(CASES[0])
        with open(found.to_csv(tmp_path / "rows.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["solver"] for row in rows] == [row.solver for row in found.rows]
        assert [float(row["objective"]) for row in rows] == [row.objective for row in found.rows]
        assert rows[0]["status"] == "CONVERGED"
        assert rows[0]["violation"] == ""

    def test_markdown_and_latex_hold_the_columns_asked_for(self) -> None:
        found = checked(CASES[0])
        assert found.to_markdown(("solver", "fit")).splitlines()[:2] == ["| solver | R2 |", "| :--- | ---: |"]
        lines = found.to_latex().splitlines()
        assert lines[0].startswith(r"\begin{tabular}{lrr")
        assert lines[-1] == r"\end{tabular}"
        assert all(line.endswith(r"\\") for line in lines[4:-2])
        assert r" \cdot 10^{-" in found.to_latex()
        printed = found.to_markdown(("solver", "R2", "network R2", "mapping error"))
        assert printed == found.to_markdown(("solver", "fit", "network_fit", "mapping_error"))
        assert found.to_markdown("solver").startswith("| solver |")
        with pytest.raises(ValueError, match="column 'speed' is unknown; expected one of: solver, objective"):
            found.to_markdown(("speed",))

    def test_the_dictionary_is_for_machines(self) -> None:
        import json

        figures = json.loads(json.dumps(checked(CASES[4]).to_dict(), allow_nan=False))
        assert figures["reference"] == "cvxpy"
        assert {row["status"] for row in figures["rows"]} == {"CONVERGED"}

    def test_empty_columns_go_and_characters_are_escaped(self) -> None:
        table = Table.of(("solver", "gap", "status"), [("a_b", "", "x|y"), ("c", "", "50%")])
        assert table.header == ("solver", "status")
        assert str(table) == table.to_text() == "solver  status\na_b     x|y\nc       50%"
        assert r"a_b | x\|y" in table.to_markdown()
        assert r"a\_b & x|y \\" in table.to_latex()
        assert r"50\%" in table.to_latex()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"solvers": ("magic",)}, ValueError, "solver 'magic' is unknown; expected one of: hard_thresholding"),
        ({"solvers": ()}, ValueError, "solvers are []; expected at least one name, each once"),
        ({"solvers": ("fista", "fista")}, ValueError, "each once"),
        ({"options": {"magic": {}}}, ValueError, "options for solver 'magic' is unknown"),
        ({"options": {"fista": {"gamma": 1}}}, TypeError, "solver 'fista' has no option 'gamma'"),
        (
            {"program": budget(), "options": {"niht": {"tolerance": 1.0}}},
            TypeError,
            "solver 'niht' has no option 'tolerance'",
        ),
        ({"tolerance": -1.0}, ValueError, "tolerance is -1.0"),
        ({"time_limit": -1.0}, ValueError, "time_limit is -1.0"),
        ({"counted": "few"}, TypeError, "counted is 'few'"),
        ({"counted": 1.0}, ValueError, "counted is 1.0; expected a number of at least 0 and below 1"),
        ({"mapped": 1}, TypeError, "mapped is 1; expected True or False"),
        ({"program": Y}, TypeError, "program is a ndarray; expected a ConvexProgram"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        cx.crosscheck(**{"program": convex()} | arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_score_of_constant_outputs_counts_the_others() -> None:
    target = np.column_stack([Y, np.ones(len(Y))])
    assert score(convex().loss, target, target) == 1.0
    assert SolverResult("x").figures["objective"] is None

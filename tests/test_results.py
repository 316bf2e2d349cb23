"""Results of every public kind go to JSON, to pandas and to notebooks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn import baselines, theory
from convexnn.records import MOST_ROWS, Record, RowsRecord, html_text, plain
from convexnn.studies.harness.reproduce import Report
from convexnn.tables import Table
from tests.helpers.places import ROOT

NETWORK = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])
X = np.random.default_rng(0).standard_normal((60, 3))
Y = np.maximum(X[:, 0], 0.0)


def program(**asked: Any) -> cx.ConvexProgram:
    options = asked or {"penalty": "group_l1", "strength": 0.01}
    return cx.ConvexProgram(X, Y, cx.sample_patterns(X, 4, seed=0), **options)


def progress(run: Callable[[Callable[[Any], None]], Any]) -> Any:
    seen: list[Any] = []
    run(seen.append)
    return seen[-1]


def path_over_budgets() -> cx.BudgetPath:
    return cx.budget_path(cx.SparseReLURegressor(epochs=3, random_state=0), X, Y, budgets=[2, 4], cv=2)


def property_of_one() -> verify.Property:
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    return verify.parse_property(text + "(assert (>= Y_0 0.5))")


def squares() -> Report:
    return Report(Path("squares"), (Path("squares/runs.csv"),), [{"run": "a<b", "value": "2", "share": ".5"}], "")


SMALL = program(budget=2)
RESULTS: dict[str, Callable[[], Record]] = {
    "convexnn.ActivationPatterns": lambda: cx.sample_patterns(X, 4, seed=0),
    "convexnn.Solution": lambda: cx.solve(program(penalty="group_l1", strength=0.01, cone=True)),
    "convexnn.NetworkFit": lambda: cx.fit_network(X, Y, budget=2, epochs=3, patience=0),
    "convexnn.BudgetPath": path_over_budgets,
    "convexnn.BudgetStep": lambda: path_over_budgets().steps[0],
    "convexnn.Crosscheck": lambda: cx.crosscheck(program(), ["admm", "fista"]),
    "convexnn.RegularizationPath": lambda: cx.regularization_path(program(), [0.1, 0.01]),
    "convexnn.Explanation": lambda: cx.explain(NETWORK, ["a<b"], [[1.0], [2.0]]),
    "convexnn.Memory": lambda: cx.memory_estimate(SMALL),
    "convexnn.RecoveryProgress": lambda: progress(lambda call: cx.recover(X, Y, budget=1, callback=call)),
    "convexnn.GlobalOptimum": lambda: cx.global_optimum(X[:, :2], Y, strength=0.05),
    "convexnn.OptimumProgress": lambda: cx.global_optimum(X[:, :2], Y, strength=0.05).rounds[-1],
    "convexnn.PricedGates": lambda: cx.price(cx.solve(program()), 2),
    "convexnn.theory.Assumption": lambda: theory.assumptions(SMALL).recovery[0],
    "convexnn.theory.Assumptions": lambda: theory.assumptions(SMALL),
    "convexnn.theory.RestrictedConstant": lambda: theory.restricted_smoothness(SMALL),
    "convexnn.theory.RestrictedSpectrum": lambda: theory.restricted_spectrum(SMALL, n_supports=5),
    "convexnn.theory.SeparationAndCoverage": lambda: theory.separation_and_coverage(SMALL.patterns, X),
    "convexnn.theory.HTStability": lambda: theory.ht_stability(SMALL, cx.solve(SMALL)),
    "convexnn.theory.EpsilonOptimality": lambda: theory.epsilon_optimality(SMALL, cx.solve(SMALL), 0.0),
    "convexnn.theory.EnumeratedOptimum": lambda: theory.enumerated_optimum(SMALL),
    "convexnn.theory.WidthNeeded": lambda: theory.width_needed(cx.global_optimum(X[:, :2], Y, strength=0.05)),
    "convexnn.baselines.Baseline": lambda: baselines.train_dense(X, Y, width=2, epochs=1),
    "convexnn.studies.harness.reproduce.Report": squares,
    "verify.Answer": lambda: verify.find_adversarial(NETWORK, verify.LinfBall([2.0], 0.5)),
    "verify.Evaluation": lambda: verify.evaluate(NETWORK, [[2.0], [0.0]], [1, -1], lambda x: verify.LinfBall(x, 0.5)),
    "verify.Radius": lambda: verify.min_radius(NETWORK, verify.LinfBall([2.0], 0.5)),
    "verify.Optimum": lambda: verify.maximize(NETWORK, verify.Box([-1.0], [2.0])),
    "verify.OutputRange": lambda: verify.output_range(NETWORK, verify.Box([-1.0], [2.0])),
    "verify.Check": lambda: verify.check_vnnlib(NETWORK, property_of_one()),
    "verify.Interval": lambda: verify.Interval(np.array([-np.inf]), np.array([1.0])),
    "verify.LayerBounds": lambda: verify.bound(NETWORK, verify.Box([-1.0], [2.0])),
    "verify.Difference": lambda: verify.difference(NETWORK, NETWORK, verify.Box([-1.0], [2.0])),
    "convexnn.SparseReLUNetwork": lambda: NETWORK,
    "verify.ReLUGraph": lambda: verify.ReLUGraph([([[-1.0], [1.0]], None), ([[1.0, 1.0]], None)], [[False, True]]),
}
MADE: dict[str, Record] = {}


def made(name: str) -> Record:
    """Return the result of a kind, made once."""
    if name not in MADE:
        MADE[name] = RESULTS[name]()
    return MADE[name]


class Elements(HTMLParser):
    """What a piece of HTML holds: tags, their attributes, and whether every one that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def of_reference() -> set[str]:
    """Return the classes that the reference has among results and answers, but for those whose members are statuses."""
    found = set()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for section in sections:
            if section.startswith(("Results\n", "Answers\n")):
                module = re.search(r"currentmodule:: ([\w.]+)", section)
                assert module is not None
                found |= {f"{module[1]}.{name}" for name in re.findall(r"^   (\w+)$", section, flags=re.MULTILINE)}
    return {name for name in found if not issubclass(named(name), Enum)}


def named(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(__import__(module, fromlist=[last]), last)


def test_every_result_of_the_reference_is_here() -> None:
    assert of_reference() <= set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_json(name: str) -> None:
    result = made(name)
    assert type(result) is named(name)
    told = result.to_dict()
    # Nothing but what JSON has, so that it comes back as it went, and no numbers that JSON lacks.
    assert json.loads(json.dumps(told, allow_nan=False)) == told


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_html_without_anything_from_elsewhere(name: str) -> None:
    text = made(name)._repr_html_()
    found = Elements(text)
    assert found.tags <= {"div", "details", "summary", "strong", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    assert found.attributes <= {"style", "open", "colspan"}
    assert "url(" not in text
    assert len(text) < 20_000


@pytest.mark.parametrize("name", [name for name in RESULTS if issubclass(named(name), RowsRecord)])
def test_a_result_with_rows_is_a_frame_and_a_table(name: str) -> None:
    result = made(name)
    assert isinstance(result, RowsRecord)
    frame = result.to_frame()
    assert len(frame) == len(result.table.rows) > 0
    json.dumps(frame.to_dict("records"), allow_nan=True)
    assert "<table" in result._repr_html_()


@pytest.mark.parametrize("name", ["convexnn.Explanation", "convexnn.studies.harness.reproduce.Report"])
def test_what_users_named_is_escaped(name: str) -> None:
    text = made(name)._repr_html_()
    assert "a&lt;b" in text
    assert "a<b" not in text


def test_a_table_is_html_and_a_frame() -> None:
    table = Table(("<b>", "reads"), (("1", "x & y"),) * (MOST_ROWS + 3))
    assert "&lt;b&gt;" in table.to_html()
    assert "x &amp; y" in table.to_html()
    assert "... 3 more rows" in table.to_html()
    assert list(table.to_frame().columns) == ["<b>", "reads"]
    assert table.to_dict()["header"] == ["<b>", "reads"]


def test_a_long_text_is_cut() -> None:
    assert html_text("a\n" * (MOST_ROWS + 6) + "a").count("\n") == MOST_ROWS
    assert html_text("") == ""


def test_a_wide_network_is_a_table_of_layers() -> None:
    wide = cx.SparseReLUNetwork([(np.ones((300, 40)), None), (np.ones((1, 300)), [1.0])])
    text = wide._repr_html_()
    assert "<td" in text
    assert "12,000" in text


def test_a_network_in_json_is_the_network() -> None:
    told = verify.ReLUGraph([([[-1.0], [1.0]], None), ([[1.0, 1.0]], [0.5])], [[False, True]]).to_dict()
    layers = []
    for layer in told["layers"]:
        weight = layer["weight"]
        places = (weight["values"], (weight["rows"], weight["columns"]))
        layers.append((sp.csr_matrix(places, shape=weight["shape"]), layer["bias"]))
    masks = [layer["linear"] for layer in told["layers"][:-1]]
    assert verify.ReLUGraph(layers, masks).predict([[-2.0], [3.0]]).tolist() == [0.5, 3.5]


@dataclass(frozen=True)
class Odd:
    """A dataclass that is no record."""

    status: verify.Verdict
    proof: verify.Proof
    path: Path


def test_plain_values() -> None:
    odd = Odd(verify.Verdict.ROBUST, verify.Proof.CROWN, Path("a/b"))
    assert plain(odd) == {"status": "ROBUST", "proof": "crown-certified", "path": "a/b"}
    assert plain({1: (math.inf, -math.inf, math.nan, 0.5)}) == {"1": [None, None, None, 0.5]}
    assert plain(np.array([[1.0, np.inf]])) == [[1.0, None]]
    assert plain(np.array(["a", 2], dtype=object)) == ["a", 2]
    assert plain((np.int64(3), np.bool_(True), np.float32(0.5), np.str_("x"))) == [3, True, 0.5, "x"]
    assert plain(np.array(np.nan)) is None
    assert type(plain(np.float64(0.25))) is float

"""The studies about questions to networks: attacks, maxima, train to verify; on problems of a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import convexnn as cx
import verify
from convexnn.datasets import LabelledSplit
from convexnn.studies import attack, maximize, train_to_verify
from convexnn.studies.harness.study import Run, Scale, Size
from convexnn.studies.methods import textbook_milp as textbook
from convexnn.studies.methods.baselines import OURS, TRAINED
from convexnn.studies.methods.perceptron import perceptron
from convexnn.studies.methods.point_searches import (
    Question,
    by_ascent,
    by_milp,
    by_perturbed_ascent,
    by_relaxation,
)
from convexnn.studies.methods.textbook_milp import by_textbook
from tests.helpers.study_pages import check_page, written
from verify.milp.engine_result import EngineResult, EngineStatus


def images() -> LabelledSplit:
    """Return digits of 8 x 8, enlarged to 28 x 28."""
    X, y = load_digits(return_X_y=True)
    large = np.zeros((len(X), 28, 28))
    large[:, 2:26, 2:26] = np.kron(X.reshape(-1, 8, 8) / 16.0, np.ones((1, 3, 3)))
    rows = large.reshape(len(X), -1)
    return LabelledSplit(rows[:1000], y[:1000], rows[1000:], y[1000:], tuple("0123456789"), (28, 28))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[LabelledSplit]:
    """Small digits in place of MNIST, networks of 8 neurons, and as many passes as they need."""
    data = images()
    for module in (attack, train_to_verify):
        monkeypatch.setattr(module, "mnist", lambda download: data)
        module.trained.cache_clear()
    monkeypatch.setattr(train_to_verify, "WIDTH", 8)
    monkeypatch.setitem(train_to_verify.TRAINED_OPTIONS, "epochs_a_round", 1)
    monkeypatch.setitem(train_to_verify.OURS_OPTIONS, "epochs", 60)
    yield data
    attack.trained.cache_clear()
    train_to_verify.trained.cache_clear()


class TestTextbook:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_agrees_with_verify(self, seed: int) -> None:
        net = verify.read_network(perceptron([4, 6, 3], seed))
        x = np.random.default_rng(seed).uniform(size=4)
        label = int(net.predict(x[None])[0].argmax())
        seen = set()
        for radius in (0.01, 0.1, 0.5, 1.0):
            region = verify.LinfBall(x, radius, clip=(0, 1))
            own, other = by_textbook(net, region, label, 30.0), verify.find_adversarial(net, region, label).status
            assert own is other
            seen.add(own)
        assert verify.Verdict.ROBUST in seen
        wrong = by_textbook(net, verify.LinfBall(x, 0.1), (label + 1) % 3, 30.0)
        assert wrong is verify.Verdict.MISCLASSIFIED

    def test_without_time_nothing_is_said(self) -> None:
        net = verify.read_network(perceptron([4, 6, 3], 0))
        x = np.full(4, 0.5)
        label = int(net.predict(x[None])[0].argmax())
        assert by_textbook(net, verify.LinfBall(x, 0.5), label, 0.0) is verify.Verdict.UNKNOWN

    def test_an_engine_that_contradicts_the_network_proves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        net = verify.read_network(perceptron([4, 6, 3], 0))
        x = np.full(4, 0.5)
        label = int(net.predict(x[None])[0].argmax())
        lie = EngineResult(EngineStatus.INFEASIBLE, None, -np.inf, "no point", 0.0)
        chain = SimpleNamespace(maximise=lambda milp, request: lie)
        monkeypatch.setattr(textbook, "sound_chain", lambda engines: (chain, ""))
        assert by_textbook(net, verify.LinfBall(x, 0.01), label, 30.0) is verify.Verdict.UNKNOWN


class TestTrainToVerify:
    def run(self, method: str, engine: str = "auto", margin: float | None = None) -> Run:
        run: Run = {"method": method, "weights": 300, "margin": margin, "engine": engine, "images": 4}
        return run | {"limit": 5.0, "eps": 0.05, "seed": 0}

    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize(
        ("method", "margin"),
        [(train_to_verify.DENSE, None), (train_to_verify.DENSE_MARGIN, 0.01), (TRAINED, None), (OURS, 0.03)],
    )
    def test_a_row_a_radius(self, method: str, margin: float | None) -> None:
        dense = method in (train_to_verify.DENSE, train_to_verify.DENSE_MARGIN)
        run = self.run(method, margin=margin)
        rows = train_to_verify.answer({**run, "weights": 8 * (784 + 10)} if dense else run)
        assert [row["eps"] for row in rows] == [0.02, 0.05]
        for row in rows:
            assert row["robust"] + row["attacked"] + row["undecided"] == pytest.approx(1.0)
            assert len(row["verdicts"]) == len(row["times"].split()) == 4
            assert row["accuracy"] > 0.25
            # A fit leaves the weights of pixels that never vary, and of idle neurons, at zero.
            assert row["nnz"] > 300 if dense else row["nnz"] <= 300
        # A larger ball holds the smaller one.
        assert rows[1]["robust"] <= rows[0]["robust"] + rows[0]["undecided"]

    @pytest.mark.parametrize("size", ["quick", "default"])
    def test_a_dense_network_has_a_margin_of_ours(self, size: Size) -> None:
        runs = train_to_verify.runs(Scale(size, (0,)))
        margins = {
            method: {run["margin"] for run in runs if run["method"] == method}
            for method in (OURS, train_to_verify.DENSE_MARGIN)
        }
        assert 0.01 in margins[train_to_verify.DENSE_MARGIN] <= margins[OURS]

    @pytest.mark.usefixtures("small")
    def test_engines_agree_and_share_the_network(self) -> None:
        verdicts = []
        for engine in train_to_verify.ENGINES:
            rows = train_to_verify.answer(self.run(OURS, engine, 0.03))
            verdicts.append([row["verdicts"] for row in rows])
        known = train_to_verify.trained.cache_info()
        assert (known.misses, known.hits) == (1, 2)
        for one, other in zip(verdicts[0], verdicts[2], strict=True):
            assert all(a == b or "U" in (a, b) for a, b in zip(one, other, strict=True))

    def test_what_is_undecided_counts_with_the_limit(self) -> None:
        verdicts = train_to_verify.ImageVerdicts("RUAM", (0.1, 3.0, 0.2, 0.3))
        found = train_to_verify._figures(verdicts, 5.0)
        assert (found["robust"], found["attacked"], found["undecided"], found["quick"]) == (0.25, 0.5, 0.25, 0.75)
        assert found["most"] == 5.0
        assert found["median"] == pytest.approx(0.25)
        assert found["times"] == "0.10000 5.00000 0.20000 0.30000"

    def test_the_page(self, tmp_path: Path) -> None:
        answers = []
        for method, margin, times in (
            ("dense", None, (2.0, 4.0)),
            ("ours", 0.01, (0.1, 0.2)),
            ("dense-margin", 0.01, (0.3, 0.3)),
        ):
            for engine in ("auto", "textbook"):
                verdicts = train_to_verify.ImageVerdicts("RU" if method == "dense" else "RA", times)
                row = {"accuracy": 0.97, "nnz": 300, "training": 1.0} | train_to_verify._figures(verdicts, 6.0)
                answers.append((self.run(method, engine, margin), [{"eps": eps} | row for eps in (0.02, 0.05)]))
        rows = written(train_to_verify.TRAIN_TO_VERIFY, tmp_path, answers)
        words = ("ours, margin 0.01", "26.7", "dense, margin 0.01", "the textbook MILP", "4 images, at most 5.0 s each")
        check_page(train_to_verify.TRAIN_TO_VERIFY, tmp_path, rows, words)


class TestQuestion:
    @pytest.fixture
    def asked(self) -> Question:
        net = verify.read_network(perceptron([5, 6, 1], 3))
        return Question(net, verify.Box(np.zeros(5), np.ones(5)), np.ones(1), np.inf, 5.0, 0)

    def test_every_method_finds_points_of_the_network_itself(self, asked: Question) -> None:
        known = verify.maximize(asked.network, asked.region)
        dense = by_milp(asked, asked.network, "highspy")
        assert dense["best"] == pytest.approx(known.value, rel=1e-6)
        short = Question(asked.network, asked.region, asked.objective, np.inf, 0.5, 0)
        for found in (by_ascent(short), by_perturbed_ascent(short), by_relaxation(asked, "highspy")):
            assert found["best"] <= known.bound
            assert found["found"] == 0
            assert found["first"] is None

    def test_perturbed_ascent_reaches_the_maximum_of_a_small_network(self, asked: Question) -> None:
        known = verify.maximize(asked.network, asked.region)
        short = Question(asked.network, asked.region, asked.objective, known.value - 1e-6, 5.0, 0)
        found = by_perturbed_ascent(short)
        assert found["found"] == 1
        assert found["best"] == pytest.approx(known.value, abs=1e-6)

    def test_a_level_that_is_exceeded_is_found_with_its_time(self, asked: Question) -> None:
        low = Question(asked.network, asked.region, asked.objective, -100.0, 5.0, 0)
        by_engine = (by_milp(low, asked.network, "highspy"), by_relaxation(low, "highspy"))
        for found in (by_ascent(low), by_perturbed_ascent(low), *by_engine):
            assert found["found"] == 1
            assert 0.0 <= found["first"] <= found["seconds"]


class TestAttack:
    def run(self, method: str) -> Run:
        run: Run = {"pixels": 18, "depth": 2, "width": 8, "seed": 0}
        return run | {"limit": 5.0, "engine": "highspy", "method": method}

    @pytest.mark.usefixtures("small")
    def test_methods_answer_one_question(self) -> None:
        found = {method: attack.answer(self.run(method)) for method in attack.methods(side=False)}
        assert attack.trained.cache_info().misses == 1
        assert all(set(row) <= {*attack.ATTACK.fields, "seconds"} for row in found.values())
        # What is proven robust is attacked by none.
        if found["portfolio"]["note"].startswith("ROBUST"):
            assert not any(row["found"] for row in found.values())
        if found["dense"]["found"]:
            assert found["portfolio"]["found"]

    def test_one_seed_has_more_arms(self) -> None:
        runs = attack.runs(Scale("quick", (0, 4)), limit=7.0, engine="scip")
        assert {run["seed"] for run in runs if run["method"] == "timed 0.9"} == {0}
        assert {(run["limit"], run["engine"]) for run in runs} == {(7.0, "scip")}

    def test_the_page(self, tmp_path: Path) -> None:
        answers: list[tuple[Run, Any]] = []
        for method in attack.methods(side=False):
            hit = method != "portfolio"
            row = {"found": int(hit), "first": 0.5 if hit else None, "best": 1.0, "note": "center counts"}
            size = {"unstable": 5, "nonzeros": 100, "building": 0.1} if method[:5] in ("dense", "spars") else {}
            answers.append((self.run(method), row | size))
        rows = written(attack.ATTACK, tmp_path, answers)
        words = ("The portfolio missed pixels 18, depth 2, width 8, seed 0: pgd", "| sparse 0.5 |")
        check_page(attack.ATTACK, tmp_path, rows, words)


class TestMaximize:
    def run(self, method: str, depth: int = 3) -> Run:
        run: Run = {"inputs": 6, "depth": depth, "width": 5, "seed": 0}
        return run | {"limit": 2.0, "engine": "highspy", "method": method}

    def test_the_portfolio_reaches_the_optimum_that_the_milp_proves(self) -> None:
        found = {method: maximize.answer(self.run(method)) for method in ("portfolio", "dense", "lp", "sparse 0.5")}
        assert found["portfolio"]["best"] == pytest.approx(found["dense"]["best"], rel=1e-6)
        assert all(row["best"] <= found["dense"]["best"] + 1e-6 for row in found.values())

    def test_random_pruning_is_for_one_seed(self) -> None:
        runs = maximize.runs(Scale("default", (0, 1)))
        assert {run["seed"] for run in runs if run["method"] == "random 0.9"} == {0}

    def test_the_page(self, tmp_path: Path) -> None:
        values = {"portfolio": 1.0, "dense": 0.5, "pgd": 1.5, "lp": -np.inf}
        answers = [(self.run(method), {"found": 0, "best": value}) for method, value in values.items()]
        rows = written(maximize.MAXIMIZE, tmp_path, answers)
        words = ("the portfolio is below pgd", "Of 1 networks of 3 layers or more", "| none |", "Every cell")
        check_page(maximize.MAXIMIZE, tmp_path, rows, words)
        assert maximize.leads(rows).rows == (
            ("dense", "1", "0", "1", "50 %", "50 %", "50 %"),
            ("pgd", "1", "0", "0", "-50 %", "-50 %", "-50 %"),
            ("lp", "1", "1", "1", "", "", ""),
        )


def test_a_perceptron_is_that_of_its_seed() -> None:
    one, other = (cx.SparseReLUNetwork(verify.read_network(perceptron([3, 4, 2], 7)).layers) for _ in range(2))
    assert one.sizes == (3, 4, 2)
    np.testing.assert_array_equal(one.predict(np.ones((1, 3))), other.predict(np.ones((1, 3))))

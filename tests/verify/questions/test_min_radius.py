"""The smallest adversarial radius against closed forms and enumeration, and certified accuracy over rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Nearness, Verdict
from verify.answers.witness import check_point
from verify.bounds.margins import margins_of
from verify.clock import Clock


def line(slope: float = 1.0) -> cx.SparseReLUNetwork:
    """Return f(x) = slope (x_0 + x_1), of neurons that switch."""
    hidden = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    return cx.SparseReLUNetwork([(hidden, None), (slope * np.array([[1.0, -1.0, 1.0, -1.0]]), None)])


class TestRadius:
    def test_a_linear_function_has_its_closed_form(self) -> None:
        # The L-inf distance of x to the line x_0 + x_1 = 0 is |x_0 + x_1| / 2.
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0))
        assert found.status is Nearness.FOUND, str(found)
        assert found.lower <= 0.2 <= found.upper
        assert found.upper - found.lower <= 1e-3 * found.upper
        assert found.witness is not None
        assert line().predict(found.witness[None])[0] < 0
        assert np.abs(found.witness - [0.3, 0.1]).max() <= found.upper

    @pytest.mark.parametrize("decided", [True, False])
    def test_the_ball_below_the_nearest_witness_is_asked_about_once(
        self, decided: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        def ask(network: Any, region: Any, **options: Any) -> verify.Answer:
            asked.append(float(region.radius))
            # The last ball gets a part of the time; here that may be too little.
            short = len(asked) > 1 and options["time_limit"] < 0.6 * 60.0
            found = verify.find_adversarial(network, region, **options)
            return replace(found, status=Verdict.UNKNOWN, witness=None) if short and not decided else found

        monkeypatch.setattr("verify.questions.min_radius.find_adversarial", ask)
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0))
        assert found.status is Nearness.FOUND
        assert found.lower <= 0.2 <= found.upper
        assert found.upper - found.lower <= 1e-3 * found.upper
        # Halving alone takes some ten questions.
        assert len(asked) <= 4 if decided else len(asked) >= 8

    @pytest.mark.parametrize(("kind", "distance"), [(verify.L1Ball, 0.4), (verify.L2Ball, 0.4 / np.sqrt(2.0))])
    def test_other_norms_have_theirs(self, kind: type[verify.L1Ball] | type[verify.L2Ball], distance: float) -> None:
        found = verify.min_radius(line(), kind([0.3, 0.1], 2.0), tolerance=0.01)
        assert found.lower <= distance * (1 + 1e-9) <= found.upper * (1 + 1e-6), str(found)
        assert found.upper - found.lower <= 0.02 * found.upper, str(found)

    @pytest.mark.parametrize("seed", range(6))
    def test_a_radius_is_that_of_enumeration(self, seed: int) -> None:
        network, center = zoo.network((2, 5, 3), seed=seed), np.random.default_rng(seed).standard_normal(2)
        found = verify.min_radius(network, verify.LinfBall(center, 4.0), tolerance=0.01)
        assert found.label is not None
        rows = margins_of(network, found.label).rows.toarray()

        def reached(radius: float) -> float:
            low, high = center - radius, center + radius
            return max(zoo.enumerated_maximum(network, low, high, row) for row in rows)

        assert found.status in (Nearness.FOUND, Nearness.ROBUST), str(found)
        assert reached(found.lower) <= 1e-6
        if found.status is Nearness.FOUND:
            assert reached(found.upper) > 0

    @pytest.mark.parametrize("center", [[0.25, 0.25], [0.0, 0.0], [0.3, 0.3], [-1.0, 0.0]])
    def test_a_tie_at_the_center_ends_at_once(self, center: list[float]) -> None:
        # y_0 = x_0 and y_1 = x_1 but for the last center, a tie of 0 and 0 where y_0 = 0 around it.
        hidden = [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        network = cx.SparseReLUNetwork([(hidden, None), ([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]], None)])
        found = verify.min_radius(network, verify.LinfBall(center, 0.5), 0)
        assert found.status is Nearness.FOUND, str(found)
        assert "The center is a tie" in found.reason
        assert len(found.answers) <= 4
        assert 0.0 == found.lower < found.upper <= 1e-15
        assert found.witness is not None
        outputs = network.predict(found.witness[None])[0]
        assert outputs[1] > outputs[0]

    def test_a_tie_all_around_the_center_has_its_radius(self) -> None:
        # Both outputs are 0 as long as x_0 < 0.
        network = cx.SparseReLUNetwork([([[1.0]], None), ([[0.0], [1.0]], None)])
        found = verify.min_radius(network, verify.LinfBall([-1.0], 4.0), 0)
        assert found.status is Nearness.FOUND, str(found)
        assert found.lower <= 1.0 <= found.upper <= found.lower * 1.0011

    def test_a_witness_is_not_drawn_near_without_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = list[int]()

        def counted(*given: Any) -> Any:
            tried.append(1)
            clock.limit = clock.seconds if len(tried) >= 5 else clock.limit
            return check_point(*given)

        clock = Clock(60.0)
        monkeypatch.setattr("verify.questions.min_radius.Clock", lambda limit: clock)
        monkeypatch.setattr("verify.questions.min_radius.check_point", counted)
        monkeypatch.setattr("verify.clock.MOMENT", 0.0)
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0))
        assert found.status is Nearness.LIMIT
        assert len(tried) == 5
        assert found.witness is not None

    def test_the_clip_is_kept(self) -> None:
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0, clip=([0.0, -1.0], [1.0, 1.0])))
        assert found.witness is not None
        assert found.witness[0] >= 0.0
        # x_0 can fall to 0 alone by 0.3, so at radius r > 0.1 the least sum is max(0.3 - r, 0) + 0.1 - r: zero at 0.2.
        assert found.lower <= 0.2 <= found.upper

    def test_a_region_that_is_robust_or_wrong_from_the_start(self) -> None:
        robust = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 0.1))
        assert (robust.status, robust.lower, robust.upper) == (Nearness.ROBUST, 0.1, np.inf)
        wrong = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 0.1), -1)
        assert (wrong.status, wrong.lower, wrong.upper) == (Nearness.MISCLASSIFIED, 0.0, 0.0)

    def test_no_time_is_a_limit(self) -> None:
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0), time_limit=0)
        assert found.status is Nearness.LIMIT
        assert found.lower == 0.0

    def test_a_float32_model_confirms_the_nearest_witness(self) -> None:
        module = line().to_torch()
        found = verify.min_radius(module, verify.LinfBall([0.3, 0.1], 2.0))
        assert found.witness is not None
        assert (found.witness.astype(np.float32) == found.witness).all()

    def test_it_reads_well(self) -> None:
        found = verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 2.0))
        assert str(found).startswith("FOUND: The smallest adversarial radius is known within the tolerance.\n")
        assert "and inf; 1 question, " in str(verify.min_radius(line(), verify.LinfBall([0.3, 0.1], 0.05)))

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"region": verify.Box([0.0, 0.0], [1.0, 1.0])}, TypeError, "region is a Box; expected a ball"),
            ({"tolerance": -1}, ValueError, "tolerance is -1"),
            ({"label": 3}, ValueError, "label is 3; expected -1 or 1"),
        ],
    )
    def test_bad_input_is_one_line(self, change: dict[str, Any], error: type[Exception], words: str) -> None:
        good: dict[str, Any] = {"network": line(), "region": verify.LinfBall([0.3, 0.1], 2.0)}
        with pytest.raises(error, match=words):
            verify.min_radius(**good | change)


class TestEvaluation:
    X = np.array([[1.0, 1.0], [0.1, 0.0], [-1.0, -1.0], [0.5, 0.5]])
    y = np.array([1, 1, -1, -1])

    def evaluation(self, **options: Any) -> verify.Evaluation:
        return verify.evaluate(line(), self.X, self.y, lambda x: verify.LinfBall(x, 0.2), **options)

    def test_each_row_is_asked_about_its_own_class(self) -> None:
        found = self.evaluation()
        verdicts = [answer.status for answer in found.answers]
        assert verdicts == [Verdict.ROBUST, Verdict.COUNTEREXAMPLE, Verdict.ROBUST, Verdict.MISCLASSIFIED]
        assert (found.accuracy, found.certified_accuracy, found.attacked_accuracy) == (0.75, 0.5, 0.5)
        assert str(found).startswith("4 rows: accuracy 75.0%, certified 50.0%\n")

    def test_answers_are_told_as_they_come(self) -> None:
        told: list[int] = []
        self.evaluation(on_answer=lambda index, answer: told.append(index))
        assert told == [0, 1, 2, 3]

    def test_processes_give_the_same(self) -> None:
        alone, several = self.evaluation(), self.evaluation(n_jobs=2)
        assert [a.status for a in alone.answers] == [a.status for a in several.answers]

    def test_a_region_that_is_no_function_is_one_line(self) -> None:
        for region, kind in ((0.2, "float"), (verify.LinfBall([1.0, 1.0], 0.2), "LinfBall")):
            with pytest.raises(TypeError, match=f"region is a {kind}; expected a function of a row, such as lambda"):
                verify.evaluate(line(), self.X, self.y, region)  # type: ignore[arg-type]

    def test_the_model_as_given_replays(self) -> None:
        ball = verify.LinfBall
        found = verify.evaluate(line().to_torch(), self.X, self.y, lambda x: ball(x, 0.2))
        assert found.answers[1].replayed is not None

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"y": [1, 1]}, r"y has shape \(2,\); expected \(4,\), one class per row of X"),
            ({"y": [1, 1, 2, 1]}, "y holds 2 at index 2; expected -1 or 1, or 0 or 1"),
            ({"X": np.zeros((4, 3))}, "X has 3 features; expected 2"),
            ({"n_jobs": 0}, "n_jobs is 0"),
        ],
    )
    def test_bad_input_is_one_line(self, change: dict[str, Any], words: str) -> None:
        good: dict[str, Any] = {
            "network": line(),
            "X": self.X,
            "y": self.y,
            "region": lambda x: verify.LinfBall(x, 0.2),
        }
        with pytest.raises(ValueError, match=words):
            verify.evaluate(**good | change)

"""Ctrl-C once: every question returns what it knows by then, and says that it was interrupted; twice: it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verify
from convexnn.cli.common.exit_codes import ATTACK_CODES, MAXIMIZE_CODES, VNNLIB_CODES
from convexnn.cli.files.batch import Job, run_batch
from tests.helpers import zoo
from verify.answers.property_check import Holding
from verify.answers.radius import Nearness
from verify.answers.witness import check_point
from verify.points import ascent
from verify.questions import engines

# Robust over the region, which branch and bound alone proves; the other one is not.
NETWORK, OTHER = (zoo.network((3, 6, 6, 3), seed=seed) for seed in (2, 10))
CENTER = np.array([0.1, -0.2, 0.3])
REGION, BALL = verify.LinfBall(CENTER, 0.6), verify.LinfBall(CENTER, 0.3)

# Steps of the flow that all questions share, where Ctrl-C is heard.
STEPS = {
    "CROWN": "verify.questions.inquiry.crown_bounds",
    "ascent": "verify.questions.inquiry.ascend",
    "programs": "verify.programs.program_tree.ProgramTree._split",
    "boxes": "verify.branching.box_search.BoxSearch._halve",
    "roots": "verify.branching.tree.Tree.add",
    "branching": "verify.branching.tree.Tree.halve",
    "engine": "verify.backends.engine_chain.EngineChain.maximise",
}


def interrupt(monkeypatch: pytest.MonkeyPatch, step: str, after: int = 0) -> None:
    """Let a step raise KeyboardInterrupt, once it was taken `after` times."""
    module, _, name = STEPS[step].rpartition(".")
    owner: Any = verify
    for part in module.split(".")[1:]:
        owner = getattr(owner, part)
    whole, count = getattr(owner, name), [0]

    def once(*given: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return whole(*given, **more)

    monkeypatch.setattr(owner, name, once)
    if step in ("boxes", "roots", "branching"):
        monkeypatch.setattr("verify.splitting.program_splitting.takes_programs", lambda inquiry: False)
    if step in ("roots", "branching"):
        monkeypatch.setattr("verify.splitting.turns.can_halve", lambda inquiry: False)
    if step == "boxes":
        # Envelopes would prove it at the root.
        monkeypatch.setattr("verify.branching.box_bounds.ENVELOPED", 0)
    if step == "engine":
        monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {})


@pytest.fixture(autouse=True)
def _modules() -> None:
    """Import what is imported late, so that its parts can be replaced."""
    import verify.branching.box_bounds
    import verify.branching.box_search
    import verify.branching.tree
    import verify.programs.program_tree  # noqa: F401


@cache
def whole_range() -> verify.OutputRange:
    return verify.output_range(NETWORK, REGION)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("solve", "sign"), [(verify.maximize, 1.0), (verify.minimize, -1.0)])
def test_an_extreme_keeps_point_and_bound(
    solve: Callable[..., verify.Optimum], sign: float, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = whole_range().maxima[0] if sign > 0.0 else whole_range().minima[0]
    interrupt(monkeypatch, step)
    found = solve(NETWORK, REGION, 0)
    assert found.status is verify.Status.INTERRUPTED
    assert "interrupted" in found.reason
    assert float(NETWORK.predict(found.witness[None])[0, 0]) == found.value
    assert sign * found.value <= sign * truth.value + 1e-9
    assert sign * found.bound >= sign * truth.value - 1e-9
    assert np.isfinite(found.bound)


def test_branch_and_bound_keeps_what_it_has_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = []
    for after in (0, 3):
        with monkeypatch.context() as patch:
            interrupt(patch, "branching", after)
            bounds.append(verify.maximize(NETWORK, REGION, 0).bound)
    assert bounds[1] < bounds[0]


@pytest.mark.parametrize(
    ("step", "after"), [("ascent", 0), ("ascent", 3), ("boxes", 0), ("branching", 0), ("branching", 4)]
)
def test_a_range_says_what_is_known_of_every_output(step: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = whole_range()
    interrupt(monkeypatch, step, after)
    found = verify.output_range(NETWORK, REGION)
    statuses = [one.status for one in (*found.maxima, *found.minima)]
    first = statuses.index(verify.Status.INTERRUPTED)
    assert set(statuses[first:]) == {verify.Status.INTERRUPTED}
    assert (found.lower <= whole.reached_lower + 1e-9).all()
    assert (found.upper >= whole.reached_upper - 1e-9).all()


@pytest.mark.parametrize("step", ["CROWN", "ascent", "boxes", "roots", "engine"])
def test_an_attack(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, step)
    found = verify.find_adversarial(NETWORK, REGION)
    assert found.status is verify.Verdict.INTERRUPTED
    assert found.witness is None
    assert found.value <= found.bound < np.inf


def test_a_radius_keeps_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify.min_radius(OTHER, BALL, tolerance=0.2)
    for step, after in (("CROWN", 0), ("ascent", 0), ("ascent", 3), ("branching", 2)):
        with monkeypatch.context() as patch:
            interrupt(patch, step, after)
            found = verify.min_radius(OTHER, BALL)
        assert found.status is Nearness.INTERRUPTED
        assert found.lower <= whole.upper
        assert found.upper >= whole.lower
        assert (found.witness is None) == (found.upper == np.inf)


def test_a_radius_keeps_the_witness_that_is_drawn_near(monkeypatch: pytest.MonkeyPatch) -> None:
    count, check = [0], check_point

    def fourth(*given: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return check(*given)

    monkeypatch.setattr("verify.questions.min_radius.check_point", fourth)
    found = verify.min_radius(OTHER, BALL)
    assert found.status is Nearness.INTERRUPTED
    assert found.witness is not None
    assert found.upper <= BALL.radius * 1.001


def never_met(folder: Path, level: float) -> Path:
    """Write a property of two boxes: the first output is at least `level`."""
    sides = [f"(>= X_{i} {low!r}) (<= X_{i} {high!r})" for i, (low, high) in enumerate(zip(*ends(), strict=True))]
    names = [f"(declare-const {name}_{index} Real)" for name in "XY" for index in range(3)]
    box = f"(and {' '.join(sides)})"
    file = folder / "never.vnnlib"
    file.write_text("\n".join([*names, f"(assert (or {box} {box}))", f"(assert (>= Y_0 {level!r}))"]))
    return file


def ends() -> tuple[list[float], list[float]]:
    return REGION.lower.tolist(), REGION.upper.tolist()


def questions(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return a call of every question, by the file that it is in."""
    asked, copy = never_met(folder, 100.0), verify.prune(NETWORK, 0.01)
    return {
        "find_adversarial": lambda: verify.find_adversarial(NETWORK, REGION),
        "extremes": lambda: verify.minimize(NETWORK, REGION, 0),
        "check_vnnlib": lambda: verify.check_vnnlib(NETWORK, asked),
        "certify_through": lambda: verify.certify_through(NETWORK, copy, REGION),
        "min_radius": lambda: verify.min_radius(NETWORK, REGION),
        "evaluate": lambda: verify.evaluate(NETWORK, CENTER[None], [0], lambda x: REGION).answers[0],
        "output_range": lambda: verify.output_range(NETWORK, REGION).minima[2],
    }


@pytest.mark.parametrize(
    "question",
    [
        *("find_adversarial", "extremes", "check_vnnlib", "certify_through"),
        *("min_radius", "evaluate", "output_range"),
    ],
)
@pytest.mark.parametrize("step", ["reading", "intervals"])
def test_a_question_that_has_hardly_begun_knows_nothing(
    question: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = questions(tmp_path)[question]

    def stopped(*given: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    reads = "as_pair" if question == "certify_through" else "read_simple"
    name = f"verify.questions.{question}.{reads}" if step == "reading" else "verify.questions.inquiry.interval_bounds"
    monkeypatch.setattr(name, stopped)
    if question == "output_range" and step == "reading":
        # Not even the number of outputs is known.
        with pytest.raises(KeyboardInterrupt):
            ask()
        return
    found = ask()
    assert found.status.name == "INTERRUPTED"
    assert "interrupted" in found.reason
    assert "interrupted" in str(found)
    if isinstance(found, verify.Optimum):
        assert (found.sense, found.value, found.bound, found.proof) == ("minimum", np.inf, -np.inf, None)
    elif isinstance(found, verify.Radius):
        assert (found.lower, found.upper, found.witness) == (0.0, np.inf, None)
    else:
        assert found.bound == np.inf
        assert found.proof is None


def test_an_ascent_that_is_not_finished_gives_its_best_point(monkeypatch: pytest.MonkeyPatch) -> None:
    values = []
    for steps in (1, 8, 30):
        count, whole = [0], ascent.values_and_slopes

        def limited(*given: Any, steps: int = steps, count: list[int] = count, whole: Any = whole) -> Any:
            count[0] += 1
            if count[0] > steps:
                raise KeyboardInterrupt
            return whole(*given)

        with monkeypatch.context() as patch:
            patch.setattr(ascent, "values_and_slopes", limited)
            found = verify.maximize(NETWORK, REGION, 0)
        assert found.status is verify.Status.INTERRUPTED
        assert float(NETWORK.predict(found.witness[None])[0, 0]) == found.value
        values.append(found.value)
    assert values[0] < values[1] <= values[2]
    assert values[0] > NETWORK.predict(CENTER[None])[0, 0]


def test_incumbents_of_an_engine_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    best = whole_range().maxima[0]

    def found_one(self: Any, milp: Any, request: Any) -> Any:
        request.on_incumbent(encodings[0].complete(best.witness))
        raise KeyboardInterrupt

    encodings, whole = list[Any](), engines._encode_least

    def seen(*given: Any) -> Any:
        encodings.append(whole(*given))
        return encodings[0]

    monkeypatch.setattr("verify.questions.extremes.POLISHED", 0)
    monkeypatch.setattr(engines, "_encode_least", seen)
    monkeypatch.setattr("verify.backends.engine_chain.EngineChain.maximise", found_one)
    monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {})
    monkeypatch.setattr("verify.questions.inquiry.ascend", lambda net, region, *more, **others: (region.center, 0.0))
    found = verify.maximize(NETWORK, REGION, 0)
    assert found.status is verify.Status.INTERRUPTED
    assert found.value == pytest.approx(best.value, rel=1e-9)


@pytest.mark.parametrize("step", STEPS)
def test_a_property(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = never_met(tmp_path, whole_range().maxima[0].value + 1e-3)
    interrupt(monkeypatch, step)
    found = verify.check_vnnlib(NETWORK, asked)
    assert found.status is Holding.INTERRUPTED
    assert found.witness is None
    assert found.proof is None
    assert found.bound >= -1e-3 - 1e-9


def test_an_evaluation_ends_and_has_a_line_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.stack([CENTER] * 4)
    label = int(NETWORK.predict(CENTER[None])[0].argmax())
    wrong = (label + 1) % 3
    seen: list[int] = []

    def note(index: int, answer: verify.Answer) -> None:
        seen.append(index)
        if index == 1:
            raise KeyboardInterrupt

    found = verify.evaluate(NETWORK, X, [label, label, label, wrong], lambda x: verify.LinfBall(x, 0.0), on_answer=note)
    assert seen == [0, 1]
    verdicts = verify.Verdict
    statuses = [answer.status for answer in found.answers]
    assert statuses == [verdicts.ROBUST, verdicts.ROBUST, verdicts.INTERRUPTED, verdicts.MISCLASSIFIED]
    assert found.certified_accuracy == 0.5
    assert "interrupted" in str(found)
    interrupt(monkeypatch, "ascent")
    found = verify.evaluate(NETWORK, X[:2], [label] * 2, lambda x: REGION)
    assert {answer.status for answer in found.answers} == {verdicts.INTERRUPTED}


def test_an_evaluation_by_processes_hears_a_real_signal() -> None:
    before, seen = signal.signal(signal.SIGINT, signal.default_int_handler), list[int]()

    def note(index: int, answer: verify.Answer) -> None:
        seen.append(index)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    X = np.random.default_rng(0).standard_normal((300, 3))
    labels = NETWORK.predict(X).argmax(axis=1)
    try:
        found = verify.evaluate(NETWORK, X, labels, lambda x: verify.LinfBall(x, 0.0), n_jobs=2, on_answer=note)
    finally:
        signal.signal(signal.SIGINT, before)
    robust = [index for index, answer in enumerate(found.answers) if answer.status is verify.Verdict.ROBUST]
    assert sorted(seen) == robust
    assert {answer.status for answer in found.answers} == {verify.Verdict.ROBUST, verify.Verdict.INTERRUPTED}


def test_a_proof_through_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, "CROWN")
    found = verify.certify_through(NETWORK, verify.prune(NETWORK, 0.01), REGION)
    assert found.status is verify.Verdict.INTERRUPTED
    assert found.bound < np.inf


def test_a_second_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*given: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    interrupt(monkeypatch, "ascent")
    monkeypatch.setattr("verify.questions.extremes.Optimum", again)
    with pytest.raises(KeyboardInterrupt):
        verify.maximize(NETWORK, REGION, 0)


def test_the_command_line_knows_every_status() -> None:
    assert set(ATTACK_CODES) == {member.name for member in verify.Verdict}
    assert set(MAXIMIZE_CODES) == {member.name for member in verify.Status}
    assert set(VNNLIB_CODES) == {member.name for member in Holding}
    assert {codes["INTERRUPTED"] for codes in (ATTACK_CODES, MAXIMIZE_CODES, VNNLIB_CODES)} == {130}


@pytest.mark.parametrize("name", ["verdict", "status"])
def test_a_batch_does_not_take_an_interruption_for_an_answer(name: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        run_batch([Job({"row": 0}, ("ROBUST",)), Job({"row": 1}, ("INTERRUPTED",))], lambda word: {name: word}, log)
    assert log.read_text().count("\n") == 1

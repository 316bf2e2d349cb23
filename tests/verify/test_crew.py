"""The crew: one question on several workers, as sound as on none, whatever becomes of the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from time import sleep
from typing import Any

import joblib
import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.workers import count_workers
from tests.helpers import zoo
from verify.crew import POINTS, Crew
from verify.programs.program_tree import ProgramTree
from verify.programs.relaxed import relax
from verify.questions.extremes import functions_of
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting import box_splitting, program_splitting
from verify.splitting.box_splitting import BoxSplitting
from verify.splitting.dealt_boxes import PartSearched, Scout
from verify.splitting.dealt_programs import Part, bare, open_nodes, solve_part
from verify.splitting.goals import goals_of
from verify.splitting.program_splitting import ProgramSplitting

# Networks whose questions neither way decides at once.
SIZES = {"boxes": (3, 12, 8, 1), "programs": (5, 14, 10, 1)}
BOX = verify.Box(-np.ones(3), np.ones(3))


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let work be handed out as soon as there is any, to threads unless a test says other."""
    monkeypatch.setattr(Crew, "pays", lambda crew, seconds: crew.size > 1)
    monkeypatch.setattr(box_splitting, "DEALT", 1)
    monkeypatch.setattr(box_splitting, "LATER", 0.0)
    monkeypatch.setattr(program_splitting, "DEALT", 1)
    monkeypatch.setattr(box_splitting, "KEPT", 1e-3)
    monkeypatch.setattr(program_splitting, "KEPT", 1e-3)
    with joblib.parallel_config("threading"):
        yield


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the work that is handed out."""
    names: list[str] = []
    share = Crew.share

    def noted(crew: Crew, work: Callable[..., Any], *given: Any) -> Any:
        names.append(work.__name__)
        return share(crew, work, *given)

    monkeypatch.setattr(Crew, "share", noted)
    return names


def only(means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave boxes or linear programs alone to a question."""
    if means == "boxes":
        monkeypatch.setattr("verify.splitting.program_splitting.takes_programs", lambda inquiry: False)
        monkeypatch.setattr("verify.branching.box_bounds.ENVELOPED", 0)
    else:
        monkeypatch.setattr("verify.splitting.turns.can_halve", lambda inquiry: False)


def network(seed: int, *sizes: int) -> cx.SparseReLUNetwork:
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((o, i)), rng.standard_normal(o)) for i, o in pairwise(sizes)]
    return cx.SparseReLUNetwork(layers)


def around(net: cx.SparseReLUNetwork) -> verify.Box:
    """Return the inputs between -1 and 1."""
    return verify.Box(-np.ones(net.n_inputs), np.ones(net.n_inputs))


WORK = {"boxes": "search_part", "programs": "solve_part"}


@pytest.mark.parametrize("means", WORK)
@pytest.mark.parametrize("seed", range(3))
def test_maxima_are_those_of_one_process(
    means: str, seed: int, monkeypatch: pytest.MonkeyPatch, shared: list[str]
) -> None:
    only(means, monkeypatch)
    net = network(seed, *SIZES[means])
    alone = verify.maximize(net, around(net), backend="branching")
    assert not shared
    together = verify.maximize(net, around(net), backend="branching", n_jobs=2)
    assert alone.status is together.status is verify.Status.OPTIMAL
    assert together.value == pytest.approx(alone.value, rel=2e-6)
    assert together.bound >= alone.value - 1e-9
    assert set(shared) <= {WORK[means]}


@pytest.mark.parametrize("means", WORK)
def test_work_is_handed_out(means: str, monkeypatch: pytest.MonkeyPatch, shared: list[str]) -> None:
    only(means, monkeypatch)
    for seed in range(3):
        net = network(seed, *SIZES[means])
        verify.maximize(net, around(net), backend="branching", n_jobs=2)
    assert set(shared) == {WORK[means]}


@pytest.mark.parametrize("means", WORK)
def test_what_does_not_come_back_stays_open(means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are interrupted, and those that are gone, leave their parts to the question's own process."""
    only(means, monkeypatch)
    module = f"verify.splitting.dealt_{means}"
    whole = getattr(__import__(module, fromlist=["x"]), WORK[means])
    calls = [0]

    def failing(*part: Any) -> Any:
        calls[0] += 1
        if calls[0] % 3 == 1:
            raise KeyboardInterrupt
        if calls[0] > 6:
            raise OSError("the workers have gone")
        return whole(*part)

    for seed in (1, 2):
        net = network(seed, *SIZES[means])
        alone = verify.maximize(net, around(net), backend="branching")
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{WORK[means]}", failing)
            calls[0] = 0
            found = verify.maximize(net, around(net), backend="branching", n_jobs=2)
        assert found.status is verify.Status.OPTIMAL
        assert found.value == pytest.approx(alone.value, rel=2e-6)


@pytest.mark.parametrize("means", WORK)
def test_ctrl_c_keeps_the_bound_in_hand(means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(means, monkeypatch)
    net = network(2, *SIZES[means])
    truth = verify.maximize(net, around(net)).value
    whole, rounds = Crew.share, [0]

    def cut(crew: Crew, *given: Any) -> Any:
        for found in whole(crew, *given):
            yield found
            rounds[0] += 1
            if rounds[0] >= 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(Crew, "share", cut)
    found = verify.maximize(net, around(net), backend="branching", n_jobs=2)
    assert found.status in (verify.Status.INTERRUPTED, verify.Status.OPTIMAL)
    assert found.value <= truth + 1e-6 * abs(truth)
    assert found.bound >= truth - 1e-9
    assert np.isfinite(found.bound)


def test_witnesses_and_proofs_of_properties(monkeypatch: pytest.MonkeyPatch, shared: list[str]) -> None:
    only("boxes", monkeypatch)
    heads = "".join(
        f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(3)
    ) + "".join(f"(declare-const Y_{i} Real)" for i in range(2))
    for seed in range(3):
        net = network(seed, 3, 10, 6, 2)
        top = verify.maximize(net, BOX, 0).value
        for level, status in ((top - 1e-3, "VIOLATED"), (top + 1e-3, "HOLDS")):
            asked = verify.parse_property(f"{heads}(assert (>= Y_0 {level!r}))(assert (<= Y_1 1e6))")
            check = verify.check_vnnlib(net, asked, backend="branching", n_jobs=2)
            assert check.status.name == status
    assert set(shared) == {"search_part"}


def test_questions_take_n_jobs() -> None:
    net = zoo.network((3, 6, 6, 3), seed=2)
    ball = verify.LinfBall(np.array([0.1, -0.2, 0.3]), 0.6)
    assert verify.find_adversarial(net, ball, n_jobs=2).status is verify.Verdict.ROBUST
    assert verify.min_radius(net, ball, n_jobs=2).status.name == "ROBUST"
    assert verify.minimize(net, ball, 0, n_jobs=2).status is verify.Status.OPTIMAL
    whole = verify.output_range(net, ball, n_jobs=2)
    assert np.allclose(whole.upper, verify.output_range(net, ball).upper)
    with pytest.raises(ValueError, match="n_jobs"):
        verify.maximize(net, ball, 0, n_jobs=0)


def test_workers_are_counted() -> None:
    assert count_workers(1) == count_workers(None) == 1
    assert count_workers(3) == 3
    with joblib.parallel_config(backend="sequential"):
        assert count_workers(3) == 1


def test_without_workers_a_question_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*given: Any, **more: Any) -> Iterator[Any]:
        yield 0, (7, 0.5)
        raise OSError("a worker process was killed")

    monkeypatch.setattr("verify.crew.spread", gone)
    crew = Crew(2)
    assert list(crew.share(max, [(1, 2), (3, 4)])) == [(0, 7)]
    assert (crew.size, crew.trouble) == (1, "a worker process was killed")
    assert crew.critical == crew.total == 0.5


def test_processes_bring_back_what_threads_do() -> None:
    net = network(1, 3, 12, 8, 1)
    with joblib.parallel_config("loky"):
        together = verify.maximize(net, BOX, backend="branching", n_jobs=2)
    assert together.status is verify.Status.OPTIMAL
    assert together.value == pytest.approx(verify.maximize(net, BOX).value, rel=2e-6)


def _sleeps(seconds: float) -> float:
    sleep(seconds)
    return seconds


def test_what_is_late_is_left() -> None:
    crew = Crew(2)
    with joblib.parallel_config("loky"):
        assert list(crew.share(_sleeps, [(60.0,), (60.0,)], 1.0)) == []
    assert crew.size == 1
    assert "no worker was done" in crew.trouble


def asked_of(net: cx.SparseReLUNetwork) -> Inquiry:
    """Return an inquiry about the output of a network, with two workers."""
    inquiry = Inquiry(functions_of(net, np.ones((1, 1))), around(net), resources_of(20.0, "branching", 0, n_jobs=2))
    inquiry.tighten()
    return inquiry


def test_a_round_of_boxes_goes_on_past_points_like_those_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best point of climbs, which meets nothing, is shown to the question, and is none of them."""
    point, shown, stops = np.zeros(3), list[Any](), list[bool]()

    def refuse(own: Any) -> bool:
        shown.append(own)
        return False

    splitting = BoxSplitting(asked_of(network(2, 3, 12, 1)), goals_of([0]), refuse)
    nothing = splitting.search.stuck
    for points in ([], [point], []):
        came = [PartSearched(nothing, nothing, [], (), points, point)]

        def answered(search: Any, crew: Any, scout: Scout, *given: Any, came: Any = came) -> Any:
            stops.append(scout.stops)
            return came

        monkeypatch.setattr(box_splitting, "search_boxes", answered)
        assert not splitting._run_together(0.1)
    assert stops == [True, True, False]
    assert not splitting.refused
    assert len(shown) == 4


def test_a_round_of_programs_goes_on_past_points_like_those_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    inquiry, stops = asked_of(network(2, *SIZES["programs"])), list[bool]()
    splitting, found = ProgramSplitting(inquiry, lambda own: False, 0.0), iter([[np.zeros(5)], [], []])
    splitting.run([0], inquiry.clock.seconds + 0.01)

    def answered(*given: Any) -> list[Any]:
        stops.append(given[-1])
        return next(found)

    monkeypatch.setattr(program_splitting, "solve_programs", answered)
    for _ in range(3):
        assert not splitting._go_on_together(0, splitting.trees[0], 0.1)
    assert stops == [True, False, True]


def test_a_part_of_programs_ends_at_a_point_or_goes_on() -> None:
    inquiry = asked_of(network(2, *SIZES["programs"]))
    tree = ProgramTree(relax(inquiry.functions, 0, inquiry.region, inquiry.layers), lambda points: False, -1e9)
    tree.run(lambda: tree.count >= 5, lambda: np.inf)
    program, nodes = tree.program, [bare(node) for node in open_nodes(tree)]
    given = program.relaxed, program.cut_of, nodes, tree.level, lambda points: points[0]
    ended, went_on = (solve_part(Part(*given, stops), 0.5) for stops in (True, False))
    assert (ended.count, len(ended.points)) == (2, 1)
    assert went_on.count > 2
    assert 1 < len(went_on.points) <= POINTS

"""Independent work on several workers: the same answers, and a worker that is killed loses its run alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.solvers.common.deadline import Deadline
from convexnn.workers import Streams, as_jobs, is_spread, spread
from tests.helpers.command_line import call, complained
from tests.helpers.places import ROOT

TASKS = ["recover", "fit_network", "budget_path", "regularization_path", "crosscheck", "evaluate"]


def data() -> tuple[Floats, Floats]:
    """Return rows and a noisy target, which no start fits exactly."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    return X, np.maximum(X[:, 0] - X[:, 1], 0.0) + 0.2 * rng.standard_normal(60)


def answer(name: str, **options: Any) -> Any:
    """Return the figures of a question, all that has to be the same wherever it is asked."""
    X, y = data()
    if name == "recover":
        found = cx.recover(X, y, 6, 3, n_restarts=3, patience=2, **options)
        return found.weights.tolist(), found.history.tolist(), found.status
    if name == "fit_network":
        fit = cx.fit_network(X, y, 8, 3, n_restarts=3, epochs=3, patience=2, **options)
        return fit.network.predict(X).tolist(), fit.history.tolist(), fit.status
    if name == "budget_path":
        model = cx.SparseReLURegressor(width=3, ridge=0.01, epochs=3, patience=0, random_state=0)
        path = cx.budget_path(model, X, y, [4, 8], cv=0.3, **options)
        return path.train_scores.tolist(), path.validation_scores.tolist(), path.networks[0].predict(X).tolist()
    if name == "evaluate":
        network = cx.SparseReLUNetwork([([[1.0, 0, 0, 0, 0], [-1.0, 0, 0, 0, 0]], None), ([[1.0, 1.0]], [-1.0])])
        asked = verify.evaluate(network, X, np.sign(y - 0.5), lambda x: verify.LinfBall(x, 0.3), **options)
        return [(one.status.name, one.bound) for one in asked.answers]
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 4, seed=0), penalty="group_l1", strength=0.05)
    if name == "crosscheck":
        return [(row.solver, row.objective) for row in cx.crosscheck(program, ["admm", "fista"], **options).rows]
    strengths = cx.regularization_path(program, [0.1, 0.05, 0.02], warm=False, **options)
    return strengths.solver, [solution.weights.tolist() for solution in strengths]


@pytest.mark.parametrize("name", TASKS)
def test_processes_and_threads_give_the_serial_answer_to_the_last_bit(name: str) -> None:
    alone = answer(name)
    assert answer(name, n_jobs=2) == alone
    with joblib.parallel_config("threading", n_jobs=2):
        assert answer(name) == alone


class TestSpread:
    def test_nothing_is_spread_unless_asked_for(self) -> None:
        assert [is_spread(jobs) for jobs in (None, 1, 2, -1)] == [False, False, True, True]
        with joblib.parallel_config("threading", n_jobs=2):
            assert is_spread(None)
            assert not is_spread(1)
            inside = [spread_inside for _, spread_inside in spread(is_spread, [(None,)] * 3)]
        assert inside == [False] * 3

    @pytest.mark.parametrize("jobs", [0, -2, True, 1.5, "2"])
    def test_a_number_of_jobs_that_is_none_is_refused(self, jobs: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="n_jobs is"):
            as_jobs(jobs)

    @pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
    def test_results_come_in_order_where_asked_for(self, backend: str) -> None:
        with joblib.parallel_config(backend, n_jobs=2):
            assert list(spread(slow_first, [(i,) for i in range(5)], ordered=True)) == [(i, i) for i in range(5)]
            assert sorted(spread(slow_first, [(i,) for i in range(5)])) == [(i, i) for i in range(5)]

    def test_a_worker_that_is_killed_loses_nothing_but_its_run_which_is_begun_anew(self, tmp_path: Path) -> None:
        found = sorted(spread(killed_once, [(i, tmp_path / "killed") for i in range(5)], 2))
        assert found == [(i, i) for i in range(5)]
        assert (tmp_path / "killed").exists()

    def test_a_run_that_always_kills_its_worker_is_one_line_and_the_others_are_there(self) -> None:
        seen = list[int]()
        with pytest.raises(OSError, match="a worker process was killed, perhaps for want of memory; runs that ended"):
            seen.extend(index for index, _ in spread(killed_always, [(i,) for i in range(4)], 2))

    def test_an_error_of_a_run_is_its_own(self) -> None:
        with pytest.raises(ZeroDivisionError):
            list(spread(divmod, [(1, 1), (1, 0)], 2))

    def test_runs_have_streams_of_their_own_and_the_first_is_the_given_one(self) -> None:
        rng, again = np.random.default_rng(3), np.random.default_rng(3)
        first, *others = Streams(rng, 3)
        assert first is rng
        assert rng.random() == np.random.default_rng(3).random()
        assert len({rng.random(), *(other.random() for other in others)}) == 3
        assert [one.random() for one in Streams(rng, 4)[1:]] == [one.random() for one in again.spawn(5)[2:]]
        assert Streams(np.random.default_rng(3), 2)[1].random() == Streams(np.random.default_rng(3), 3)[1].random()


def test_random_numbers_go_on_where_those_of_one_job_would() -> None:
    X, y = data()
    ends = list[float]()
    for jobs in (1, 2):
        rng = np.random.default_rng(5)
        cx.recover(X, y, 6, 3, n_restarts=2, patience=2, seed=rng, n_jobs=jobs)
        ends.append(rng.random())
    assert ends[0] == ends[1]


def test_progress_of_several_jobs_is_that_of_one() -> None:
    X, y = data()
    told = list[Any]()
    for jobs in (1, 2):
        states = list[cx.RecoveryProgress]()
        cx.recover(X, y, 6, 3, n_restarts=2, patience=2, n_jobs=jobs, callback=states.append)
        told.append([(state.iteration, state.objective, state.best, state.restart) for state in states])
    assert told[0] == told[1]
    assert {state[3] for state in told[0]} == {0, 1}


def test_an_interruption_keeps_the_starts_that_ended() -> None:
    def interrupt(state: cx.RecoveryProgress) -> None:
        if state.restart == 1:
            raise KeyboardInterrupt

    X, y = data()
    found = cx.recover(X, y, 6, 3, n_restarts=3, patience=2, n_jobs=2, callback=interrupt)
    assert found.status is cx.Status.INTERRUPTED
    assert found.objective <= cx.recover(X, y, 6, 3, n_restarts=1, patience=2).objective


def test_a_deadline_that_was_sent_ends_when_it_was_meant_to() -> None:
    assert Deadline(None).sent().received().time_limit is None
    left = Deadline(50.0).sent().received().time_limit
    assert left is not None
    assert 0.0 < left <= 50.0
    assert Deadline(0.0).sent().received().is_over()


def test_warm_starts_are_not_spread() -> None:
    X, y = data()
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 4, seed=0), penalty="group_l1", strength=0.05)
    with pytest.raises(ValueError, match="n_jobs is 2 with warm=True; expected warm=False"):
        cx.regularization_path(program, [0.1], n_jobs=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Give the address of a Dask cluster."""
    with running_cluster() as address:
        yield address


@contextmanager
def running_cluster(**settings: str) -> Iterator[str]:
    """Run a Dask cluster of two workers in processes of their own, as a user does; give its address."""
    pytest.importorskip("distributed", reason="needs distributed (pip install convexnn[dask])")
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= settings
    script = f"""
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, scheduler_port={port}, dashboard_address=None)
    print("up", flush=True)
    input()
    cluster.close()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        yield f"tcp://127.0.0.1:{port}"
    finally:
        process.communicate("\n", timeout=30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.filterwarnings("default")  # those of distributed and of what it brings
class TestDask:
    def test_a_cluster_gives_the_serial_answer_to_the_last_bit(self, cluster: str) -> None:
        from distributed import Client

        alone = [answer(name) for name in TASKS]
        with Client(cluster) as client, joblib.parallel_config("dask"):
            client.wait_for_workers(1, timeout=60)
            assert is_spread(None)
            assert [answer(name) for name in TASKS] == alone

    def test_a_worker_that_is_killed_loses_nothing_but_its_run(self, cluster: str, tmp_path: Path) -> None:
        from distributed import Client

        with Client(cluster) as client, joblib.parallel_config("dask"):
            client.wait_for_workers(1, timeout=60)
            found = sorted(spread(killed_once, [(i, tmp_path / "killed") for i in range(5)]))
        assert found == [(i, i) for i in range(5)]
        assert (tmp_path / "killed").exists()

    def test_a_run_that_kills_more_workers_than_dask_allows_is_one_line(self) -> None:
        with running_cluster(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as address:
            from distributed import Client

            with (
                Client(address),
                joblib.parallel_config("dask"),
                pytest.raises(OSError, match=r"the cluster lost a run \(KilledWorker\): its workers were killed"),
            ):
                list(spread(killed_always, [(i,) for i in range(4)]))

    def test_the_command_line(self, cluster: str, tmp_path: Path) -> None:
        from distributed import Client

        with Client(cluster) as client:
            client.wait_for_workers(1, timeout=60)
        X, y = data()
        table = tmp_path / "data.csv"
        np.savetxt(table, np.column_stack([X, y]), delimiter=",")
        command = ("recover", table, "--budget", 6, "--width", 3, "--patience", 2, "--json")
        alone, spread_out = call(*command), call(*command, "--dask", cluster)
        assert spread_out.exit_code == alone.exit_code == 0
        assert json.loads(spread_out.stdout)["weights"] == json.loads(alone.stdout)["weights"]

    def test_a_cluster_that_does_not_answer_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("distributed", reason="needs distributed (pip install convexnn[dask])")
        monkeypatch.setattr("convexnn.cli.common.cluster.PATIENCE", 1)
        table = tmp_path / "data.csv"
        table.write_text("1,2\n3,4\n5,7\n")
        address = f"tcp://127.0.0.1:{free_port()}"
        result = call("recover", table, "--budget", 1, "--dask", address)
        assert complained(result, f"dask is '{address}', which does not answer within 1 s; expected the address")
        both = call("recover", table, "--budget", 1, "--dask", "x", "--jobs", 2)
        assert complained(both, "both --jobs and --dask are given")


@pytest.mark.filterwarnings("default")  # those of ray
class TestRay:
    def test_ray_gives_the_serial_answer_to_the_last_bit(self) -> None:
        """Where ray is installed, which is none of our extras: its starts take long, so only some of the tasks."""
        ray = pytest.importorskip("ray", reason="needs ray (pip install ray)")
        from ray.util.joblib import register_ray

        alone = [answer(name) for name in ("recover", "evaluate")]
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        register_ray()
        try:
            with joblib.parallel_config("ray", n_jobs=2):
                assert is_spread(None)
                assert [answer(name) for name in ("recover", "evaluate")] == alone
        finally:
            ray.shutdown()


def slow_first(number: int) -> int:
    """Return the number, the first one late."""
    time.sleep(0.3 * (number == 0))
    return number


def killed_once(number: int, flag: Path) -> int:
    """Return the number; the worker of number 2 is killed, the first time."""
    if number == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed_always(number: int) -> int:
    """Return the number; the worker of number 2 is killed each time."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number

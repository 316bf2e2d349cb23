"""How often a round of a search hands a number of the device to the host, and what the host knows by that."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from convexnn.recovery.candidates import rounds as room
from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.candidates.rounds import Fit, Schedule
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.support_steps import conjugate_steps, damped_step
from tests.helpers.recovery_problems import planted

# The most that a round may ask for, on average.
MOST = {"damped": 8.0, "conjugate": 6.8}

FITS: dict[str, Fit] = {
    "damped": partial(damped_step, damping=1e-2),
    "conjugate": partial(conjugate_steps, count=5),
}


def problem() -> Problem:
    X, y, _, _ = planted(0, n=1000, d=40, m=5, s=30)
    return Problem(torch.as_tensor(X), torch.as_tensor(y / np.sqrt(np.mean(y**2))))


def run(fit: Fit, rounds: int) -> room._Course:
    """Take so many rounds of a longer schedule, from nothing."""
    asked, rng = problem(), np.random.default_rng(0)
    propose, signs = (
        partial(Proposals(asked, rng).mixed, ("dense", "sparse")),
        torch.as_tensor(rng.choice([-1.0, 1.0], 12)),
    )
    empty = HiddenLayer.empty(asked, propose(12, asked.target), signs)
    course = room._Course(empty, empty)
    left = iter([False] * rounds)
    room._run_rounds(asked, course, 25, Schedule(200, 2.0, fit, False), propose, lambda: next(left, True))
    return course


@pytest.mark.parametrize("fit", sorted(FITS))
def test_a_round_asks_the_device_five_times_and_more_where_neurons_come_and_go(counting: Any, fit: str) -> None:
    """For the loss, the step, what is selected, how the fit went, what is parallel; the host draws fresh gates."""
    counts = []
    for rounds in (10, 30):
        with counting() as counted:
            run(FITS[fit], rounds)
        counts.append(counted.count)
    assert counts[1] - counts[0] <= 20 * MOST[fit]


@pytest.mark.parametrize("fit", sorted(FITS))
def test_the_host_knows_what_the_layer_is(fit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, state = list[int](), room._round_state

    def checked(*given: Any) -> Any:
        now = state(*given)
        assert now.loss == pytest.approx(float(now.residual.square().mean()))
        assert now.hidden.nnz == int(torch.count_nonzero(now.hidden.weights))
        assert now.hidden.n_live == int(now.hidden.live.sum())
        for known, told in zip(now.support, torch.nonzero(now.hidden.weights, as_tuple=True), strict=True):
            assert torch.equal(known, told)
        seen.append(now.hidden.nnz)
        return now

    monkeypatch.setattr(room, "_round_state", checked)
    run(FITS[fit], 40)
    assert len(seen) == 40
    assert len(set(seen)) > 3

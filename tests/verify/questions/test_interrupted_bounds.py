"""Ctrl-C in bounds: what is proven by then comes back, never tighter than the truth."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import verify
from tests.helpers import zoo
from verify.bounds import coupling, layer_bounds, tightening
from verify.questions import difference as difference_room

NETWORK = zoo.network((3, 8, 8, 8, 2), seed=1)
COPY = verify.prune(NETWORK, 0.3)
REGION = verify.LinfBall(np.array([0.1, -0.2, 0.3]), 0.5)
POINTS = np.random.default_rng(0).uniform(REGION.lower, REGION.upper, (2000, 3))


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int) -> None:
    """Let a function raise KeyboardInterrupt, once it was called `after` times."""
    whole, calls = getattr(owner, name), [0]

    def stopped(*given: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        return whole(*given, **more)

    monkeypatch.setattr(owner, name, stopped)


def widths(layers: verify.LayerBounds) -> list[float]:
    return [float((layer.upper - layer.lower).sum()) for layer in layers]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_layers_that_crown_has_done_are_kept(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, whole = (verify.bound(NETWORK, REGION, method) for method in ("interval", "crown"))
    interrupt(monkeypatch, layer_bounds, "crown_interval", after)
    found = verify.bound(NETWORK, REGION)
    assert found.status is verify.Bounding.INTERRUPTED
    assert "interrupted" in str(found)
    # The first layer needs no CROWN.
    for index, width in enumerate(widths(found)):
        assert width == (widths(whole) if index <= after else widths(plain))[index]
    for values, layer in zip(NETWORK.activations(POINTS), found, strict=True):
        assert ((layer.lower <= values) & (values <= layer.upper)).all()


def test_what_linear_programs_have_proven_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tightening, "BATCH", 2)
    sums = [sum(widths(verify.bound(NETWORK, REGION)))]
    for after in (1, 3, 100):
        with monkeypatch.context() as patch:
            interrupt(patch, tightening._LayerTightening, "_prove", after)
            found = verify.bound(NETWORK, REGION, "lp")
        assert (found.status is verify.Bounding.COMPLETE) == (after == 100)
        sums.append(sum(widths(found)))
        for values, layer in zip(NETWORK.activations(POINTS), found, strict=True):
            assert ((layer.lower <= values) & (values <= layer.upper)).all()
    assert sums == sorted(sums, reverse=True)
    assert len(set(sums)) == 4


@pytest.mark.parametrize("method", ["interval", "crown", "lp"])
def test_an_interruption_of_the_first_bounds_leaves_them(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls, whole = verify.bound(NETWORK, REGION, "interval"), [0], layer_bounds.interval_bounds

    def once(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr("verify.questions.bound.interval_bounds", once)
    found = verify.bound(NETWORK, REGION, method)
    assert found.status is verify.Bounding.INTERRUPTED
    assert widths(found) == widths(plain)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (difference_room, "interval_bounds", 0),
        (layer_bounds, "crown_interval", 0),
        (layer_bounds, "crown_interval", 5),
        (coupling, "crown_interval", 0),
        (coupling, "crown_interval", 3),
    ],
)
def test_a_difference_has_the_bounds_of_each_network(
    owner: Any, name: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verify.difference(NETWORK, COPY, REGION)
    assert whole.status is verify.Bounding.COMPLETE
    interrupt(monkeypatch, owner, name, after)
    found = verify.difference(NETWORK, COPY, REGION)
    assert found.status is verify.Bounding.INTERRUPTED
    assert "interrupted" in str(found)
    values = NETWORK.predict(POINTS) - COPY.predict(POINTS)
    assert ((found.lower <= values) & (values <= found.upper)).all()
    assert (found.upper - found.lower >= whole.upper - whole.lower).all()
    assert found.finite == (owner is not difference_room)


def test_more_time_gives_a_tighter_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    room = []
    for owner, after in ((layer_bounds, 0), (layer_bounds, 5), (coupling, 0)):
        with monkeypatch.context() as patch:
            interrupt(patch, owner, "crown_interval", after)
            found = verify.difference(NETWORK, COPY, REGION)
        room.append(float((found.upper - found.lower).sum()))
    assert room[0] > room[1] > room[2]


def test_nothing_is_known_of_a_difference_before_the_networks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, difference_room, "as_pair", 0)
    with pytest.raises(KeyboardInterrupt):
        verify.difference(NETWORK, COPY, REGION)


@pytest.mark.parametrize(
    "ask", [lambda: verify.bound(NETWORK, REGION), lambda: verify.difference(NETWORK, COPY, REGION)]
)
def test_results_are_copied_with_their_status(ask: Callable[[], Any]) -> None:
    found = ask()
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)
    assert again.status is verify.Bounding.COMPLETE
    assert str(again) == str(found)

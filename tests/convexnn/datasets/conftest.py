"""No test of data sets sees a folder of data or a network of its own accord."""

from __future__ import annotations

from pathlib import Path

import pytest

from convexnn.datasets import (
    store,
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No folder of data but those that a test makes, and no network."""
    if "data_folder" not in request.fixturenames:
        monkeypatch.delenv("CONVEXNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(url: str, timeout: float) -> None:
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(store, "urlopen", refuse)

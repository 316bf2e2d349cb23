"""Fixtures that several rooms share."""

from __future__ import annotations

import gc
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.helpers.places import ROOT

# Before any test imports torch: its threads wait instead of spinning, so that a busy machine does not stretch the run.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The same examples in every run, and no deadline: nothing here may depend on the speed of a machine.
settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")


def pytest_collection_finish() -> None:
    """Take what was collected out of the collector's way: a study begins every run that it measures with a pass."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def data_folder() -> Path:
    """The folder named by CONVEXNN_DATA, for tests marked `data`."""
    folder = os.environ.get("CONVEXNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CONVEXNN_DATA names no folder (it holds MNIST and the VNN-COMP networks)")
    return Path(folder)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `benchmarks/gpu.py` counts the calls by that hand entries of a device to the host, or take them there."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("gpu").Waits


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """The CPU, and a CUDA device where there is one."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is available")
    return str(request.param)


@pytest.fixture
def no_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what bounds and ascent do not decide to the engines."""
    monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {})
    monkeypatch.setattr("verify.questions.extremes.AFTER_ENGINES", 0.0)

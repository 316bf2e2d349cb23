"""Checkpoints of a recovery: what was broken off goes on, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.checks import Floats

OPTIONS: dict[str, Any] = {"patience": 2, "n_restarts": 3}


class TestCheckpoint:
    @staticmethod
    def data() -> tuple[Floats, Floats]:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((60, 5))
        return X, np.maximum(X[:, 0] - X[:, 1], 0.0) + 0.2 * rng.standard_normal(60)

    @staticmethod
    def same(one: cx.Solution, two: cx.Solution) -> bool:
        return one.status is two.status and all(
            getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in ("weights", "history")
        )

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_run_that_was_broken_off_ends_as_one_without_a_break(self, tmp_path: Path, jobs: int) -> None:
        file = tmp_path / "run.json"

        def interrupt(state: cx.RecoveryProgress) -> None:
            if state.restart == 1:
                raise KeyboardInterrupt

        X, y = self.data()
        whole = cx.recover(X, y, 6, 3, **OPTIONS)
        broken = cx.recover(X, y, 6, 3, checkpoint=file, callback=interrupt, **OPTIONS)
        assert broken.status is cx.Status.INTERRUPTED
        assert len(json.loads(file.read_text())["starts"]) == 1
        seen = list[int]()
        again = cx.recover(
            X, y, 6, 3, checkpoint=file, n_jobs=jobs, callback=lambda state: seen.append(state.restart), **OPTIONS
        )
        assert self.same(again, whole)
        assert set(seen) == {1, 2}
        assert self.same(cx.recover(X, y, 6, 3, checkpoint=file, **OPTIONS), whole)

    def test_more_starts_go_on_after_those_that_are_there(self, tmp_path: Path) -> None:
        X, y = self.data()
        cx.recover(X, y, 6, 3, checkpoint=tmp_path / "run.json", patience=2, n_restarts=1)
        more = cx.recover(X, y, 6, 3, checkpoint=tmp_path / "run.json", **OPTIONS)
        assert self.same(more, cx.recover(X, y, 6, 3, **OPTIONS))

    def test_an_exact_start_ends_a_run_that_goes_on_too(self, tmp_path: Path) -> None:
        X, _ = self.data()
        y = np.maximum(X[:, 0] - X[:, 1], 0.0)
        first = cx.recover(X, y, 2, 1, checkpoint=tmp_path / "run.json")
        assert first.status is cx.Status.EXACT
        assert self.same(cx.recover(X, y, 2, 1, checkpoint=tmp_path / "run.json"), first)

    def test_a_start_without_time_is_not_kept(self, tmp_path: Path) -> None:
        X, y = self.data()
        found = cx.recover(X, y, 6, 3, checkpoint=tmp_path / "run.json", time_limit=0.0)
        assert found.status is cx.Status.TIME_LIMIT
        assert json.loads((tmp_path / "run.json").read_text())["starts"] == []

    def test_other_runs_and_other_files_are_refused(self, tmp_path: Path) -> None:
        X, y = self.data()
        file = tmp_path / "run.json"
        cx.recover(X, y, 6, 3, checkpoint=file, patience=2, n_restarts=1)
        text = file.read_text()
        for changed in ({"seed": 1}, {"patience": 3}, {"signs": "positive"}):
            with pytest.raises(ValueError, match=r"run\.json is that of another run; expected that of the same data"):
                cx.recover(X, y, 6, 3, checkpoint=file, **(OPTIONS | changed))
        with pytest.raises(ValueError, match="is that of another run"):
            cx.recover(X, 2 * y + 1, 6, 3, checkpoint=file, patience=2)
        for broken in ("", "{}", "[]", text[:-20], "1 2"):
            file.write_text(broken)
            with pytest.raises(ValueError, match=r"run\.json is no checkpoint of a recovery; expected"):
                cx.recover(X, y, 6, 3, checkpoint=file, patience=2)
            assert file.read_text() == broken
        with pytest.raises(OSError, match="cannot be written"):
            cx.recover(X, y, 6, 3, checkpoint=tmp_path / "none" / "run.json", patience=2)
        with pytest.raises(ValueError, match="checkpoint keeps the starts of one budget; expected a budget beside it"):
            cx.recover(X, y, checkpoint=tmp_path / "new.json")
        with pytest.raises(TypeError, match="checkpoint is 3; expected the path of a file"):
            cx.recover(X, y, 6, 3, checkpoint=3, patience=2)  # type: ignore[arg-type]

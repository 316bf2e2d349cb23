"""Files of networks and estimators whose text is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.network_files import as_text


def not_characters(code: int, order: str = "<") -> np.ndarray:
    """An array of a text whose second code point stands for no character."""
    return np.frombuffer(np.array([97, code], f"{order}u4").tobytes(), f"{order}U2").reshape(())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800, 0xDFFF])
def test_text_that_is_none(code: int, order: str) -> None:
    with pytest.raises(ValueError, match="notes holds bytes that are no characters"):
        as_text(not_characters(code, order), "notes")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("text", ["", "a", "é", "\U0010ffff", "\ud7ff\ue000"])
def test_text_is_kept(text: str, order: str) -> None:
    array = np.array([text, "b"]).astype(f"{order}U3")
    assert as_text(array, "notes").tolist() == [text, "b"]


@pytest.mark.parametrize("name", ["format", "final", "notes", "estimator", "columns", "feature_names"])
def test_a_file_with_such_text_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((40, 2))
    path = cx.SparseReLURegressor(budget=2, epochs=1).fit(X, X[:, 0]).save(tmp_path / "fit.model")
    with np.load(path) as stored:
        arrays = dict(stored)
    broken = not_characters(0x3A000000)
    with path.open("wb") as file:
        np.savez(file, **arrays | {name: broken.reshape(1) if name in ("notes", "feature_names") else broken})
    with pytest.raises(ValueError, match=rf"fit.model is not an? \w+ saved by .*convexnn \({name} holds bytes"):
        cx.SparseReLURegressor.load(path)
    if name in ("format", "final", "notes"):
        with pytest.raises(ValueError, match=f"{name} holds bytes that are no characters"):
            verify.read_network(str(path.rename(tmp_path / "fit.npz")))

"""The small data sets of scikit-learn: their splits and their scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convexnn.datasets import (
    digits,
    iris,
)


class TestIris:
    def test_the_training_rows_have_mean_0_and_variance_1(self) -> None:
        made = iris(seed=3)
        np.testing.assert_allclose(made.X_train.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(made.X_train.std(axis=0), 1.0)
        assert (np.bincount(made.y_train) == 40).all()
        assert (np.bincount(made.y_test) == 10).all()
        assert made.names == ("setosa", "versicolor", "virginica")
        raw = iris(seed=3, scaled=False)
        back = made.X_test * raw.X_train.std(axis=0) + raw.X_train.mean(axis=0)
        np.testing.assert_allclose(back, raw.X_test)
        assert not np.array_equal(raw.X_test, iris(seed=4, scaled=False).X_test)

    @pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 0.999, np.nan, "a fifth"])
    def test_a_share_is_a_share(self, share: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="test_share is"):
            iris(test_share=share)

    @pytest.mark.parametrize(("name", "value"), [("test_share", 2.0), ("test_share", "half"), ("seed", -1)])
    def test_digits_name_the_argument_too(self, name: str, value: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=f"^{name} is .*; expected"):
            digits(**{name: value})

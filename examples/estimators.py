"""Sparse ReLU networks as scikit-learn estimators: pick the budget by looking, fit, save, load.

python examples/estimators.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import convexnn as cx


def main() -> None:
    """Look at the budgets of a classifier of tumours, take the smallest that is good enough, and keep it."""
    data = load_breast_cancer()
    labels = data.target_names[data.target]
    X, fresh, y, truth = train_test_split(data.data, labels, random_state=0, stratify=labels)

    path = cx.budget_path(cx.SparseReLUClassifier(random_state=0), X, y, [10, 20, 40, 80], cv=3)
    print(path)
    model = path.smallest_within(1.0).estimator  # at most one percent of accuracy away; fitted to all of X
    print(f"{model.network_}: accuracy {model.score(fresh, truth):.3f} on fresh rows")

    with TemporaryDirectory() as folder:
        loaded = cx.SparseReLUClassifier.load(model.save(Path(folder) / "model.npz"))
    print(f"the same predictions after loading: {(loaded.predict(fresh) == model.predict(fresh)).all()}")


if __name__ == "__main__":
    main()

"""Estimators: scikit-learn's contract around `fit_network`. An import from this folder imports scikit-learn.

In come X and y as scikit-learn takes them; out come estimators, their files, and the path over budgets. Start reading
in `base.py`, which `regressor.py` and `classifier.py` share: it takes the rows that count (`rows.py`), scales features
and targets (`scaling.py`), then `network_fitter.py` calls `fit_network` with a ridge that follows from the noise
and, for numbers and two labels, from rows held out (`folds.py`).
"""

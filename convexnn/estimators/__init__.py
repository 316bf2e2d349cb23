"""Estimators: scikit-learn's contract around `fit_network`. Importing this room imports scikit-learn.

In come X and y as scikit-learn takes them; out come estimators, their files, and the path over budgets. Start
reading in `base.py`, which `regressor.py` and `classifier.py` share.
"""

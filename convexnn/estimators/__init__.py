"""Estimators: scikit-learn's contract around fit_network. Importing this room imports scikit-learn."""

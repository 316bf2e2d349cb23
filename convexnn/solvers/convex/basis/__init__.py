"""Coordinates in which the data are round, so that offsets and units of features cost no accuracy.

In come programs, with their data and penalty; out come a basis (`round_basis.py`), the stated penalty as a function of
coordinates in it (`basis_penalty.py`, with its proximal maps in `basis_prox.py`), and Newton steps there on the neurons
that live (`live_steps.py`). Start with `round_basis.py`.
"""

"""Solvers of the convex programs: one algorithm a file, each stopped by its duality gap.

In comes a program with a penalty, gated or with cones; out comes a certified Solution. `fista.py`, `working_set.py`
and `admm.py` (over `whitened.py`) for gated programs, `admm.py` and `interior_point.py` (over `interior_steps.py`,
`newton_system.py`, `barriers.py`, `gate_cones.py`, all on the `arrays.py` of NumPy or torch) for cones,
`cvxpy_reference.py` for all of them, as the reference. The coordinates that they share are in `basis`.
"""

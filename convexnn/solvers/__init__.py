"""Solvers: from a program to a Solution, behind one registry.

`registry.py` is the entry: which solver can do which program, and :func:`solve`. One algorithm a file, in a room a
kind: `convex/` (penalties and cones), `thresholding/` (budgets), `subset/` (budgets, to the proven optimum), over
what they share in `common/`.
"""

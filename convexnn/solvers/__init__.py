"""Solvers: from a program to a Solution, behind one registry.

`registry.py` is the entry: a line for each solver says which programs it can do, and :func:`solve` asks it. One
algorithm a file, by kind: `convex/` (penalties, with cones or without), `thresholding/` (budgets), `subset/` (budgets,
to the proven optimum). What they share is in `common/`.
"""

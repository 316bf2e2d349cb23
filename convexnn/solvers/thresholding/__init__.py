"""Solvers of budgets by hard thresholding: one algorithm a file, over parts that they share.

In comes a program with a budget; out comes the best support found. Start reading in `niht.py`, the simplest;
`hard_thresholding.py` is the default, which uses most of the others. The parts: `dictionary.py` (the columns of A at
unit length), `sparse_iterate.py` (direction, step, fit), `trial.py` (what a step comes to, read by the host once),
`phases.py` (the run), `options.py`.
"""

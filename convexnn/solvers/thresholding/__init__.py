"""Solvers of budgets by hard thresholding: one algorithm a file, over parts that they share.

In comes a program with a budget; out comes the best support found. Start reading in `niht.py`, the simplest;
`sparse_iterate.py` holds the parts (direction, step, restriction), `dictionary.py` the columns they see,
`options.py` what all of them can be told, `phases.py` the run; `hard_thresholding.py` is the default, which uses
most of the others.
"""

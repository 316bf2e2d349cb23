"""The best subset of columns, proven: budgets with the squared loss, solved to optimality.

In comes a program with a budget and one output; out comes a Solution with a bound. Start reading in `exact.py`;
`best_subset.py` is the branch and bound; at its leaves `indefinite_subsets.py` lists the small sets of columns that
can still lower the loss.
"""

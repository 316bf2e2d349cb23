"""Branch and bound: a question is split at neurons until linear relaxation answers every subproblem.

In come linear functions and bounds of the layers; out come proven upper bounds, or a point. Start reading in
`tree.py`; `relaxation.py` bounds a batch of subproblems in float32 and proves what counts in float64.
"""

"""What all solvers share: the loop with its limits, warm starts, and the certificate of what they return.

Iterations go through `descent.py`, several runs of them through `phased_descent.py`; the result goes through
`certificate.py`, which recomputes objective, gap and violation in float64, whoever solved.
"""

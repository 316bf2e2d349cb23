"""Comparisons of answers: one program by many solvers, or by one solver at many strengths of its penalty.

In comes a program; out come tables whose rows are answers and what each one proves. Start reading in
`crosscheck.py` (its answers are compared in `agreement.py`) or in `regularization_path.py`.
"""

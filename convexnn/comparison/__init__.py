"""Comparisons: one program by every solver, or one solver at every strength.

In comes a program; out come tables whose rows are answers and what each one proves. Start reading in
`crosscheck.py`, of whose results `agreement.py` says whether they agree, or in `regularization_path.py`.
"""

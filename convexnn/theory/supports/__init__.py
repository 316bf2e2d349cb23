"""What theory computes on supports: the design matrix A restricted to few columns, on arrays alone.

In comes a program as a :class:`~convexnn.theory.supports.design.Design`; out come extreme eigenvalues of supports,
fits on them, slopes between two points (secants), and whether a support separates the labels. `theory` and the solver
``stable_iht`` turn these into answers.
"""

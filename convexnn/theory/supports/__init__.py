"""What theory computes on supports: the design matrix A restricted to few columns, on arrays alone.

In comes a program as a :class:`~convexnn.theory.supports.design.Design`; out come extreme eigenvalues, fits, secants
and separability of its supports. The rooms above it (`theory`, the solver ``stable_iht``) turn these into answers.
"""

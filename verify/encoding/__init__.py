"""The network over a region as a MILP.

In come a network, a region and an objective; out comes an :class:`Encoding` around a model. Start reading in
`encode.py`. An L2 ball has no linear rows: there `outer_approximation.py` adds cuts, found by conic relaxations, until
the bound is met.
"""

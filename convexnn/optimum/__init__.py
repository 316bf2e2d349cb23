"""The optimum over all activation patterns: gates are added where they help, until a proof says that none is missing.

In come data, a loss and a penalty; out comes a :class:`GlobalOptimum`, a Solution whose gap is the one to all patterns.
Start reading in `global_optimum.py`; the first network comes from `alternating.py`, the loop is in `rounds.py`, the
search for gates in `pricers.py`, and what a dual point proves in `bounds.py`.
"""

"""Proven bounds of neurons and of linear functions of the outputs, rounded outward.

In come a network and a region; out come intervals. Start reading in `layer_bounds.py`, which with
`crown.py` is what the others build on (interval arithmetic itself: `regions/intervals.py`); `tightening.py` adds
linear programs, whose bounds `duals.py` computes anew; `functions.py` and `margins.py` bound functions of the outputs;
`coupling.py` bounds two networks side by side. Rational arithmetic decides what rounding leaves open: `dyadics.py` are
its numbers, `exact_values.py` points, `exact_bounds.py` regions.
"""

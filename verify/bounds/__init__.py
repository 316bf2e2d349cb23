"""Proven bounds of neurons and of linear functions of the outputs, rounded outward.

In come a network and a region; out come intervals. `layer_bounds.py` and `crown.py` are the ground, `tightening.py`
adds linear programs whose multipliers are proven anew (`duals.py`), `coupling.py` bounds two networks side by side.
Start reading in `bound.py`, the public face.
"""

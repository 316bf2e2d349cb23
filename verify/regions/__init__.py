"""Regions: the sets of inputs that a question is asked about.

In come bounds, balls and linear constraints; out come exact membership, projections, and suprema of linear functions
rounded outward. `intervals.py` is the ground of all sound arithmetic; `box.py` and `balls.py` hold the regions,
`constraint_dual.py` what linear constraints on them need: multipliers, peaks and nearest points.
"""

"""Regions: the sets of inputs that a question is asked about.

In come bounds, balls and linear constraints; out come exact membership, projections, and suprema of linear functions
rounded outward. `intervals.py` is the arithmetic that all proven bounds rest on; `box.py` and `balls.py` hold the
regions, `constraint_dual.py` and `multipliers.py` what linear constraints on them need.
"""

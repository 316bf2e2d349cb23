"""What the studies hold our methods against: sparse training baselines, single searches for points, a textbook MILP.

In comes a network or a task; out come the measurements of one method, taken alike for all.
"""

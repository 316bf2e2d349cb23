"""Pricing: the neuron that says most about a dual point, found by ascent, and bounded by branch and bound.

In come rows X (n, d) and dual points theta (n, k); out come unit vectors u with a large |sum_i theta_i relu(x_i . u)|,
and a proven upper bound of its maximum over the L2 or the L1 ball. Arrays alone: no programs, no gates, no files. Start
reading in `price.py`; `proof.py` is the branch and bound, `cones.py` its partition, `support.py` the bound of a cone,
`polishing.py` the last digits of a maximum.
"""

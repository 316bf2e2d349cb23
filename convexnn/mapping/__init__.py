"""Mapping back: from gated blocks D_j X w_j to the neurons of a ReLU network, on arrays alone.

In come weights and masks; out comes a network and how far it is from the convex model. Two ways: exact pairs in the
cones of the gates (`pairs.py`, over `cones.py` and `active_set.py`), or a refit on the same support (`refit.py`).
Start reading in `map_back.py`.
"""

"""What candidates of a search are made of: rounds over all neurons, neurons one after the other, parts searched anew.

In come the data, the best network so far and random numbers; out comes another network, and its loss. Start reading in
`rounds.py` (hard thresholding, after each step of which the gates become the new weights), then `moves.py` (what of the
best network is kept), `proposals.py` (fresh gates), `parts.py`, and `bandit.py` (what is tried more often).
"""

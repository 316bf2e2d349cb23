"""Questions, one a file: attacks, extremes, properties, radii, data sets, two networks.

In come a network, a region and a question; out comes an answer with a witness, a proof, or the reason why neither.
Start reading in `find_adversarial.py`: ATTEMPTS is the order in which it tries bounds, ascent, branch and bound and
engines. All questions keep what is known in an `inquiry.py`, and go on by `splitting.py` (calls `branching/`),
`engines.py` (calls `backends/`) and `portfolio.py` (calls `points/`).
"""

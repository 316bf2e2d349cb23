"""Questions, one a file, over one inquiry: attacks, extremes, properties, radii, data sets, two networks.

In come a network, a region and a question; out comes an answer with a witness, a proof, or the reason why neither.
Start reading in `inquiry.py`, what all of them share, then `find_adversarial.py`.
"""

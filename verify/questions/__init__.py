"""Questions, one a file, over one inquiry: attacks, extremes, properties, radii, data sets, two networks.

In come a network, a region and a question; out comes an answer with a witness, a proof, or the reason why neither.
Start reading in `inquiry.py`, what is known on the way; `splitting.py` (branch and bound), `engines.py` (MILPs) and
`witness_search.py` (one alternative after the other) take it further. Then `find_adversarial.py`, a whole question.
"""

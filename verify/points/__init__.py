"""Finders of points, never proofs: ascent, populations of ascents, polishing, and pruned copies as surrogates.

In come a network, a region and what is to be large; out come inputs, which count only once they are evaluated in the
network itself. `pruning.py` makes the copies, `finetuning.py` trains them on, `surrogates.py` takes points from their
MILPs; `snapping.py` gives inputs of few bits, where ties are reached.
"""

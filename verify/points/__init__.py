"""Finders of points, never proofs: ascent, populations, polishing, and pruned copies as surrogates.

In come a network, a region and what is to be large; out come inputs, which count only once they are evaluated in the
network itself.
"""

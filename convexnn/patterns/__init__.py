"""Activation patterns: the gates h_j and the masks 1{X h_j >= 0} that they cut out of the data.

In come the data X (n, d); out come :class:`ActivationPatterns`, gates drawn, given or enumerated, with equal masks
merged. Start reading in `activation_patterns.py`; a new kind of gate is a function in `gates.py`.
"""

"""Networks of any depth and number of outputs, fitted with one budget over the weights of all layers.

In come data, a budget and widths; out comes a :class:`NetworkFit`. Start reading in `fit_network.py`, then
`restarts.py` (the starts of a fit), `training.py` (the budget falls) and `joint.py` (steps on the support).
"""

"""Networks of any depth and number of outputs, fitted with one budget over the weights of all layers.

(For one hidden layer and one output `recovery/` searches more thoroughly.) In come data, a budget and widths; out comes
a :class:`NetworkFit`. Start reading in `fit_network.py`, then `restarts.py` (its starts), `training.py` (Adam steps
while the budget shrinks from all weights to those allowed), `joint.py` (Gauss-Newton steps on the final support) and
`linear.py` (the linear model, where it is ahead).
"""

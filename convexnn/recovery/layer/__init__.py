"""The data of a recovery and one hidden layer on it: fitted on a support, polished, thinned.

In come rows, a target and the weights of a layer; out comes the layer with better weights, or fewer. Start reading in
`problem.py` (the data, with or without a linear function beside the layer) and `hidden_layer.py`.
"""

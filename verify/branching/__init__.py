"""Branch and bound: a question is split at neurons, or its region into boxes, until relaxation answers every part.

In come linear functions of the outputs and the layers' bounds; out come proven upper bounds of the functions, or a
point. Start reading in `tree.py`, which also chooses the neuron to split at; `relaxation.py` bounds a batch of
subproblems in float32 and proves what counts in float64; `leaves.py` solves those without unstable neurons;
`sharpening.py` splits for better bounds of hidden neurons.

Boxes are halved in `box_search.py`, on `boxes.py`; `box_bounds.py` bounds many at once in float64, by `box_layers.py`,
`backward.py`, `lower_slopes.py` and `envelopes.py`; `clipping.py` draws them in.
"""

"""The form in which every network is read: a graph of affine maps and ReLUs, and its layers.

In come arrays that a reader follows (`values.py`: affine functions of the input and of earlier ReLUs), the matrices of
layers (`unrolling.py`, `windows.py`) and piecewise linear functions (`piecewise.py`, by ReLUs alone); out comes a
network of layers (`layering.py`), which carries as few values past a layer as it can (`cuts.py`). Start reading in
`values.py`.
"""

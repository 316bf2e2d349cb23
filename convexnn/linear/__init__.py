"""The linear map A that all programs share, and least squares on its columns.

A takes the weights U (m, d) of m gates to predictions sum_j D_j X u_j, or several outputs of them. In come data and
patterns; out come products with A and its adjoint (`operator.py`), its columns at a support (`columns.py`) and fits on
them (`least_squares.py`), all made a tile at a time so that memory stays bounded.
"""

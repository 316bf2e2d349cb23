"""The linear map A of the programs, U -> ((X U^T) * D) V^T, and least squares on its columns.

In come data and patterns; out come products with A and its adjoint (`operator.py`), its columns at a support
(`columns.py`) and fits on them (`least_squares.py`), all made a tile at a time so that memory stays bounded.
"""

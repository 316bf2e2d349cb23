"""The MILP as arrays, and what is asked of an engine and comes back from it.

`model.py` is the model, `request.py` what is asked beside it, `engine_result.py` what an engine says; `scaling.py`
puts a model into numbers that an engine's absolute tolerances fit. No engine is known here.
"""

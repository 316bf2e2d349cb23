"""The MILP as arrays, what is asked of an engine, and what comes back from it. No engine is known here.

`model.py` is the model, `request.py` what is asked beside it, `engine_result.py` what an engine says. `scaling.py`
puts a model into numbers that an engine's absolute tolerances fit, `early_stop.py` lets it stop at a bound,
`writing.py` writes MPS and LP files.
"""

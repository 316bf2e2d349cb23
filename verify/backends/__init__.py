"""MILP engines, one a file, behind one registry.

In come a model, scaled by `milp/scaling.py`, and a request; out comes what the engine says, never a bound that it did
not prove. Start reading in `registry.py`: which engines there are (SCIP twice: `scip.py` calls pyscipopt,
`mathopt_gscip.py` ortools); `engine_chain.py` says how they are tested before first use, and who is next when one
fails.
"""

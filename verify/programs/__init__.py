"""Programs: branch and bound where each subproblem is a linear program, begun at the corner where the last one ended.

In come one linear function of the outputs and the layers' bounds; out come proven upper bounds of it, or a point. Start
reading in `program_tree.py`; `relaxed.py` is the relaxation, `single_cuts.py` what cuts it off at the root,
`node_program.py` holds it in an engine, and `proofs.py` says what the engine's multipliers prove.
"""

"""Programs: what is asked of the weights, without saying how it is solved.

In come data, patterns, a loss, and a penalty or a budget; out comes a :class:`ConvexProgram` with its objective and
lower bounds. Start reading in `convex_program.py`; `memory.py` states what a run will hold, `support_fit.py` finds the
best weights on a support.
"""

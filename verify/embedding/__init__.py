"""Networks inside the user's own optimisation model: outputs as expressions of the model's variables.

In come a network and variables of cvxpy, MathOpt or gurobipy; out comes an :class:`Embedding`. One package a file;
start reading in `embed.py`.
"""

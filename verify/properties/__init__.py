"""Properties in VNN-LIB: a text becomes boxes of inputs with conditions on the outputs.

In comes a file; out comes a :class:`~verify.properties.property.Property`. In stages: `s_expressions.py` (words and
parentheses), `vnnlib.py` (formulas), `cases.py` (and / or multiplied out).
"""

"""Properties in VNN-LIB: a text becomes boxes of inputs with conditions on the outputs.

In comes a file; out comes a :class:`~verify.properties.property.Property`. In stages: `s_expressions.py` (words and
parentheses), `names.py` (what is declared), `terms.py` and `logic.py` (linear constraints, and / or), `vnnlib.py`
(commands); then `input_box.py`, `polytope.py` (inputs that linear constraints alone bound) and `cases.py` (and / or
multiplied out). `several_networks.py` makes one network of those that a property of VNN-LIB 2.0 compares,
`pass_through.py` has the network of constraints that read inputs and outputs. Start with `vnnlib.py`.
"""

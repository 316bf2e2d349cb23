"""The network over a region as a MILP; over L2 balls with cuts that conic relaxations find.

In come a network, a region and an objective; out comes an :class:`Encoding` around a model. Start reading in
`encode.py`; `outer_approximation.py` lets an engine maximise it, over L2 balls by cuts.
"""

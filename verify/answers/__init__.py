"""Answers: the results that users hold, and what a point or an engine's word must show before it counts.

Results: `answer.py`, `optimum.py`, `property_check.py`, `radius.py`, `evaluation.py`. Evidence: `witness.py` and
`replay.py` for points, `checked_result.py` for what an engine said.
"""

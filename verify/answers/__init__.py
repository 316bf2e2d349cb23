"""Answers: the results that users hold, and what must be shown before a point or an engine's result counts.

Results: `answer.py`, `optimum.py`, `property_check.py`, `radius.py`, `evaluation.py`. Evidence: `witness.py` holds the
rule for points (its part in the original model is `replay.py`), `checked_result.py` that for engines.
"""

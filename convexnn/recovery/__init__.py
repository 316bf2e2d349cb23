"""Recovery with unknown gates: a search over networks with one hidden layer and one output.

In come data, a budget and a width; out comes the Solution of the best network found. Start reading in `recover.py`,
then `course.py` (the starts, and a checkpoint of them), `restarts.py` (the stages of one) and `search.py` (candidates
that perturb the best network, of what is in `candidates/`).
"""

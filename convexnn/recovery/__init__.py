"""Recovery with unknown gates: a search over networks with one hidden layer and one output.

In come data, a budget and a width; out comes the Solution of the best network found. Start reading in `recover.py`,
then `restarts.py` (the course of a run), `search.py` (candidates and what pays) and `rounds.py` (hard thresholding
with gates that follow the weights).
"""

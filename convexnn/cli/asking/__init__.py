"""The commands that ask `verify` about a network: one a file.

In come a network, points or a property; out come a verdict, a bound or a witness, for one point or for many with a line
each. Start with `attack.py`; what the commands share (networks, jobs of a batch, witnesses) is in `questions.py`.
"""

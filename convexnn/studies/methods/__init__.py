"""What the studies hold our methods against: baselines, one-method questions, a textbook MILP.

In comes a network or a task; out come figures of one method, measured alike.
"""

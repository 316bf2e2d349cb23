"""Splitting: the goals of an inquiry proven or met by halving boxes and by splitting neurons, in turns.

In come an inquiry and goals, functions that are to be at least 0 together; out come proven bounds of them, kept in the
goals and the inquiry, or a point that the caller accepts. Start reading in `turns.py`; `schedule.py` says who has how
long. `box_splitting.py` and `neuron_splitting.py` are the two searches, whose kernels are in `verify/branching/`;
`program_splitting.py` splits small networks by linear programs, `settling.py` asks a few of them in larger ones;
`cones.py` cuts space for homogeneous networks. Where a question has workers, `dealt_boxes.py` and `dealt_programs.py`
hand out what is open, in rounds (`verify/crew.py`).
"""

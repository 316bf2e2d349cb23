"""Exit codes: those of all commands, and what each verdict exits with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BAD_INPUT, UNDECIDED, DEFECT, INTERRUPTED = 2, 3, 70, 130

# Of `fit`, by the name of the status: it was cut short, and what it gives is what it had by then.
CUT_SHORT = 4
FIT_CODES = {"TIME_LIMIT": CUT_SHORT, "INTERRUPTED": CUT_SHORT}

# Of the commands that ask `verify`, by the name of what it says.
ATTACK_CODES = {"ROBUST": 0, "COUNTEREXAMPLE": 1, "MISCLASSIFIED": 1, "UNKNOWN": UNDECIDED, "INTERRUPTED": INTERRUPTED}
RADIUS_CODES = {"FOUND": 0, "ROBUST": 0, "MISCLASSIFIED": 1, "LIMIT": UNDECIDED, "UNKNOWN": UNDECIDED}
RADIUS_CODES |= {"INTERRUPTED": INTERRUPTED}
MAXIMIZE_CODES = {"OPTIMAL": 0, "LIMIT": UNDECIDED, "UNKNOWN": UNDECIDED, "INTERRUPTED": INTERRUPTED}
VNNLIB_CODES = {"HOLDS": 0, "VIOLATED": 1, "UNKNOWN": UNDECIDED, "INTERRUPTED": INTERRUPTED}


def worst_code(verdicts: Iterable[str], codes: Mapping[str, int]) -> int:
    """Return the exit code of many verdicts: undecided if any is, else that of an attack or a violation, if any."""
    return max(codes[verdict] for verdict in verdicts)

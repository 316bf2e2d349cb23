"""What a solver raises when a program is of its kind, and this one is still not for it."""


class UnsuitedError(ValueError):
    """The program is too large for the solver's memory limit, or has a property that it cannot do.

    The message names the argument or the property and a solver that can; ``auto`` goes on to the next one.
    """

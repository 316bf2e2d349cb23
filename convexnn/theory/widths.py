"""Widths: how many neurons a network must have before a certificate of a convex program speaks of its optimum."""

from __future__ import annotations

from dataclasses import dataclass

from convexnn.checks import as_count
from convexnn.records import Record
from convexnn.solution import Solution
from convexnn.tables import counting

# Penalties under which the prediction is a convex combination of neurons.
SUMMED = ("group_l1", "l1")


@dataclass(frozen=True)
class WidthNeeded(Record):
    """From which width on a certificate is one of the training optimum.

    Attributes
    ----------
    neurons : int
        Nonzero blocks of the answer: u and v of a gate with cones are a neuron each, and so is every output's.
    enough : int
        (n + 1) k for n rows and k outputs: some optimum over any width has no more neurons.
    lower, upper : float
        The best objective of networks of `neurons` neurons or more is between them.
    patterns : int or None
        How many activation patterns the neurons of these networks may have, all others are left out; None for any.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 2))
    >>> needed = cx.theory.width_needed(cx.global_optimum(X, np.maximum(X[:, 0], 0), strength=0.1))
    >>> needed.covers(needed.neurons), needed.enough, bool(needed.lower <= needed.upper)
    (True, 41, True)
    """

    neurons: int
    enough: int
    lower: float
    upper: float
    patterns: int | None = None

    def covers(self, width: int) -> bool:
        """Return whether the optimum over networks of that many neurons is between the two values."""
        return as_count(width, "width") >= self.neurons

    def __str__(self) -> str:
        held = "" if self.patterns is None else f"of those with the {counting(self.patterns, 'pattern')} held alone: "
        return (
            f"{held}networks of {self.neurons} neurons or more have their best objective between {self.lower:.6g} and "
            f"{self.upper:.6g}; narrower ones are not below {self.lower:.6g}; {self.enough:,} neurons always reach the "
            "optimum over any width"
        )


def width_needed(solution: Solution) -> WidthNeeded:
    """Return from how many neurons on the gap of a solution speaks of the best network of that width.

    Parameters
    ----------
    solution : Solution
        With a gap. From :func:`convexnn.global_optimum`: networks with any patterns; from :func:`convexnn.solve`:
        those whose neurons have the patterns held, in which one block a gate, part and output is one neuron.

    Returns
    -------
    WidthNeeded

    Raises
    ------
    TypeError, ValueError
        It is no Solution, has no gap (a budget, or no penalty), or its penalty is no sum of norms of neurons: only
        group_l1 and l1 are.

    Notes
    -----
    A convex program bounds the objective of networks of every width m from below. It is reached where m is at least
    the number m* of nonzero blocks of a solution (Pilanci and Ergen, ICML 2020, Theorem 1), for spare neurons may be
    zero. The prediction over the penalty of an output is a convex combination of points in n dimensions, one a neuron,
    so that n + 1 of them are enough (Caratheodory) at the same loss and penalty: m* <= (n + 1) k.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 3))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2], 0)
    >>> needed = cx.theory.width_needed(cx.global_optimum(X, y, strength=0.05))
    >>> needed.enough, needed.covers(1), needed.covers(61)
    (61, False, True)
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution is a {type(solution).__name__}; expected a Solution from solve or global_optimum")
    if solution.gap is None:
        raise ValueError("solution has no gap; expected one of a program with a penalty")
    program = solution.program
    if program.penalty is None or program.penalty.name not in SUMMED:
        name = None if program.penalty is None else program.penalty.name
        raise ValueError(f"solution has penalty {name!r}, no sum of norms of neurons; expected {' or '.join(SUMMED)}")
    parts = solution.pair if solution.pair is not None else (solution.weights,)
    blocks = [part.reshape(*part.shape[:2], -1).any(axis=1) for part in parts]
    return WidthNeeded(
        neurons=sum(int(block.sum()) for block in blocks),
        enough=(len(program.rows) + 1) * program.n_outputs,
        lower=max(0.0, solution.objective - solution.gap),
        upper=solution.objective,
        patterns=None if solution.gap_of_patterns is not None else len(program.patterns),
    )

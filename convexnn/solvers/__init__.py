"""Solvers: one algorithm a file, one registry, one entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

from convexnn.checks import as_known
from convexnn.program import ConvexProgram
from convexnn.solution import Solution


@dataclass(frozen=True)
class Solver:
    """Where a solver lives and which programs it can do; its file is imported at first use."""

    module: str
    function: str
    budget: bool

    @property
    def needs(self) -> str:
        """The programs it solves, in words."""
        return "a cardinality program (budget=...)" if self.budget else "a convex program (penalty=..., strength=...)"

    def load(self) -> Callable[..., Solution]:
        """Return the function ``solve(program, **options)``."""
        return getattr(import_module(self.module), self.function)


SOLVERS = {
    "niht": Solver("convexnn.solvers.thresholding", "niht", budget=True),
    "cvxpy": Solver("convexnn.solvers.cvxpy_reference", "reference", budget=False),
}


def solve(program: ConvexProgram, solver: str = "auto", **options: Any) -> Solution:
    """Solve a program.

    Parameters
    ----------
    program : ConvexProgram
        The question.
    solver : {"auto", "niht", "cvxpy"}, default "auto"
        ``niht``: normalised iterative hard thresholding, for budgets. ``cvxpy``: the exact reference, for
        penalties. ``auto``: the one that can.
    **options
        Of the solver: see :func:`convexnn.solvers.thresholding.niht` and
        :func:`convexnn.solvers.cvxpy_reference.reference`.

    Returns
    -------
    Solution
        Always, once the iterations have begun: limits and interruption are a status, not an exception.

    Raises
    ------
    ValueError
        The solver is unknown, or cannot do this program; the message says which can.
    TypeError
        An option that the solver does not have; the message lists those it has.
    """
    if not isinstance(program, ConvexProgram):
        raise TypeError(f"program is a {type(program).__name__}; expected a ConvexProgram")
    is_budget = program.penalty is None
    able = [name for name, entry in SOLVERS.items() if entry.budget == is_budget]
    name = able[0] if as_known(solver, "solver", ("auto", *SOLVERS)) == "auto" else solver
    if name not in able:
        raise ValueError(
            f"solver {name!r} needs {SOLVERS[name].needs}; this program can be solved by: {', '.join(able)}"
        )
    function = SOLVERS[name].load()
    _check_options(name, function, options)
    return function(program, **options)


def _check_options(name: str, function: Callable[..., Solution], options: dict[str, Any]) -> None:
    known = [option for option in signature(function).parameters if option != "program"]
    for option in options:
        if option not in known:
            raise TypeError(f"solver {name!r} has no option {option!r}; it has: {', '.join(known)}")

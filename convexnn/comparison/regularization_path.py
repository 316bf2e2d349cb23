"""Regularization paths: one program solved at a falling sequence of strengths, each from the solution before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_callback, as_count, as_flag, as_floats, as_known, as_nonnegative
from convexnn.program.convex_program import ConvexProgram, as_program
from convexnn.records import RowsRecord
from convexnn.solution import Solution, Status
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.registry import SOLVERS, able_solvers, solve
from convexnn.tables import Table, counting
from convexnn.workers import as_jobs, spread


@dataclass(frozen=True, eq=False, repr=False)
class RegularizationPath(RowsRecord):
    """The solutions of one program at falling strengths.

    Attributes
    ----------
    strengths : ndarray (p,)
        The strengths that were solved, falling; fewer than asked for where the run was interrupted.
    solutions : tuple of Solution
        One a strength; ``solutions[i].program.strength`` is ``strengths[i]``.
    solver : str
        Who solved.
    complete : bool
        Whether every strength asked for was solved: False after an interruption.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> path = cx.regularization_path(program, [0.1, 0.03, 0.01])
    >>> path.strengths.tolist(), [len(solution.live) for solution in path]
    ([0.1, 0.03, 0.01], [3, 4, 5])
    """

    strengths: Floats
    solutions: tuple[Solution, ...]
    solver: str
    complete: bool

    def __len__(self) -> int:
        return len(self.solutions)

    def __iter__(self) -> Iterator[Solution]:
        return iter(self.solutions)

    def __getitem__(self, index: int) -> Solution:
        return self.solutions[index]

    @property
    def iterations(self) -> int:
        """Iterations of all solutions together."""
        return sum(solution.iterations for solution in self.solutions)

    @property
    def seconds(self) -> float:
        """Seconds of all solutions together."""
        return sum(solution.seconds for solution in self.solutions)

    @property
    def table(self) -> Table:
        """One row a strength, for ``table.to_markdown()`` and ``table.to_latex()``."""
        header = ("strength", "objective", "loss", "gap", "nonzeros", "gates", "iterations", "seconds", "status")
        return Table.of(header, [_cells(solution) for solution in self.solutions])

    def _rows(self) -> list[dict[str, Any]]:
        return [_row(solution) for solution in self.solutions]

    def __repr__(self) -> str:
        return f"<{self.solver}: {self._total}>"

    def __str__(self) -> str:
        if not self.solutions:
            return f"{self.solver}: interrupted before the first strength was solved"
        end = "" if self.complete else "; interrupted"
        return f"{self.solver}: {_question(self.solutions[0].program)}\n{self.table.to_text()}\n{self._total}{end}"

    @property
    def _total(self) -> str:
        sizes = counting(len(self), "strength"), counting(self.iterations, "iteration")
        return f"{', '.join(sizes)}, {self.seconds:.2f} s"


def regularization_path(
    program: ConvexProgram,
    strengths: ArrayLike | None = None,
    *,
    n_strengths: int = 20,
    ratio: float = 1e-3,
    solver: str = "auto",
    warm: bool = True,
    callback: Callable[[Solution], None] | None = None,
    n_jobs: int | None = None,
    **options: Any,
) -> RegularizationPath:
    """Solve a program at falling strengths, each from the solution before.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty other than ``none``; its own strength plays no part.
    strengths : array_like (p,), optional
        Finite and above 0; solved from the largest to the smallest, whatever their order. Default: `n_strengths` in
        geometric steps from :func:`strength_max` down to `ratio` times that.
    n_strengths : int, default 20
        Number of strengths, at least 2; not used where they are given.
    ratio : float, default 1e-3
        Smallest strength over the largest, above 0 and below 1; not used where they are given.
    solver : str, default "auto"
        A solver of :func:`convexnn.solve`; ``auto``: its first choice. ``admm`` and ``fista`` start from the solution
        before; ``interior_point``, still the fastest with cones, and ``cvxpy`` solve each program from scratch.
    warm : bool, default True
        Whether a solver that takes ``start`` begins at the solution before.
    callback : callable, optional
        Called with each :class:`convexnn.Solution`; KeyboardInterrupt in it ends the path.
    n_jobs : int, optional
        Strengths at a time, a process each, -1 for one a core; default what ``joblib.parallel_config`` says around
        this call (so that Dask or Ray may serve), or one. Several need ``warm=False``: a solution that another begins
        at is to be there before. Without it they are solved one after another, here.
    **options
        Of the solver, the same for every strength, such as ``tolerance``; ``time_limit`` is one strength's.

    Returns
    -------
    RegularizationPath
        After an interruption, with what was solved until then: a solution that the interruption cut short is left out.

    Raises
    ------
    ValueError
        The program has a budget or penalty ``none``, or no :func:`strength_max` where `strengths` are left out; or
        the solver cannot do the program; or `n_jobs` is more than 1 with warm starts.
    OSError
        A strength killed its worker process, or the cluster has gone.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> path = cx.regularization_path(program, n_strengths=5)
    >>> len(path), path.complete, path[0].nnz, bool(path[4].objective < path[0].objective)
    (5, True, 0, True)
    """
    as_program(program)
    if program.budget is not None or program.penalty is None or program.penalty.name == "none":
        kind = "penalty 'none'" if program.budget is None else "a budget"
        raise ValueError(f"program has {kind}; a path needs a penalty with a strength")
    as_callback(callback)
    falling = _falling(program, strengths, n_strengths, ratio)
    names = _candidates(program.with_strength(falling[0]), solver)
    if as_flag(warm, "warm") and as_jobs(n_jobs) not in (None, 1):
        raise ValueError(f"n_jobs is {n_jobs} with warm=True; expected warm=False: each start waits for the one before")
    solutions: list[Solution] = []
    programs = [program.with_strength(float(strength)) for strength in falling]
    answers = _in_turn(programs, names, options) if warm else _spread(programs, names, options, n_jobs)
    try:
        for solution in answers:
            if solution.status is Status.INTERRUPTED:
                break
            solutions.append(solution)
            if callback is not None:
                callback(solution)
    except KeyboardInterrupt:
        pass  # what has been solved is the answer, and says that it is not complete
    done = len(solutions)
    used = next((name for name in names if solutions and solutions[-1].solver.startswith(name)), names[0])
    return RegularizationPath(falling[:done], tuple(solutions), used, done == len(falling))


def strength_max(program: ConvexProgram) -> float:
    """Return the smallest strength at which zero weights are optimal.

    Zero weights are optimal where 0 is in A^T dL/dp(0) + strength dR(0), so it is the dual norm of the slope
    A^T theta, theta = -dL/dp(0): the largest ||X^T D_j theta||_2 over the gates for group_l1, the largest entry for
    l1. With cones it is the dual norm of the slope's nearest point in the cones: the smallest strength for group_l1;
    for l1 and feature_l1 one at which zero weights are optimal, and there can be smaller ones.

    Parameters
    ----------
    program : ConvexProgram
        With penalty group_l1, feature_l1 or l1; its own strength plays no part.

    Returns
    -------
    float
        In the units of the strength; 0 where zero weights are optimal without a penalty.

    Raises
    ------
    ValueError
        The program has a budget, or penalty ``ridge`` or ``none``: no strength makes zero weights optimal there.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> largest = cx.strength_max(program)
    >>> [cx.solve(program.with_strength(share * largest)).nnz > 0 for share in (1.01, 0.5)]
    [False, True]
    """
    as_program(program)
    if program.penalty is None or program.penalty.name in ("ridge", "none"):
        kind = "a budget" if program.penalty is None else f"penalty {program.penalty.name!r}"
        raise ValueError(f"program has {kind}, for which there is no largest strength; expected strengths to be given")
    from convexnn.program.neurons import NeuronOperator
    from convexnn.solvers.common.certificate import cone_slope

    theta = -program.loss.gradient(np.zeros_like(program.targets), program.targets)
    return program.penalty.dual_norm(cone_slope(program, NeuronOperator(program), theta))


def _falling(program: ConvexProgram, strengths: ArrayLike | None, n_strengths: int, ratio: float) -> Floats:
    """Return the strengths, largest first."""
    if strengths is not None:
        given = as_floats(strengths, "strengths", 1, "a vector of numbers above 0")
        if given.size == 0 or given.min() <= 0.0:
            smallest = f"holds {given.min():g}" if given.size else "is empty"
            raise ValueError(f"strengths {smallest}; expected a vector of numbers above 0")
        return np.sort(given)[::-1]
    count = as_count(n_strengths, "n_strengths", at_least=2)
    if not 0.0 < as_nonnegative(ratio, "ratio") < 1.0:
        raise ValueError(f"ratio is {ratio}; expected a number above 0 and below 1")
    largest = strength_max(program)
    if largest == 0.0:
        raise ValueError("program has zero weights as optimum at every strength; expected a target that X can explain")
    return np.geomspace(largest, ratio * largest, count)


def _in_turn(programs: Sequence[ConvexProgram], names: list[str], options: dict[str, Any]) -> Iterator[Solution]:
    """Yield solutions that begin at the one before."""
    last: Solution | None = None
    for program in programs:
        last = _solved(program, names, last, options)
        yield last


def _spread(
    programs: Sequence[ConvexProgram], names: list[str], options: dict[str, Any], n_jobs: int | None
) -> Iterator[Solution]:
    """Yield solutions that begin at nothing, each of which another worker may have found."""
    asked = [(program, names.copy(), None, options) for program in programs]
    yield from (solution for _, solution in spread(_solved, asked, n_jobs, ordered=True))


def _candidates(program: ConvexProgram, solver: str) -> list[str]:
    """Return the solvers to try in turn: the one asked for, or all that can, those of `auto` in its order."""
    return [solver] if as_known(solver, "solver", ("auto", *SOLVERS)) != "auto" else able_solvers(program)


def _solved(program: ConvexProgram, names: list[str], start: Solution | None, options: dict[str, Any]) -> Solution:
    """Return the solution of the first solver that the program suits; those before it leave the list."""
    while True:
        carried = {} if start is None or "start" not in SOLVERS[names[0]].options else {"start": start}
        try:
            return solve(program, names[0], **carried | options)
        except UnsuitedError:
            if len(names) == 1:
                raise
            names.pop(0)


def _question(program: ConvexProgram) -> str:
    assert program.penalty is not None
    cones = " in ReLU cones" if program.cone else ""
    return f"{program.loss.name} loss + strength * {program.penalty.name}, {program.n_weights} weights{cones}"


def _row(solution: Solution) -> dict[str, Any]:
    names = ("objective", "loss", "gap", "nonzeros", "gates", "iterations", "seconds", "status")
    of_it = (solution.nnz, len(solution.live), solution.iterations, solution.seconds, solution.status)
    values = (solution.objective, _loss(solution), solution.gap, *of_it)
    return {"strength": solution.program.strength, **dict(zip(names, values, strict=True))}


def _loss(solution: Solution) -> float:
    program = solution.program
    return program.loss.value(solution.predict(program.X).reshape(program.targets.shape), program.targets)


def _cells(solution: Solution) -> tuple[str, ...]:
    return (
        f"{solution.program.strength:.3e}",
        f"{solution.objective:.6g}",
        f"{_loss(solution):.6g}",
        "" if solution.gap is None else f"{solution.gap:.1e}",
        f"{solution.nnz}",
        f"{len(solution.live)}",
        f"{solution.iterations}",
        f"{solution.seconds:.2f}",
        solution.status.name.lower().replace("_", " "),
    )

"""Cross-checks: one program by every solver that can do it, side by side, with what each one proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexnn.checks import as_callback, as_flag, as_known, as_nonnegative
from convexnn.comparison.agreement import (
    agreement_verdict,
    best_result,
    objective_spread,
    reference_solver,
    solvers_agree,
)
from convexnn.comparison.metrics import score_name
from convexnn.comparison.result_table import COLUMNS, MODELS, PAPER, SOLVED, result_table
from convexnn.comparison.solver_result import COUNTED, SolverResult, counted_support, measured, support_agreement
from convexnn.program.convex_program import ConvexProgram, as_program
from convexnn.records import RowsRecord, plain
from convexnn.solution import TOLERANCE, Status
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.registry import SOLVERS, able_solvers, solve
from convexnn.tables import Table, counting, write_csv
from convexnn.workers import as_jobs, spread

Options = Mapping[str, Mapping[str, Any]]

_NOT_RUN = "Not run: the cross-check was interrupted before it."

# The solvers agree within this many times the tolerance they were asked for, and at least within this share of the
# loss at zero weights.
AGREE_TIMES, AGREE_LEAST = 10.0, 1e-5


@dataclass(frozen=True, eq=False, repr=False)
class Crosscheck(RowsRecord):
    """Every solver's answer to one program.

    Attributes
    ----------
    program : ConvexProgram
        The question.
    rows : tuple of SolverResult
        One a solver: in the order asked; for budgets by objective, the lowest first.
    reference : str or None
        The solver whose support the others are held against: ``exact`` or ``cvxpy`` where converged, else the lowest
        objective among the converged, else among all; None where no solver gave an answer.
    counted : float
        Share of the largest contribution above which a weight counts as one of the support.
    tolerance : float
        Goal of the gap that the solvers were asked for, as a share of the loss at zero weights.
    interrupted : bool
        Whether the run was interrupted before every solver was through.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> check = cx.crosscheck(program, ["admm", "fista"])
    >>> check.agree(), [row.solver for row in check.rows]
    (True, ['admm', 'fista'])
    """

    program: ConvexProgram
    rows: tuple[SolverResult, ...]
    reference: str | None
    counted: float = COUNTED
    tolerance: float = TOLERANCE
    interrupted: bool = False

    def __getitem__(self, solver: str) -> SolverResult:
        """Return the row of a solver; a KeyError where it was not asked."""
        return {row.solver: row for row in self.rows}[solver]

    @property
    def best(self) -> SolverResult | None:
        """The row with the lowest objective, inside the cones if there are any; None where no solver gave an answer."""
        return best_result(self.rows)

    @property
    def spread(self) -> float | None:
        """The worst converged objective less the best of all, over the loss at zero; None where none converged."""
        return objective_spread(self.program, self.rows)

    def agree(self, within: float | None = None) -> bool:
        """Whether the solvers agree, `within` a share of the loss at zero weights; default :attr:`within`.

        Convex programs: at least one converged, and every converged objective is that close to the best one, of
        whichever solver. Budgets, whose solvers are heuristics and need not agree: at least one gave an answer, and
        none lies below the lower bound that another proved.
        """
        allowed = self.within if within is None else as_nonnegative(within, "within")
        return solvers_agree(self.program, self.rows, allowed)

    @property
    def within(self) -> float:
        """max(1e-5, 10 * tolerance): the share of the loss at zero weights that agreement is judged at."""
        return max(AGREE_LEAST, AGREE_TIMES * self.tolerance)

    @property
    def verdict(self) -> str:
        """One sentence: how far the objectives lie apart, or who found the lowest; NOT where :meth:`agree` is False."""
        return agreement_verdict(self.program, self.rows, self.within)

    @property
    def table(self) -> Table:
        """All columns as text; those that are empty for every solver are left out."""
        return self._table(tuple(COLUMNS))

    def to_markdown(self, columns: Sequence[str] = PAPER) -> str:
        """Return a Markdown table of some columns, one row an answer; an unknown one is a ValueError that lists all.

        Columns are named as in :data:`convexnn.comparison.result_table.COLUMNS`, as printed (``R2``) or as in
        :class:`convexnn.comparison.solver_result.SolverResult` (``network_fit``).
        """
        return self._table(columns).to_markdown()

    def to_latex(self, columns: Sequence[str] = PAPER) -> str:
        """Return a LaTeX tabular (package booktabs) of some columns, as :meth:`to_markdown`."""
        return self._table(columns).to_latex()

    def to_csv(self, path: str | Path) -> Path:
        """Write every figure of every row in full precision, and return the path."""
        header = [item.name for item in fields(SolverResult) if item.name != "solution"]
        return write_csv(path, header, [[row.figures[name] for name in header] for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Return the question, the rows and the verdict in the words of JSON."""
        told = {
            "program": str(self.program),
            "zero_loss": self.program.zero_loss,
            "reference": self.reference,
            "best": None if self.best is None else self.best.solver,
            "spread": self.spread,
            "within": self.within,
            "agree": self.agree(),
            "interrupted": self.interrupted,
            "verdict": self.verdict,
            "rows": self._rows(),
        }
        return {name: plain(value) for name, value in told.items()}

    def _rows(self) -> list[dict[str, Any]]:
        return [row.figures for row in self.rows]

    def _table(self, columns: Sequence[str]) -> Table:
        return result_table(self.rows, columns, score_name(self.program.loss))

    @property
    def _scale(self) -> str:
        """What relative gaps are relative to, where there are any."""
        if all(row.gap is None for row in self.rows):
            return ""
        return f" The loss at zero weights, which gaps are relative to, is {self.program.zero_loss:.6g}."

    def __repr__(self) -> str:
        return f"<{counting(len(self.rows), 'solver')}: {self.verdict}>"

    def __str__(self) -> str:
        lines = [str(self.program), ""]
        if self.best is not None:
            lines += [
                self._table(SOLVED).to_text(),
                "",
                self._table(MODELS).to_text(),
                "",
            ]
        lines += [f"{row.solver}: {row.reason}" for row in self.rows if row.reason is not None]
        if self.reference is not None:
            lines += [
                f"Support: weights whose contribution |w| * ||column|| is above {self.counted:g} of the largest; "
                "precision and",
                f"recall are against {self.reference}.{self._scale}",
            ]
        return "\n".join([*lines, self.verdict])


def crosscheck(
    program: ConvexProgram,
    solvers: Sequence[str] | None = None,
    *,
    tolerance: float = TOLERANCE,
    time_limit: float | None = None,
    options: Options | None = None,
    counted: float = COUNTED,
    mapped: bool = True,
    callback: Callable[[SolverResult], None] | None = None,
    n_jobs: int | None = None,
) -> Crosscheck:
    """Solve one program by several solvers and hold their answers against each other.

    Parameters
    ----------
    program : ConvexProgram
        The question.
    solvers : sequence of str, optional
        Names of :data:`convexnn.solvers.registry.SOLVERS`; default all that can do the program. One that cannot, whose
        package is absent or for which the program is too large gets a row that says so.
    tolerance : float, default 1e-6
        Goal of the gap, as a share of the loss at zero weights, for the solvers that take one. Agreement is judged at
        max(1e-5, 10 * tolerance) of that loss.
    time_limit : float, optional
        Seconds of each solver's iterations, for those that take a limit (``cvxpy`` does not). Default: the solver's
        own, a minute for ``exact`` and ``stable_iht``, none for the others.
    options : mapping, optional
        Further options by solver, such as ``{"cvxpy": {"engine": "SCS"}}``; they take precedence.
    counted : float, default 1e-4
        A weight counts as one of the support where its contribution |w| * ||column|| is above this share of the
        solution's largest, below 1: interior points do not end at zeros.
    mapped : bool, default True
        Whether the solutions are mapped to ReLU networks and these measured; on many rows that takes longer than the
        solve.
    callback : callable, optional
        Called with a :class:`convexnn.comparison.solver_result.SolverResult` after each solver, before supports are
        compared; KeyboardInterrupt in it ends the run.
    n_jobs : int, optional
        Solvers at a time, a process each, -1 for one a core; default what ``joblib.parallel_config`` says around this
        call (so that Dask or Ray may serve), or one. Seconds are then those of solvers that share the machine.

    Returns
    -------
    Crosscheck
        An interruption ends the solver that runs, and those after it are not run.

    Raises
    ------
    ValueError
        A solver is unknown or named twice, or an option is out of range.
    TypeError
        An option that the solver does not have.
    OSError
        A solver killed its worker process, or the cluster has gone.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 5, seed=0), budget=2)
    >>> check = cx.crosscheck(program, ["niht", "exact"])
    >>> check.best.solver, check.agree()
    ('exact', True)
    """
    as_program(program)
    names = asked_solvers(program, solvers)
    for name in options or {}:
        as_known(name, "options for solver", SOLVERS)
    if as_nonnegative(counted, "counted") >= 1.0:
        raise ValueError(f"counted is {counted}; expected a number of at least 0 and below 1")
    as_flag(mapped, "mapped")
    common: dict[str, Any] = {"tolerance": tolerance} | ({} if time_limit is None else {"time_limit": time_limit})
    as_nonnegative(tolerance, "tolerance")
    as_callback(callback)
    asked = [(program, name, common, dict((options or {}).get(name, {})), mapped) for name in names]
    rows, interrupted = _answers(asked, as_jobs(n_jobs), callback)
    rows += [SolverResult(name, _NOT_RUN) for name in names[len(rows) :]]
    reference = reference_solver(rows)
    compared = _compared(program, rows, reference, counted)
    if program.budget is not None:
        compared.sort(key=lambda row: (row.objective is None, row.objective))
    return Crosscheck(program, tuple(compared), reference, counted, tolerance, interrupted)


def _answers(
    asked: Sequence[tuple[Any, ...]], n_jobs: int | None, callback: Callable[[SolverResult], None] | None
) -> tuple[list[SolverResult], bool]:
    """Return the rows of the solvers, up to one that was interrupted, and whether one was."""
    rows: list[SolverResult] = []
    try:
        for _, row in spread(_solved, asked, n_jobs, ordered=True):
            rows.append(row)
            if callback is not None:
                callback(row)
            if row.status is Status.INTERRUPTED:
                return rows, True
    except KeyboardInterrupt:
        return rows, True
    return rows, False


def asked_solvers(program: ConvexProgram, solvers: Sequence[str] | None) -> list[str]:
    """Return the names of the solvers, all that can do the program for None; an unknown or double one is refused."""
    if solvers is None:
        return able_solvers(program)
    given = [solvers] if isinstance(solvers, str) else list(solvers)
    names = [as_known(name, "solver", SOLVERS) for name in given]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"solvers are {given}; expected at least one name, each once")
    return names


def _solved(
    program: ConvexProgram, name: str, common: Mapping[str, Any], own: Mapping[str, Any], mapped: bool
) -> SolverResult:
    """Return a solver's figures, or why there are none; of the `common` options it gets those it has."""
    entry, began = SOLVERS[name], perf_counter()
    if not entry.can(program):
        return SolverResult(name, f"Not for this program: it needs {entry.needs}.")
    try:
        taken = {option: value for option, value in common.items() if option in entry.options}
        solution = solve(program, name, **taken | dict(own))
        reason = None if solution.status.complete else solution.ending
        return measured(SolverResult(name, reason, solution.status, solution=solution), mapped)
    except (ImportError, UnsuitedError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
        return SolverResult(name, " ".join(str(error).split()) or type(error).__name__)
    except KeyboardInterrupt:
        reason = "Interrupted, without an answer."
        return SolverResult(name, reason, Status.INTERRUPTED, seconds=perf_counter() - began)


def _compared(
    program: ConvexProgram, rows: Sequence[SolverResult], reference: str | None, counted: float
) -> list[SolverResult]:
    """Return the rows with their supports measured against the reference's."""
    if reference is None:
        return list(rows)
    from convexnn.program.neurons import NeuronOperator, to_numpy

    norms = to_numpy(NeuronOperator(program).patterns.column_norms())
    supports = {row.solver: counted_support(row.solution, norms, counted) for row in rows if row.solution is not None}
    return [
        replace(row, **support_agreement(supports[row.solver], supports[reference])) if row.solver in supports else row
        for row in rows
    ]

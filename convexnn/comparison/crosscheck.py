"""Cross-checks: one program by every solver that can do it, side by side, with what each one proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexnn.checks import as_flag, as_known, as_nonnegative
from convexnn.comparison.metrics import score_name
from convexnn.comparison.solver_row import COLUMNS, COUNTED, Row, agreement, counted_support, measured
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import TOLERANCE, Status
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.registry import SOLVERS, able_solvers, solve
from convexnn.tables import Table, counting, write_csv

Options = Mapping[str, Mapping[str, Any]]
# Solvers that prove their optimum, in the order in which they are taken as reference.
PROVEN = ("exact", "cvxpy")

# What a paper would print of the columns of the table.
PAPER = ("solver", "objective", "gap", "support", "precision", "recall", "fit", "network fit", "seconds")


# The two tables of the text: how the program was solved, and what the models are.
_SOLVED = ("solver", "objective", "gap", "relative gap", "residual", "violation")
_SOLVED_TOO = ("nonzeros", "gates", "iterations", "seconds", "status")
_MODELS = ("solver", "support", "precision", "recall", "loss", "fit")
_MODELS_TOO = ("network loss", "network fit", "mapping error", "neurons")

_NOT_RUN = "Not run: the cross-check was interrupted before it."

# The solvers agree within this many times the tolerance they were asked for, and at least within this share of the
# loss at zero weights.
AGREE_TIMES, AGREE_LEAST = 10.0, 1e-5


@dataclass(frozen=True, eq=False, repr=False)
class Crosscheck:
    """Every solver's answer to one program.

    Attributes
    ----------
    program : ConvexProgram
        The question.
    rows : tuple of Row
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
    """

    program: ConvexProgram
    rows: tuple[Row, ...]
    reference: str | None
    counted: float = COUNTED
    tolerance: float = TOLERANCE
    interrupted: bool = False

    def __getitem__(self, solver: str) -> Row:
        """Return the row of a solver; a KeyError where it was not asked."""
        return {row.solver: row for row in self.rows}[solver]

    @property
    def best(self) -> Row | None:
        """The row with the lowest objective, inside the cones if there are any; None where no solver gave an answer."""
        answers = [row for row in self.rows if row.feasible]
        return min(answers, key=lambda row: row.objective or 0.0, default=None)

    @property
    def spread(self) -> float | None:
        """The worst converged objective less the best of all, over the loss at zero; None where none converged."""
        converged = [row.objective for row in self.rows if row.converged and row.objective is not None]
        if not converged or self.best is None or self.best.objective is None:
            return None
        return (max(converged) - self.best.objective) / self.program.zero_loss

    def agree(self, within: float | None = None) -> bool:
        """Whether the solvers agree, `within` a share of the loss at zero weights; default :attr:`within`.

        Convex programs: at least one converged, and every converged objective is that close to the best one, of
        whichever solver. Budgets, whose solvers are heuristics and need not agree: at least one gave an answer, and
        none lies below the lower bound that another proved.
        """
        allowed = self.within if within is None else as_nonnegative(within, "within")
        if self.best is None or self._undercut(allowed) is not None:
            return False
        return self.program.budget is not None or (self.spread is not None and self.spread <= allowed)

    @property
    def within(self) -> float:
        """max(1e-5, 10 * tolerance): the share of the loss at zero weights that agreement is judged at."""
        return max(AGREE_LEAST, AGREE_TIMES * self.tolerance)

    @property
    def verdict(self) -> str:
        """One sentence: how far the objectives lie apart, or who found the lowest; NOT where :meth:`agree` is False."""
        best, bound = self.best, self._undercut(self.within)
        if best is None:
            return "NOT solved: no solver gave an answer."
        lowest = f"the lowest objective is {best.objective:.6g}, by {best.solver}"
        if bound is not None:
            return f"The solvers do NOT agree: {lowest}, below the bound that {bound.solver} proved."
        if self.program.budget is not None:
            proof = "" if best.gap is None else f", proven to {best.gap:.2g}"
            return f"T{lowest[1:]}{proof}."
        return f"NOT converged: {lowest}." if self.spread is None else self._distance(self.spread)

    def _distance(self, spread: float) -> str:
        """Say how far above the best objective the converged end, in a convex program with at least one."""
        done = [row for row in self.rows if row.converged]
        apart = f"within {spread:.1e} of the best objective, as a share of the loss at zero"
        if spread > self.within:
            subject = (
                f"{done[0].solver} alone converged, and ends" if len(done) == 1 else "the solvers that converged end"
            )
            return f"NOT in agreement to {self.within:.1e}: {subject} {apart}."
        if len(done) > 1:
            return f"All {len(done)} solvers that converged end {apart}."
        proof = "with no bound to hold it against" if done[0].gap is None else f"with a proven gap of {done[0].gap:.1e}"
        return f"Only {done[0].solver} converged, at {done[0].objective:.6g}, {proof}."

    def _undercut(self, allowed: float) -> Row | None:
        """Return a row whose proven bound the best objective lies below, by more than is `allowed`; None if none."""
        if self.best is None or self.best.objective is None:
            return None
        floor = self.best.objective + allowed * self.program.zero_loss
        bounds = [
            (row, row.objective - row.gap) for row in self.rows if row.objective is not None and row.gap is not None
        ]
        return next((row for row, bound in bounds if bound > floor), None)

    @property
    def table(self) -> Table:
        """All columns as text; those that are empty for every solver are left out."""
        return self._table(tuple(COLUMNS))

    def to_markdown(self, columns: Sequence[str] = PAPER) -> str:
        """Return a Markdown table of some columns, one row an answer; an unknown one is a ValueError that lists all.

        Columns are named as in :data:`convexnn.comparison.solver_row.COLUMNS`, as printed (``R2``) or as in ``Row``
        (``network_fit``).
        """
        return self._table(columns).to_markdown()

    def to_latex(self, columns: Sequence[str] = PAPER) -> str:
        """Return a LaTeX tabular (package booktabs) of some columns, as :meth:`to_markdown`."""
        return self._table(columns).to_latex()

    def to_csv(self, path: str | Path) -> Path:
        """Write every figure of every row in full precision, and return the path."""
        header = [item.name for item in fields(Row) if item.name != "solution"]
        return write_csv(path, header, [[row.figures[name] for name in header] for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Return the question, the rows and the verdict for machines."""
        return {
            "program": str(self.program),
            "zero_loss": self.program.zero_loss,
            "reference": self.reference,
            "best": None if self.best is None else self.best.solver,
            "spread": self.spread,
            "within": self.within,
            "agree": self.agree(),
            "interrupted": self.interrupted,
            "verdict": self.verdict,
            "rows": [row.figures for row in self.rows],
        }

    def _table(self, columns: Sequence[str]) -> Table:
        chosen = [self._column(name) for name in ([columns] if isinstance(columns, str) else columns)]
        answers = [row for row in self.rows if row.objective is not None]
        header = [column.replace("fit", score_name(self.program.loss)) for column in chosen]
        return Table.of(header, [[COLUMNS[column](row) for column in chosen] for row in answers])

    def _column(self, name: str) -> str:
        """Return the key in COLUMNS of a name: the key itself, the title as printed, or the field of a row."""
        words = name.replace("_", " ") if isinstance(name, str) else name
        known = {column.replace("fit", score_name(self.program.loss)): column for column in COLUMNS}
        return known[words] if words in known else as_known(words if words in COLUMNS else name, "column", COLUMNS)

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
                self._table(_SOLVED + _SOLVED_TOO).to_text(),
                "",
                self._table(_MODELS + _MODELS_TOO).to_text(),
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
    callback: Callable[[Row], None] | None = None,
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
        Called with a :class:`Row` after each solver, before supports are compared; KeyboardInterrupt in it ends the
        run.

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
    """
    if not isinstance(program, ConvexProgram):
        raise TypeError(f"program is a {type(program).__name__}; expected a ConvexProgram")
    names = asked_solvers(program, solvers)
    for name in options or {}:
        as_known(name, "options for solver", SOLVERS)
    if as_nonnegative(counted, "counted") >= 1.0:
        raise ValueError(f"counted is {counted}; expected a number of at least 0 and below 1")
    as_flag(mapped, "mapped")
    common: dict[str, Any] = {"tolerance": tolerance} | ({} if time_limit is None else {"time_limit": time_limit})
    as_nonnegative(tolerance, "tolerance")
    rows: list[Row] = []
    interrupted = False
    for name in names:
        if interrupted:
            rows.append(Row(name, _NOT_RUN))
            continue
        rows.append(_row(program, name, common, (options or {}).get(name, {}), mapped))
        interrupted = _interrupts(callback, rows[-1]) or rows[-1].status is Status.INTERRUPTED
    reference = _reference(rows)
    compared = _compared(program, rows, reference, counted)
    if program.budget is not None:
        compared.sort(key=lambda row: (row.objective is None, row.objective))
    return Crosscheck(program, tuple(compared), reference, counted, tolerance, interrupted)


def _interrupts(callback: Callable[[Row], None] | None, row: Row) -> bool:
    """Hand a row to the callback, if there is one, and return whether that interrupted the run."""
    try:
        if callback is not None:
            callback(row)
    except KeyboardInterrupt:
        return True
    return False


def asked_solvers(program: ConvexProgram, solvers: Sequence[str] | None) -> list[str]:
    """Return the names of the solvers, all that can do the program for None; an unknown or double one is refused."""
    if solvers is None:
        return able_solvers(program)
    given = [solvers] if isinstance(solvers, str) else list(solvers)
    names = [as_known(name, "solver", SOLVERS) for name in given]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"solvers are {given}; expected at least one name, each once")
    return names


def _row(program: ConvexProgram, name: str, common: Mapping[str, Any], own: Mapping[str, Any], mapped: bool) -> Row:
    """Return a solver's row: its figures, or why there are none; of the `common` options it gets those it has."""
    entry, began = SOLVERS[name], perf_counter()
    if not entry.can(program):
        return Row(name, f"Not for this program: it needs {entry.needs}.")
    try:
        taken = {option: value for option, value in common.items() if option in entry.options}
        solution = solve(program, name, **taken | dict(own))
        reason = None if solution.status is Status.CONVERGED else solution.ending
        return measured(Row(name, reason, solution.status, solution=solution), mapped)
    except (ImportError, UnsuitedError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
        return Row(name, " ".join(str(error).split()) or type(error).__name__)
    except KeyboardInterrupt:
        return Row(name, "Interrupted, without an answer.", Status.INTERRUPTED, seconds=perf_counter() - began)


def _reference(rows: Sequence[Row]) -> str | None:
    """Return the solver that the others are held against."""
    done = [row for row in rows if row.converged]
    for name in PROVEN:
        if any(row.solver == name for row in done):
            return name
    answers = done or [row for row in rows if row.feasible] or [row for row in rows if row.objective is not None]
    return min(answers, key=lambda row: row.objective or 0.0).solver if answers else None


def _compared(program: ConvexProgram, rows: Sequence[Row], reference: str | None, counted: float) -> list[Row]:
    """Return the rows with their supports measured against the reference's."""
    if reference is None:
        return list(rows)
    from convexnn.program.neurons import NeuronOperator, to_numpy

    norms = to_numpy(NeuronOperator(program).patterns.column_norms())
    supports = {row.solver: counted_support(row.solution, norms, counted) for row in rows if row.solution is not None}
    return [
        replace(row, **agreement(supports[row.solver], supports[reference])) if row.solver in supports else row
        for row in rows
    ]

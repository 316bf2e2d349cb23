"""The table of a cross-check: which columns there are, what stands in them, and by which names they go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convexnn.checks import as_known
from convexnn.comparison.solver_result import SolverResult
from convexnn.tables import Table

# What a paper would print of the columns.
PAPER = ("solver", "objective", "gap", "support", "precision", "recall", "fit", "network fit", "seconds")

# The two tables of the text: how the program was solved, and what the models are.
SOLVED = (
    *("solver", "objective", "gap", "relative gap", "residual", "violation"),
    *("nonzeros", "gates", "iterations", "seconds", "status"),
)
MODELS = (
    *("solver", "support", "precision", "recall", "loss", "fit"),
    *("network loss", "network fit", "mapping error", "neurons"),
)


def _cell(name: str, form: str) -> Callable[[SolverResult], str]:
    def text(result: SolverResult) -> str:
        value = getattr(result, name)
        return "" if value is None else format(value, form)

    return text


# Title of each column, with what stands in it; "fit" is the name of the score in the titles.
COLUMNS: dict[str, Callable[[SolverResult], str]] = {
    "solver": lambda result: result.solver,
    "objective": _cell("objective", ".8g"),
    "gap": _cell("gap", ".1e"),
    "relative gap": _cell("relative_gap", ".1e"),
    "residual": _cell("residual", ".1e"),
    "violation": _cell("violation", ".1e"),
    "nonzeros": _cell("nonzeros", ",d"),
    "gates": _cell("gates", ",d"),
    "iterations": _cell("iterations", ",d"),
    "seconds": _cell("seconds", ".2f"),
    "status": lambda result: "" if result.status is None else result.status.name.lower().replace("_", " "),
    "support": _cell("support", ",d"),
    "precision": _cell("precision", ".3f"),
    "recall": _cell("recall", ".3f"),
    "loss": _cell("loss", ".5g"),
    "fit": _cell("fit", ".4f"),
    "network loss": _cell("network_loss", ".5g"),
    "network fit": _cell("network_fit", ".4f"),
    "mapping error": _cell("mapping_error", ".1e"),
    "network nonzeros": _cell("network_nonzeros", ",d"),
    "neurons": _cell("neurons", ",d"),
}


def result_table(results: Sequence[SolverResult], columns: Sequence[str] | str, score: str) -> Table:
    """Return some columns of the results that are answers, but those that are empty for all; `score` is what fit is."""
    chosen = [_column(name, score) for name in ([columns] if isinstance(columns, str) else columns)]
    answers = [result for result in results if result.objective is not None]
    header = [column.replace("fit", score) for column in chosen]
    return Table.of(header, [[COLUMNS[column](result) for column in chosen] for result in answers])


def _column(name: str, score: str) -> str:
    """Return the key in COLUMNS of a name: the key itself, the title as printed, or the field of a result."""
    words = name.replace("_", " ") if isinstance(name, str) else name
    known = {column.replace("fit", score): column for column in COLUMNS}
    return known[words] if words in known else as_known(words if words in COLUMNS else name, "column", COLUMNS)

"""Whether the solvers of a cross-check agree: the best answer, the reference, how far apart the objectives lie."""

from __future__ import annotations

from collections.abc import Sequence

from convexnn.comparison.solver_result import SolverResult
from convexnn.program.convex_program import ConvexProgram

# Solvers that prove their optimum, in the order in which they are taken as reference.
PROVEN = ("exact", "cvxpy")

Results = Sequence[SolverResult]


def best_result(results: Results) -> SolverResult | None:
    """Return the result with the lowest objective, inside the cones if there are any; None where there is no answer."""
    answers = [result for result in results if result.feasible]
    return min(answers, key=lambda result: result.objective or 0.0, default=None)


def reference_solver(results: Results) -> str | None:
    """Return the solver that the others are held against."""
    converged = [result for result in results if result.converged]
    for name in PROVEN:
        if any(result.solver == name for result in converged):
            return name
    feasible = [result for result in results if result.feasible]
    answers = converged or feasible or [result for result in results if result.objective is not None]
    return min(answers, key=lambda result: result.objective or 0.0).solver if answers else None


def objective_spread(program: ConvexProgram, results: Results) -> float | None:
    """Return the worst converged objective less the best of all, over the loss at zero; None where none converged."""
    best = best_result(results)
    converged = [result.objective for result in results if result.converged and result.objective is not None]
    if not converged or best is None or best.objective is None:
        return None
    return (max(converged) - best.objective) / program.zero_loss


def undercut_result(program: ConvexProgram, results: Results, within: float) -> SolverResult | None:
    """Return a result whose proven bound the best objective lies below, by more than is allowed; None if none."""
    best = best_result(results)
    if best is None or best.objective is None:
        return None
    floor = best.objective + within * program.zero_loss
    bounds = [
        (result, result.objective - result.gap)
        for result in results
        if result.objective is not None and result.gap is not None
    ]
    return next((result for result, bound in bounds if bound > floor), None)


def solvers_agree(program: ConvexProgram, results: Results, within: float) -> bool:
    """Whether the solvers agree, `within` a share of the loss at zero: see :meth:`convexnn.Crosscheck.agree`."""
    if best_result(results) is None or undercut_result(program, results, within) is not None:
        return False
    spread = objective_spread(program, results)
    return program.budget is not None or (spread is not None and spread <= within)


def agreement_verdict(program: ConvexProgram, results: Results, within: float) -> str:
    """Return a sentence: how far the objectives lie apart, or who found the lowest; NOT where they do not agree."""
    best, undercut = best_result(results), undercut_result(program, results, within)
    if best is None:
        return "NOT solved: no solver gave an answer."
    lowest = f"the lowest objective is {best.objective:.6g}, by {best.solver}"
    if undercut is not None:
        return f"The solvers do NOT agree: {lowest}, below the bound that {undercut.solver} proved."
    if program.budget is not None:
        proof = "" if best.gap is None else f", proven to {best.gap:.2g}"
        return f"T{lowest[1:]}{proof}."
    spread = objective_spread(program, results)
    return f"NOT converged: {lowest}." if spread is None else _distance(results, spread, within)


def _distance(results: Results, spread: float, within: float) -> str:
    """Say how far above the best objective the converged end, in a convex program with at least one."""
    done = [result for result in results if result.converged]
    apart = f"within {spread:.1e} of the best objective, as a share of the loss at zero"
    if spread > within:
        alone = f"{done[0].solver} alone converged, and ends"
        subject = alone if len(done) == 1 else "the solvers that converged end"
        return f"NOT in agreement to {within:.1e}: {subject} {apart}."
    if len(done) > 1:
        return f"All {len(done)} solvers that converged end {apart}."
    proof = "with no bound to hold it against" if done[0].gap is None else f"with a proven gap of {done[0].gap:.1e}"
    return f"Only {done[0].solver} converged, at {done[0].objective:.6g}, {proof}."

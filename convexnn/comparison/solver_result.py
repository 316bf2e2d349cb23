"""What a cross-check says of one solver: its answer as figures, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.comparison.metrics import score
from convexnn.solution import FEASIBLE, Solution, Status

Support = NDArray[np.int64]

# A weight counts as one of the support where its contribution |w| * ||column|| is above this share of the largest.
COUNTED = 1e-4

# No contribution below this share of the target's norm counts: what is left of weights that are zero is rounding.
NOTHING = 1e-9


@dataclass(frozen=True)
class SolverResult:
    """One solver's answer; where it gave none, `reason` says why and all else is None.

    Attributes
    ----------
    solver : str
        The name asked for.
    reason : str or None
        Why there is no answer, or how the run ended where that was not its own end; None for a run that was.
    status : Status or None
        How the solver ended.
    objective, gap : float
        Of the program; the gap is None where no bound is known.
    relative_gap : float
        The gap over the loss at zero weights.
    residual : float
        The KKT residual, where nothing is penalised.
    violation : float
        Of the cones, as a share of max |X u|; None without cones.
    nonzeros, gates : int
        Nonzero weights, and gates that have one.
    support : int
        Weights whose contribution |w| * ||column|| is above a share of the largest.
    precision, recall : float
        The share of this support that the reference has too, and the share of the reference's that this one has; 1
        where there is nothing to share.
    loss, fit : float
        Mean training loss of the convex model, and its R2 (numbers) or accuracy (labels) on the same rows.
    network_loss, network_fit : float
        The same of the ReLU network it maps to, by ``to_network("auto")``.
    mapping_error : float
        Worst difference between the two on the data, over the largest value.
    network_nonzeros, neurons : int
        Size of the network.
    iterations : int
    seconds : float
        Of the solve, without the mapping.
    solution : Solution or None
        The answer itself.
    """

    solver: str
    reason: str | None = None
    status: Status | None = None
    objective: float | None = None
    gap: float | None = None
    relative_gap: float | None = None
    residual: float | None = None
    violation: float | None = None
    nonzeros: int | None = None
    gates: int | None = None
    support: int | None = None
    precision: float | None = None
    recall: float | None = None
    loss: float | None = None
    fit: float | None = None
    network_loss: float | None = None
    network_fit: float | None = None
    mapping_error: float | None = None
    network_nonzeros: int | None = None
    neurons: int | None = None
    iterations: int | None = None
    seconds: float | None = None
    solution: Solution | None = field(default=None, repr=False, compare=False)

    @property
    def converged(self) -> bool:
        """Whether the solver came to its own end, and its certificate bears it out: no limit, no failure."""
        return self.status is not None and self.status.complete

    @property
    def feasible(self) -> bool:
        """Whether there is an answer, inside the cones if there are any."""
        return self.objective is not None and (self.violation or 0.0) <= FEASIBLE

    @property
    def figures(self) -> dict[str, Any]:
        """All but the solution, for machines: the status by its name, what is unknown or not finite as None."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "solution"}
        plain["status"] = None if self.status is None else self.status.name
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in plain.items()
        }


def measured(result: SolverResult, mapped: bool) -> SolverResult:
    """Return the result with the figures that its solution alone decides; `mapped`: those of its network too."""
    solution = result.solution
    assert solution is not None
    program = solution.program
    prediction = solution.predict(program.X)
    result = replace(
        result,
        objective=solution.objective,
        gap=solution.gap,
        relative_gap=None if solution.gap is None else solution.gap / program.zero_loss,
        residual=solution.residual,
        violation=solution.violation if program.cone else None,
        nonzeros=solution.nnz,
        gates=len(solution.live),
        loss=program.loss.value(prediction.reshape(program.targets.shape), program.targets),
        fit=score(program.loss, prediction, program.targets),
        iterations=solution.iterations,
        seconds=solution.seconds,
    )
    return _mapped(result, solution) if mapped else result


def _mapped(result: SolverResult, solution: Solution) -> SolverResult:
    mapping, program = solution.map(), solution.program
    return replace(
        result,
        network_loss=mapping.loss,
        network_fit=score(program.loss, mapping.network.predict(program.X), program.targets),
        mapping_error=mapping.relative_error,
        network_nonzeros=mapping.network.nnz,
        neurons=mapping.network.n_neurons,
    )


def counted_support(solution: Solution, norms: Floats, counted: float) -> Support:
    """Return the flat indices of the weights that contribute; `norms` (m, d) of the columns."""
    program = solution.program
    shares = np.abs(solution.values) * norms.flat[solution.support // program.n_outputs]
    floor = NOTHING * float(np.linalg.norm(program.targets))
    return solution.support[shares > max(counted * float(shares.max(initial=0.0)), floor)]


def support_agreement(own: Support, other: Support) -> dict[str, Any]:
    """Return the size of a support, and its precision and recall against another; 1 where there is nothing to miss."""
    shared = len(np.intersect1d(own, other, assume_unique=True))
    return {
        "support": len(own),
        "precision": shared / len(own) if len(own) else 1.0,
        "recall": shared / len(other) if len(other) else 1.0,
    }

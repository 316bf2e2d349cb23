"""Solvers: one algorithm a file, one registry, one entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from time import perf_counter
from typing import Any

from convexnn.checks import as_known, as_nonnegative
from convexnn.program.convex_program import ConvexProgram, as_program
from convexnn.solution import FEASIBLE, Solution, Status
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.basis.round_basis import plain_basis


@dataclass(frozen=True)
class Solver:
    """Where a solver lives and which programs it can do; its file is imported at first use.

    `budget`: cardinality programs, `ridge`: those with a ridge too; `gated` and `cone`: convex programs without and
    with cones; the limits on loss, penalties and outputs are None where there are none.
    """

    module: str
    function: str
    budget: bool = False
    ridge: bool = False
    gated: bool = False
    cone: bool = False
    losses: tuple[str, ...] | None = None
    penalties: tuple[str, ...] | None = None
    one_output: bool = False

    @property
    def needs(self) -> str:
        """The programs it solves, in words."""
        kinds = {"a budget": self.budget, "a budget with a ridge": self.ridge, "a penalty": self.gated and self.cone}
        kinds |= {"a penalty without cone": self.gated and not self.cone, "a cone": self.cone and not self.gated}
        limits = [" or ".join(name for name, does in kinds.items() if does)]
        limits += [] if self.losses is None else [f"{' or '.join(self.losses)} loss"]
        limits += [] if self.penalties is None else [f"penalty {', '.join(self.penalties)}"]
        limits += ["one output"] if self.one_output else []
        return ", ".join(limits)

    def can(self, program: ConvexProgram) -> bool:
        """Whether it solves this program."""
        if program.penalty is None or program.budget is not None:
            kind, penalty = self.budget, self.ridge or program.penalty is None
        else:
            kind = self.cone if program.cone else self.gated
            penalty = self.penalties is None or program.penalty.name in self.penalties
        loss = self.losses is None or program.loss.name in self.losses
        return kind and penalty and loss and (program.n_outputs == 1 or not self.one_output)

    def load(self) -> Callable[..., Solution]:
        """Return the function ``solve(program, **options)``."""
        return getattr(import_module(self.module), self.function)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(option for option in signature(self.load()).parameters if option != "program")


SOLVERS = {
    "hard_thresholding": Solver("convexnn.solvers.thresholding.hard_thresholding", "hard_thresholding", budget=True),
    "htp": Solver("convexnn.solvers.thresholding.htp", "htp", budget=True),
    "cosamp": Solver("convexnn.solvers.thresholding.cosamp", "cosamp", budget=True),
    "niht": Solver("convexnn.solvers.thresholding.niht", "niht", budget=True),
    "iht": Solver("convexnn.solvers.thresholding.iht", "iht", budget=True),
    "stable_iht": Solver("convexnn.solvers.thresholding.stable_iht", "stable_iht", budget=True, ridge=True),
    "exact": Solver("convexnn.solvers.subset.exact", "exact", budget=True, losses=("squared",), one_output=True),
    "interior_point": Solver(
        "convexnn.solvers.convex.interior_point",
        "interior_point",
        cone=True,
        penalties=("group_l1", "l1", "ridge", "none"),
    ),
    "admm": Solver("convexnn.solvers.convex.admm", "admm", gated=True, cone=True),
    "fista": Solver("convexnn.solvers.convex.fista", "fista", gated=True),
    "working_set": Solver("convexnn.solvers.convex.working_set", "working_set", gated=True, penalties=("group_l1",)),
    "cvxpy": Solver("convexnn.solvers.convex.cvxpy_reference", "reference", gated=True, cone=True),
}


def solve(program: ConvexProgram, solver: str = "auto", **options: Any) -> Solution:
    """Solve a program.

    Parameters
    ----------
    program : ConvexProgram
        The question.
    solver : str, default "auto"
        For budgets: ``hard_thresholding`` (the best of pursuit on whitened rows, normalised IHT, reweighting and
        swaps), its parts and rivals ``htp``, ``cosamp``, ``niht`` and ``iht``, ``stable_iht`` (small programs of any
        loss; the one that can do a ridge), and ``exact`` (the proven optimum). For convex programs: ``admm`` (whitened
        rows; gated or with cones), ``fista`` (accelerated proximal gradients; gated), ``working_set``
        (FISTA on the gates that may live; gated, group_l1), ``interior_point`` (cones), ``cvxpy`` (the reference, for
        all of them). ``auto``: the first of :func:`able_solvers` whose answer meets its
        tolerance, else the best of their answers. ``cvxpy`` is asked where an interior point method has failed on
        cones; first, with half of a time limit, on cones with ``feature_l1`` where features have offsets or odd units
        and weights are few; and elsewhere last, with those of the options that it has.
    **options
        Of the solver. All take `time_limit`, in seconds, and all but those of budgets `tolerance`. Budgets but for
        ``stable_iht`` and ``exact``: `max_iterations`, `whiten`, `ridge`, `start` (weights or a Solution), `device`,
        `dtype`, `memory_limit`, `seed`, `callback`; ``stable_iht``: `step`, `n_starts`, `polish`, `swaps`, `tolerance`,
        `max_iterations`, `start`, `memory_limit`, `seed`, `callback`; ``exact``: `engine`, `max_nodes`, `callback`.
        ``admm``, ``fista`` and ``working_set``: `start`, `max_iterations`, `device`, `memory_limit`, `callback`;
        ``fista``: `dtype`; ``interior_point``: `max_iterations`, `device`, `memory_limit`, `callback`; ``cvxpy``:
        `engine`, `round_below`, `memory_limit`. The functions, with their docstrings, are
        :func:`~convexnn.solvers.thresholding.hard_thresholding.hard_thresholding`,
        :func:`~convexnn.solvers.thresholding.htp.htp`, :func:`~convexnn.solvers.thresholding.cosamp.cosamp`,
        :func:`~convexnn.solvers.thresholding.niht.niht`, :func:`~convexnn.solvers.thresholding.iht.iht`,
        :func:`~convexnn.solvers.thresholding.stable_iht.stable_iht`, :func:`~convexnn.solvers.subset.exact.exact`,
        :func:`~convexnn.solvers.convex.admm.admm`, :func:`~convexnn.solvers.convex.fista.fista`,
        :func:`~convexnn.solvers.convex.working_set.working_set`,
        :func:`~convexnn.solvers.convex.interior_point.interior_point` and
        :func:`~convexnn.solvers.convex.cvxpy_reference.reference`.

    Returns
    -------
    Solution
        Always: limits and interruption are a status, not an exception.

    Raises
    ------
    ValueError
        The solver is unknown, or cannot do this program; the message says which can.
    TypeError
        An option that the solver does not have; the message lists those it has.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> patterns = cx.sample_patterns(X, 10, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> solution = cx.solve(program)
    >>> solution.status.name, bool(solution.gap < 1e-5 * program.zero_loss)
    ('CONVERGED', True)
    """
    as_program(program)
    able = able_solvers(program)
    if as_known(solver, "solver", ("auto", *SOLVERS)) == "auto":
        return _first_suited(program, able, options)
    if solver not in able:
        raise ValueError(
            f"solver {solver!r} needs {SOLVERS[solver].needs}; this program can be solved by: {', '.join(able)}"
        )
    return _run(program, solver, options)


# Weights an output for each row from which on working sets pay.
MANY = 10


def able_solvers(program: ConvexProgram) -> list[str]:
    """Return the names of the solvers that can do a program, in the order in which ``auto`` tries them.

    Measured: with the squared loss the whitened rows of ``admm`` take tens of iterations where ``fista`` takes hundreds
    or thousands; with the other losses it is the other way round. Where weights are many for the rows, few gates live,
    and ``working_set`` is the fastest; elsewhere it is behind the other two. For budgets ``hard_thresholding`` alone
    reaches every row of ``benchmarks/recovery.py fixed`` that any of the others does.
    """
    able = [name for name, entry in SOLVERS.items() if entry.can(program)]
    last = "fista" if program.loss.name == "squared" else "admm"
    many = len(program.patterns) * program.rows.shape[1] >= MANY * len(program.rows)
    place = {"working_set": -1 if many else 2, last: 1, "cvxpy": 3}
    return sorted(able, key=lambda name: place.get(name, 0))


# Share of a time limit that cvxpy has where it is asked first, and the most products of an iteration of its engine, of
# which there are some fifty: at 4e8 one takes as long as admm where that does not stall, at 2e9 several times as long.
EARLY, FEW_PRODUCTS = 0.5, 5e8

# Ends of a run that another solver may better.
_UNSURE = (Status.INACCURATE, Status.NOT_FINITE, Status.MAX_ITERATIONS)


def _first_suited(program: ConvexProgram, able: list[str], options: dict[str, Any]) -> Solution:
    """Return the first answer that its certificate bears out, else the best; the references are no choice.

    Solvers without one of the options are passed over, and a later one has the time that is left.
    """
    own = [name for name in able if name not in ("exact", "cvxpy")]
    names = [name for name in own if set(SOLVERS[name].options).issuperset(options)] or own[:1]
    answers: list[Solution] = []
    began, refusal, limit = perf_counter(), None, options.get("time_limit")
    queue = [*names, *(name for name in able if name == "cvxpy")]
    reference_first = _is_reference_first(program, able, options)
    while queue:
        # On cones the splitting of admm is at the mercy of the data's units: where an interior point method has failed,
        # or there is none, it has the last word only.
        name = queue.pop(-1 if program.cone and (answers or reference_first) and "cvxpy" in queue else 0)
        early = name == "cvxpy" and bool(queue) and not answers
        if limit is not None:
            left = max(0.0, as_nonnegative(limit, "time_limit") - (perf_counter() - began))
            options = options | {"time_limit": EARLY * left if early else left}
        taken = {key: value for key, value in options.items() if name != "cvxpy" or key in SOLVERS[name].options}
        try:
            answers.append(_run(program, name, taken))
        except (UnsuitedError, RuntimeError, ImportError) as error:
            # cvxpy is missing, or its engine fails on numbers that are too far apart; ours have answered by then, or
            # will.
            if not (answers or early or isinstance(error, UnsuitedError)):
                raise
            refusal = error
            continue
        asked = answers[-1].status is Status.MAX_ITERATIONS and "max_iterations" in options
        late = early and answers[-1].status is Status.TIME_LIMIT
        unbegun = _is_unbegun(answers[-1], options, perf_counter() - began)
        if asked or not (late or unbegun or answers[-1].status in _UNSURE):
            break
    if not answers and refusal is not None:
        raise refusal
    return min(answers, key=_quality)


def _is_reference_first(program: ConvexProgram, able: list[str], options: dict[str, Any]) -> bool:
    """Whether cvxpy is asked first: cones that no interior point method does, on features with offsets or odd units.

    Only where that is seconds: its time grows with the cube of the weights, and without a limit nothing would end it.
    """
    if not (program.cone and "cvxpy" in able and "interior_point" not in able):
        return False
    weights = program.neurons_shape[0] * program.neurons_shape[1]
    if (len(program.rows) + weights) * weights**2 > FEW_PRODUCTS:
        return False
    return plain_basis(program.rows) is None and set(SOLVERS["cvxpy"].options).issuperset(options)


def _is_unbegun(answer: Solution, options: dict[str, Any], spent: float) -> bool:
    """Whether a run saw that its preparation would take longer than the limit, of which there is time left."""
    limit = options.get("time_limit")
    return answer.status is Status.TIME_LIMIT and not answer.iterations and limit is not None and spent < 0.5 * limit


def _quality(solution: Solution) -> tuple[bool, float, float]:
    """Return what the better of two answers has less of."""
    certain = solution.residual if solution.gap is None else solution.gap
    return solution.violation > FEASIBLE, float("inf") if certain is None else certain, solution.objective


def _run(program: ConvexProgram, name: str, options: dict[str, Any]) -> Solution:
    known = SOLVERS[name].options
    for option in options:
        if option not in known:
            raise TypeError(f"solver {name!r} has no option {option!r}; it has: {', '.join(known)}")
    return SOLVERS[name].load()(program, **options)

"""The best gates that a solution does not hold: what to add to a program over sampled patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats, as_count, as_generator
from convexnn.optimum.gates import mask_keys, new_gates
from convexnn.optimum.penalties import PRICED, check_priced
from convexnn.records import Record
from convexnn.solution import Solution


@dataclass(frozen=True, eq=False, repr=False)
class PricedGates(Record):
    """Gates that a solution does not hold, best first.

    Attributes
    ----------
    generators : ndarray (p, d)
        Unit gates, with new patterns that differ from one another; fewer than asked for where no more were found.
    prices : ndarray (p,)
        Their prices over the strength: those above 1 lower the objective when they are added.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 3, seed=0)
    >>> program = cx.ConvexProgram(X, np.abs(X[:, 0]), patterns, penalty="group_l1", strength=0.01, cone=True)
    >>> gates = cx.price(cx.solve(program), 4)
    >>> gates.generators.shape[1], bool(gates.prices[0] > 1.0)  # above 1: adding the gate lowers the objective
    (3, True)
    """

    generators: Floats
    prices: Floats

    def __len__(self) -> int:
        return len(self.prices)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        best = f", the best at {self.prices[0]:.4g} of the strength" if len(self) else ""
        return f"{len(self)} gates not held, {int((self.prices > 1.0).sum())} of them worth adding{best}"


def price(solution: Solution, n: int = 10, *, seed: int | np.random.Generator = 0) -> PricedGates:
    """Return the best gates that a solution does not hold, found by local ascent in any dimension.

    Parameters
    ----------
    solution : Solution
        Of a program with penalty group_l1 or l1, gated or with cones.
    n : int, default 10
        Most gates.
    seed : int or numpy.random.Generator, default 0
        Starts of the ascents.

    Returns
    -------
    PricedGates

    Raises
    ------
    TypeError, ValueError
        The solution is none, or of a program without prices (a budget, or another penalty).

    Notes
    -----
    With theta the solution's dual point, the price of a neuron u is |sum_i theta_i relu(x_i . u)| / ||u|| with cones
    (Euclidean for group_l1, sum of sizes for l1), and that of a gate of a gated program is the dual norm of
    X^T D theta. :func:`convexnn.global_optimum` adds such gates until none is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> program = cx.ConvexProgram(
    ...     X, np.abs(X[:, 0]), cx.sample_patterns(X, 5), penalty="group_l1", strength=0.01, cone=True
    ... )
    >>> solution = cx.solve(program)
    >>> better = np.concatenate([program.patterns.generators, price(solution, 8).generators])
    >>> more = cx.ConvexProgram(
    ...     X, program.y, cx.sample_patterns(X, generators=better), penalty="group_l1", strength=0.01, cone=True
    ... )
    >>> bool(cx.solve(more).objective < 0.5 * solution.objective)
    True
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution is a {type(solution).__name__}; expected a Solution from solve")
    program, most, rng = solution.program, as_count(n, "n"), as_generator(seed)
    if program.penalty is None:
        raise ValueError(f"solution is of a program with a budget; expected a penalty: {', '.join(PRICED)}")
    check_priced(program.penalty.name)
    from convexnn.optimum.master import live_neurons
    from convexnn.optimum.pricers import dual_point, pricer_for

    pricer, theta = pricer_for(program), dual_point(solution)
    candidates = pricer.search(theta, live_neurons(solution), rng)[1]
    held = set(mask_keys(program.rows, program.patterns.generators))
    gates = new_gates(program.rows, candidates, held, most)
    assert program.strength is not None
    prices = pricer.prices(theta, gates) / program.strength if len(gates) else np.zeros(0)
    order = np.argsort(-prices, kind="stable")
    return PricedGates(gates[order], prices[order])

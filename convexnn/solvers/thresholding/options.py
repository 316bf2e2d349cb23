"""The options that the hard thresholding solvers share, stated once, and how a solver takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from typing import Any, Concatenate, ParamSpec

from convexnn.checks import as_callback, as_count, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.common.descent import Callback
from convexnn.solvers.common.warm_start import Start


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``htp``, ``niht``, ``iht``, ``cosamp`` and ``hard_thresholding`` can be told beside the program.

    Attributes
    ----------
    max_iterations : int, default 1000
        Most iterations, over all phases; ``htp`` and ``cosamp``: 100, ``hard_thresholding``: 3000.
    time_limit : float, optional
        Seconds of iterations, over all phases, after which the best iterate is returned.
    whiten : "auto" or bool, default "auto"
        Whether to choose columns in the metric (A A^T + ridge I)^-1, in which coherent columns are told apart. That
        costs n^3 / 3 + n^2 m d flops once and 2 n^2 an iteration, so beyond 2,000 rows, or a few seconds of work, it
        is done on a random part of the rows, and plain iterations on all rows go on from the support. ``auto``: for
        the squared loss, where at least 3 rows for a weight are left and the time limit is no shorter than the set-up.
    ridge : "auto" or float, default "auto"
        As a share of the mean eigenvalue of A A^T, above 0: the noisier the target, the larger. ``auto``: 0.01; then,
        where the best fit leaves a share r = ||residual|| / ||target|| above 0.002, again with 10 r, at most 1.
    start : Solution or array_like, optional
        Weights whose support to begin with.
    device : str, default "cpu"
        A torch device for the products, such as ``cuda``.
    dtype : {"float32", "float64"}, default "float32"
        Precision of products and selection; the whitening and the final weights are in float64 in either.
    memory_limit : int, default 2^30
        Bytes for the masks, as in :class:`convexnn.linear.operator.PatternOperator`, and for the whitening, 16 n^2.
        Beside them a run holds a few arrays of n times budget and of m times d numbers.
    seed : int, default 0
        Of the part of the rows.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each iteration. KeyboardInterrupt, raised
        in it or from outside, returns the best iterate so far.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> solution = cx.solve(program, "niht", dtype="float64", max_iterations=20, seed=1)
    >>> solution.iterations <= 20
    True
    """

    max_iterations: int = 1000
    time_limit: float | None = None
    whiten: bool | str = "auto"
    ridge: float | str = "auto"
    start: Start = None
    device: str = "cpu"
    dtype: str = "float32"
    memory_limit: int = 1 << 30
    seed: int = 0
    callback: Callback | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.whiten, bool) and self.whiten != "auto":
            raise ValueError(f"whiten is {self.whiten!r}; expected 'auto', True or False")
        if self.ridge != "auto" and as_nonnegative(self.ridge, "ridge") == 0.0:
            raise ValueError("ridge is 0; expected a number above 0, or 'auto'")
        as_count(self.seed, "seed", at_least=0)
        as_callback(self.callback)


P = ParamSpec("P")
Body = Callable[[ConvexProgram, Options], Solution]


def with_options(
    kind: Callable[P, Options], **defaults: Any
) -> Callable[[Body], Callable[Concatenate[ConvexProgram, P], Solution]]:
    """Return a decorator that makes ``solver(program, **options)`` of ``solver(program, options)``.

    `kind` is :class:`Options`, `defaults` those of the solver that differ from its own. The signature lists the options
    one by one: help() shows them, and the registry reads their names there.
    """
    each = signature(partial(kind, **defaults)).parameters.values()
    first = Parameter("program", Parameter.POSITIONAL_OR_KEYWORD, annotation="ConvexProgram")

    def decorate(body: Body) -> Callable[Concatenate[ConvexProgram, P], Solution]:
        @wraps(body)
        def solver(program: ConvexProgram, *nothing: P.args, **options: P.kwargs) -> Solution:
            return body(program, kind(*nothing, **{**defaults, **options}))

        solver.__signature__ = Signature([first, *each], return_annotation="Solution")  # type: ignore[attr-defined]
        return solver  # type: ignore[return-value]

    return decorate

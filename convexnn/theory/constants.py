"""Restricted smoothness and strong convexity: estimated from below, bounded safely, or enumerated."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from convexnn.checks import as_count, as_generator, as_known
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.supports.design import Design, as_sparsity, smooth_part
from convexnn.theory.supports.eigenvalues import MOST_SETS, lower_bounds, set_extremes, upper_bounds
from convexnn.theory.supports.secants import secants

# Entries of T up to which every split of them over two outputs is looked at.
MOST_SPLIT = 64

METHODS = ("safe", "monte_carlo", "exact")


@dataclass(frozen=True)
class RestrictedConstant(Record):
    """A restricted constant, and what its number is worth.

    Attributes
    ----------
    value : float
        L_2s, or alpha_2s, in units of the objective per squared unit of a weight.
    name : str
        ``L`` (smoothness) or ``alpha`` (strong convexity).
    sparsity : int
        s.
    n_entries : int
        min(2s, N): the most entries of T, over which the constant is taken.
    method : str
        ``safe``, ``monte_carlo`` or ``exact``.
    by : str
        Which bound or enumeration it comes from, or how many pairs of points.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> exact = cx.theory.restricted_smoothness(program, method="exact")
    >>> exact.name, exact.sparsity, exact.n_entries, float(exact) == exact.value
    ('L', 2, 4, True)
    """

    value: float
    name: str
    sparsity: int
    n_entries: int
    method: str
    by: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        above = self.name == "L"
        sides = {"safe": "<=" if above else ">=", "monte_carlo": ">=" if above else "<=", "exact": "="}
        return f"{self.name}_{2 * self.sparsity} {sides[self.method]} {self.value:.4g} ({self.by})"


def restricted_smoothness(
    program: ConvexProgram,
    sparsity: int | None = None,
    method: str = "safe",
    *,
    n_samples: int = 1000,
    scale: float = 1.0,
    seed: int | np.random.Generator = 0,
) -> RestrictedConstant:
    """Return L_2s: the smoothness of the objective between points with at most s nonzeros.

    Parameters
    ----------
    program : ConvexProgram
        Without cones; a ridge counts with its strength, other penalties are no part of the smooth objective.
    sparsity : int, optional
        s, 1 to the number of weights; default the program's budget.
    method : {"safe", "monte_carlo", "exact"}, default "safe"
        * ``safe``: an upper bound, c max_T lambda_max(Z_T^T Z_T / n) + ridge with c = 1, 1/4, 1/2 for squared, logistic
          and softmax (for it less where T cannot fill two outputs); the least of the bounds of
          :func:`convexnn.theory.supports.eigenvalues.upper_bounds`, rounded outward.
        * ``monte_carlo``: a lower bound, the largest ||(grad f(x) - grad f(y))_T|| / ||x - y|| of random pairs.
        * ``exact``: the supremum by enumeration of every T; squared and logistic loss.
    n_samples : int, default 1000
        Pairs of ``monte_carlo``: two independent sets of s weights, N(0, scale^2) each.
    scale : float, default 1.0
        Their standard deviation; the squared loss does not depend on it.
    seed : int or numpy.random.Generator, default 0
        Of the pairs.

    Returns
    -------
    RestrictedConstant

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range, the program has cones, ``exact`` is asked of the softmax, or it would
        have to enumerate more than 1,000,000 sets.

    Notes
    -----
    f(y) <= f(x) + <grad f(x), y - x> + L_2s/2 ||y - x||^2 for all s-sparse x and y, T = supp x + supp y, |T| <=
    min(2s, N) (Damadi, Zolfaghari, Rezaie and Shen, arXiv 2404.18414, who estimate it by Monte Carlo; their law of the
    pairs is not published). The full gradient in place of its entries in T would over-state it. Outputs do not mix in
    Z^T Z, so of the entries of T the largest block is one output's, of at most min(2s, p) columns. For the logistic
    loss the bound is attained at zero weights; for the softmax only where all rows share their probability among the
    same two classes in halves, and it is else somewhat above.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> methods = ("monte_carlo", "exact", "safe")
    >>> values = [cx.theory.restricted_smoothness(program, method=method).value for method in methods]
    >>> values == sorted(values)
    True
    """
    question = _asked("L", program, sparsity, method)
    design, softmax = question.design, program.loss.name == "softmax"
    if method == "monte_carlo":
        return question.sampled(n_samples, scale, seed)
    if method == "exact":
        if softmax:
            raise ValueError("method is 'exact' with the softmax loss; expected 'safe' or 'monte_carlo' there")
        _, highest = question.enumerated()
        return question.answer(design.curvature * highest + design.strength, question.every_set)
    by, value = _softmax_bound(design, question.entries) if softmax else _bound(design, question.size)
    return question.answer(_above(_above(value) + design.strength), by)


def restricted_strong_convexity(
    program: ConvexProgram,
    sparsity: int | None = None,
    method: str = "safe",
    *,
    n_samples: int = 1000,
    scale: float = 1.0,
    seed: int | np.random.Generator = 0,
) -> RestrictedConstant:
    """Return alpha_2s: the strong convexity of the objective between points with at most s nonzeros.

    Parameters
    ----------
    program, sparsity, n_samples, scale, seed
        As in :func:`restricted_smoothness`.
    method : {"safe", "monte_carlo", "exact"}, default "safe"
        * ``safe``: a lower bound, min_T lambda_min(Z_T^T Z_T / n) + ridge for the squared loss, the ridge alone for
          losses of labels; the largest of the bounds of :func:`convexnn.theory.supports.eigenvalues.lower_bounds`.
        * ``monte_carlo``: an upper bound, the least <grad f(x) - grad f(y), x - y> / ||x - y||^2 of random pairs.
        * ``exact``: the infimum, by enumeration of every T for the squared loss.

    Returns
    -------
    RestrictedConstant

    Raises
    ------
    TypeError, ValueError
        As in :func:`restricted_smoothness`.

    Notes
    -----
    The infimum over all points for losses of labels is the ridge, exactly: far out along almost every direction each
    row's curvature vanishes. Theorems that need more hold on bounded sets only.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> methods = ("safe", "exact", "monte_carlo")
    >>> values = [cx.theory.restricted_strong_convexity(program, method=method).value for method in methods]
    >>> values == sorted(values)
    True
    """
    question = _asked("alpha", program, sparsity, method)
    design = question.design
    if method == "monte_carlo":
        return question.sampled(n_samples, scale, seed)
    if program.loss.name != "squared":
        least, by = 0.0, "labels are fitted by ever longer weights, and these curve nothing"
    elif method == "exact":
        lowest, _ = question.enumerated()
        least, by = max(0.0, lowest), question.every_set
    else:
        by, least = max(lower_bounds(design, question.size).items(), key=lambda item: item[1])
    by = "the ridge alone" if least == 0.0 and design.strength > 0.0 else by
    return question.answer(least + design.strength, by)


def step_size(
    program: ConvexProgram,
    sparsity: int | None = None,
    method: str = "safe",
    *,
    n_samples: int = 1000,
    scale: float = 1.0,
    seed: int | np.random.Generator = 0,
) -> float:
    """Return 1 / L_2s, the longest step with which iterative hard thresholding is known to descend.

    Parameters
    ----------
    program, sparsity, method, n_samples, scale, seed
        As in :func:`restricted_smoothness`; with ``monte_carlo``, as in the paper, the step may be too long.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> cx.theory.step_size(program) == 1.0 / cx.theory.restricted_smoothness(program).value
    True
    """
    constant = restricted_smoothness(program, sparsity, method, n_samples=n_samples, scale=scale, seed=seed)
    if constant.value == 0.0:
        raise ValueError("L_2s is 0: the columns of the program are zero on its data; expected data that vary")
    return 1.0 / constant.value


def _bound(design: Design, size: int) -> tuple[str, float]:
    by, top = _least_bound(design, size)
    return by, design.curvature * top


def _least_bound(design: Design, size: int) -> tuple[str, float]:
    return min(upper_bounds(design, size).items(), key=lambda item: item[1])


def _softmax_bound(design: Design, entries: int) -> tuple[str, float]:
    """Return the least bound on 1/4 (lambda(a) + lambda(b)), a + b entries in two outputs, and where it comes from.

    Along v with u_c = Z v_c a row's curvature is the variance of u under its probabilities, at most 1/4 (|u_c| +
    |u_e|)^2 for the two largest, with the u of outputs outside T zero; (|u_c| + |u_e|)^2 <= (l_c + l_e) (u_c^2 / l_c +
    u_e^2 / l_e), and with l_c the lambda_max of output c the rows sum to at most (l_c + l_e) ||v||^2. At a = b it is
    the 1/2 of the loss's smoothness.
    """
    p = design.n_columns
    if entries > MOST_SPLIT:
        return _bound(design, min(entries, p))
    sizes = sorted({min(a, p) for a in range(1, entries + 1)})
    least = {size: _least_bound(design, size) for size in sizes}
    tops = {size: bound for size, (_, bound) in least.items()} | {0: 0.0}
    value, a, b = max((tops[a] + tops[b], a, b) for a, b in _splits(entries, p))
    names = sorted({least[size][0] for size in (a, b) if size})
    return f"{' and '.join(names)}, {a} + {b} in two outputs", 0.25 * _above(value)


def _splits(entries: int, n_columns: int) -> list[tuple[int, int]]:
    """Return how `entries` can lie in two outputs of `n_columns` each, the larger part first."""
    return [(min(a, n_columns), min(entries - a, n_columns)) for a in range((entries + 1) // 2, entries + 1)]


def _above(value: float) -> float:
    return float(np.nextafter(value, np.inf))


@dataclass(frozen=True, eq=False)
class _Question:
    """Which constant is asked for, of what and how: `sparsity` s, and at most `entries` = min(2s, N) in T."""

    name: str
    design: Design
    sparsity: int
    entries: int
    method: str

    @property
    def size(self) -> int:
        """The most columns of one output that T can hold."""
        return min(self.entries, self.design.n_columns)

    @property
    def every_set(self) -> str:
        """What is enumerated, in words."""
        return f"every set of {self.size} of {self.design.n_columns} columns"

    def answer(self, value: float, by: str) -> RestrictedConstant:
        """Return the constant."""
        return RestrictedConstant(value, self.name, self.sparsity, self.entries, self.method, by)

    def sampled(self, n_samples: int, scale: float, seed: int | np.random.Generator) -> RestrictedConstant:
        """Return the estimate from random pairs of points."""
        count = as_count(n_samples, "n_samples")
        ratios = secants(self.design, self.sparsity, count, scale, as_generator(seed))
        value = ratios.stretch.max() if self.name == "L" else ratios.incline.min()
        return self.answer(float(value), f"{n_samples:,} pairs")

    def enumerated(self) -> tuple[float, float]:
        """Return the least and the largest eigenvalue of Z_T^T Z_T / n over every T."""
        gram, count = self.design.gram, comb(self.design.n_columns, self.size)
        if gram is None or count > MOST_SETS:
            raise ValueError(
                f"method is 'exact' for {self.size} of {self.design.n_columns} columns, {count:.3g} sets; expected at "
                f"most {MOST_SETS:,}, or method='safe'"
            )
        return set_extremes(gram, self.size)


def _asked(name: str, program: ConvexProgram, sparsity: int | None, method: str) -> _Question:
    as_known(method, "method", METHODS)
    design = smooth_part(program)
    chosen = as_sparsity(program, sparsity, design.size)
    return _Question(name, design, chosen, min(2 * chosen, design.size), method)

"""HT-stability: whether a point is one that iterative hard thresholding can end at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats, Ints, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.constants import step_size
from convexnn.theory.supports.design import Design, Weights, as_sparsity, smooth_part


@dataclass(frozen=True)
class HTStability(Record):
    """How near a point theta is to theta in H_s(theta - step grad f(theta)).

    Attributes
    ----------
    stable : bool
        Whether both conditions hold, for some gradient that differs by at most `tolerance` in every entry.
    sparsity, nnz : int
        s, and the nonzeros of theta.
    step, tolerance : float
        As asked.
    slope_on, slope_off : float
        Largest |grad_i f| on the support of theta, and outside it.
    least : float
        Smallest |theta_i| on the support; 0 for a zero point.
    largest_step : float
        The longest step at which the order of the entries still keeps the support; infinity if any does.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 3, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="ridge", strength=0.01, budget=2)
    >>> found = cx.theory.ht_stability(program, cx.solve(program, "stable_iht"))
    >>> found.stable, found.nnz, found.slope_on <= found.tolerance
    (True, 2, True)
    """

    stable: bool
    sparsity: int
    nnz: int
    step: float
    tolerance: float
    slope_on: float
    slope_off: float
    least: float
    largest_step: float

    def __str__(self) -> str:
        verdict = "HT-stable" if self.stable else "not HT-stable"
        order = "any step keeps" if np.isinf(self.largest_step) else f"steps up to {self.largest_step:.3g} keep"
        return (
            f"{verdict} to {self.tolerance:.1g} at step {self.step:.3g}: {self.nnz} of {self.sparsity} nonzeros, the "
            f"least {self.least:.3g}; largest slope {self.slope_on:.2g} on the support, {self.slope_off:.2g} outside; "
            f"{order} the support"
        )


def ht_stability(
    program: ConvexProgram,
    weights: Weights,
    step: float | None = None,
    tolerance: float = 1e-8,
    *,
    sparsity: int | None = None,
) -> HTStability:
    """Return whether weights are HT-stable: a fixed point of iterative hard thresholding.

    Parameters
    ----------
    program : ConvexProgram
        Without cones, its objective smooth: a budget, alone or with a ridge, or penalty ``ridge`` or ``none``.
    weights : Solution or array_like
        The point theta, of :attr:`ConvexProgram.weights_shape`, at most s nonzeros.
    step : float, optional
        gamma, above 0; default 1/L_2s with the safe constant.
    tolerance : float, default 1e-8
        What an entry of the gradient may be off by, in units of the objective per unit of a weight.
    sparsity : int, optional
        s; default the program's budget.

    Returns
    -------
    HTStability

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range, or theta has more than s nonzeros.

    Notes
    -----
    With s nonzeros on S: grad_S f = 0 and min_S |theta_i| >= gamma max |grad_i f| outside S; with fewer, grad f = 0
    (Damadi and Shen 2022; arXiv 2404.18414). Such points are the only limits of the iteration. Under a budget per
    neuron an entry of a full neuron competes with those of its own neuron alone.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 3, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="ridge", strength=0.01, budget=2)
    >>> cx.theory.ht_stability(program, cx.solve(program, "stable_iht")).stable
    True
    """
    design = smooth_part(program)
    if program.penalty is not None and program.penalty.name not in ("ridge", "none"):
        raise ValueError(f"program has penalty {program.penalty.name!r}; expected a budget, 'ridge' or 'none'")
    chosen = as_sparsity(program, sparsity, design.size)
    values = design.values(weights)
    nnz = int(np.count_nonzero(values))
    if nnz > chosen:
        raise ValueError(f"weights has {nnz} nonzeros; expected at most {chosen}")
    length = step_size(program, chosen) if step is None else as_nonnegative(step, "step")
    if length == 0.0:
        raise ValueError("step is 0; expected a number above 0")
    return _judged(design, values, chosen, length, as_nonnegative(tolerance, "tolerance"))


def _judged(design: Design, values: Floats, sparsity: int, step: float, tolerance: float) -> HTStability:
    slopes, sizes = np.abs(design.gradient(values)).ravel(), np.abs(values).ravel()
    on = sizes > 0.0
    rivals = _rivals(design, sizes, sparsity)[~on]
    off = slopes[~on]
    order = bool((rivals >= step * (off - tolerance)).all())
    slope_on = float(slopes[on].max(initial=0.0))
    steep = off > 0.0
    return HTStability(
        stable=order and slope_on <= tolerance,
        sparsity=sparsity,
        nnz=int(on.sum()),
        step=step,
        tolerance=tolerance,
        slope_on=slope_on,
        slope_off=float(off.max(initial=0.0)),
        least=float(sizes[on].min()) if on.any() else 0.0,
        largest_step=float((rivals[steep] / off[steep]).min(initial=np.inf)),
    )


def _rivals(design: Design, sizes: Floats, sparsity: int) -> Floats:
    """Return for each entry the size that it would have to exceed to enter the support, (N,)."""
    on, cap = sizes > 0.0, design.program.budget_per_neuron
    full = on.sum() >= sparsity
    rivals = np.full(len(sizes), sizes[on].min() if full and on.any() else 0.0)
    if cap is None:
        return rivals
    blocks = neuron_of(design)
    count, least = np.bincount(blocks, weights=on), np.full(blocks.max() + 1, np.inf)
    np.minimum.at(least, blocks[on], sizes[on])
    return np.where(count[blocks] >= cap, least[blocks], rivals)


def neuron_of(design: Design) -> Ints:
    """Return the gate and output of each weight as one number, (N,)."""
    k = design.program.n_outputs
    return (design.place[0][:, None] * k + np.arange(k)).ravel()

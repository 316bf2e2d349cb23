"""Which assumptions of the papers hold for a program, which fail, and which nobody can check."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, sqrt

import numpy as np

from convexnn.checks import Floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.constants import RestrictedConstant, restricted_smoothness, restricted_strong_convexity
from convexnn.theory.coverage import separation_and_coverage
from convexnn.theory.spectrum import RestrictedSpectrum, restricted_spectrum
from convexnn.theory.supports.design import Design, as_sparsity, smooth_part
from convexnn.theory.supports.separable import separates

# A feature that i.i.d. Gaussian data would show in one of this many data sets contradicts them.
RARE = 1e4
# Rows below which tests of the moments are not to be trusted.
LEAST_ROWS = 20
# Jain, Tewari and Kar 2014: s~ >= 32 (L / alpha)^2 s.
RELAXATION = 32.0


@dataclass(frozen=True)
class Assumption(Record):
    """An assumption: what it is called, whether it holds (None: cannot be checked), and what was found.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> for assumption in cx.theory.assumptions(program).convergence:
    ...     print(assumption.name, assumption.holds)
    restricted smoothness True
    s at most half of the weights True
    a minimiser on each support True
    a linear rate (alpha_2s > 0) True
    """

    name: str
    holds: bool | None
    found: str

    def __str__(self) -> str:
        verdict = {True: "holds", False: "fails", None: "cannot be checked"}[self.holds]
        return f"{self.name}: {verdict}. {self.found}"


@dataclass(frozen=True)
class Assumptions(Record):
    """The assumptions of two theorems, checked for a program.

    Attributes
    ----------
    question : str
        The program, in words.
    sparsity : int
        s.
    recovery : tuple of Assumption
        Of the recovery guarantee of arXiv 2509.20323: IHT finds planted weights.
    convergence : tuple of Assumption
        Of arXiv 2404.18414: IHT with step 1/L_2s converges to HT-stable points.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> checked = cx.theory.assumptions(program)
    >>> checked.sparsity, len(checked.recovery), len(checked.convergence)
    (2, 6, 4)
    """

    question: str
    sparsity: int
    recovery: tuple[Assumption, ...]
    convergence: tuple[Assumption, ...]

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.question}; s = {self.sparsity}",
                f"  Recovery of planted weights (arXiv 2509.20323) {_verdict(self.recovery)}",
                *(f"    {assumption}" for assumption in self.recovery),
                f"  Convergence to HT-stable points (arXiv 2404.18414) {_verdict(self.convergence)}",
                *(f"    {assumption}" for assumption in self.convergence),
            )
        )


def _verdict(assumptions: tuple[Assumption, ...]) -> str:
    failed = [assumption.name for assumption in assumptions if assumption.holds is False]
    if failed:
        return f"does not apply: {', '.join(failed)}"
    unknown = [assumption.name for assumption in assumptions if assumption.holds is None]
    return f"applies if these hold, which cannot be checked: {', '.join(unknown)}" if unknown else "applies"


def assumptions(
    program: ConvexProgram,
    sparsity: int | None = None,
    *,
    n_supports: int = 200,
    seed: int | np.random.Generator = 0,
) -> Assumptions:
    """Return which of the papers' assumptions hold for a program; printed, a sentence for each.

    Parameters
    ----------
    program : ConvexProgram
        Without cones.
    sparsity : int, optional
        s; default the program's budget.
    n_supports : int, default 200
        Random supports on which alpha and beta are looked at.
    seed : int or numpy.random.Generator, default 0
        Of the supports.

    Returns
    -------
    Assumptions

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range.

    Notes
    -----
    A theorem that does not apply says nothing: neither that a method works nor that it fails. What is asked of the
    truth that made the target cannot be checked on data.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((100, 4))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="ridge", strength=0.01, budget=3)
    >>> checked = cx.theory.assumptions(program)
    >>> print(str(checked).splitlines()[0])
    squared loss + 0.01 * ridge, at most 3 of 20 weights; s = 3
    """
    design = smooth_part(program)
    chosen = as_sparsity(program, sparsity, design.size)
    smooth, convex = restricted_smoothness(program, chosen), restricted_strong_convexity(program, chosen)
    # Lemma 1 is about the columns alone, so their strong convexity goes without the ridge.
    spectrum = restricted_spectrum(program, min(2 * chosen, design.size), n_supports, seed=seed)
    recovery = (
        _setting(program),
        _gaussian(program.X),
        _planted(),
        _assumption_two(program),
        *_conditioning(design, chosen, smooth, convex, spectrum),
    )
    convergence = (_smooth(program, smooth), _share(design, chosen), _minimisers(design), _rate(convex))
    return Assumptions(program.question, chosen, recovery, convergence)


def _setting(program: ConvexProgram) -> Assumption:
    fits = program.loss.name == "squared" and program.n_outputs == 1 and program.penalty is None
    extra = "" if program.penalty is None else f", and a penalty {program.penalty.name}"
    found = f"The program has the {program.loss.name} loss and {program.n_outputs} output(s){extra}."
    return Assumption("squared loss, one output, a budget alone", fits, found)


def _gaussian(X: Floats) -> Assumption:
    name, (n, d) = "i.i.d. Gaussian data", X.shape
    spread = X.std(axis=0)
    if not spread.all():
        return Assumption(name, False, f"Feature {int(spread.argmin())} is constant.")
    if n < LEAST_ROWS:
        return Assumption(name, None, f"{n} rows say too little.")
    from scipy.stats import kurtosistest

    unit = (X - X.mean(axis=0)) / spread
    signs = {
        "a mean that is not 0": np.abs(X.mean(axis=0) / spread) * sqrt(n),
        "variances that differ": np.abs(spread**2 / (spread**2).mean() - 1.0) * sqrt(n / 2),
        "features that correlate": np.abs(unit.T @ unit - n * np.eye(d)) / sqrt(n),
        "tails that are not Gaussian": np.abs(kurtosistest(X).statistic),
    }
    limit = sqrt(2.0 * log(2.0 * RARE * (3 * d + d * d)))
    against = [name for name, sizes in signs.items() if sizes.max() > limit]
    if against:
        return Assumption(name, False, f"The data have {' and '.join(against)}.")
    return Assumption(name, None, "Means, variances, correlations and tails do not contradict it.")


def _planted() -> Assumption:
    return Assumption(
        "planted weights", None, "That a sparse network over these gates made the target is about the truth."
    )


def _assumption_two(program: ConvexProgram) -> Assumption:
    measured = separation_and_coverage(program.patterns, program.X)
    good = measured.coverage > 0.0 and measured.separation > 0.0
    found = str(measured)
    return Assumption("coverage and separation", good, f"{found[0].upper()}{found[1:]}.")


def _conditioning(
    design: Design,
    sparsity: int,
    smooth: RestrictedConstant,
    convex: RestrictedConstant,
    spectrum: RestrictedSpectrum,
) -> tuple[Assumption, ...]:
    """Return what is known of alpha > 0, and of the relaxed budget that the theorem's projection needs."""
    proven, name = design.program.loss.name == "squared" and convex.value > design.strength, "alpha > 0 on all supports"
    if proven:
        first = Assumption(name, True, f"{convex}.")
    elif np.isinf(spectrum.condition):
        first = Assumption(name, False, f"Columns of a support of {spectrum.n_entries} depend on each other.")
    else:
        first = Assumption(name, None, f"Not contradicted: {spectrum}.")
    if np.isinf(spectrum.condition) and not proven:
        return (first,)
    certain = (smooth.value - design.strength) / (convex.value - design.strength) if proven else np.inf
    least = ceil(min(RELAXATION * spectrum.condition**2 * sparsity, 1e18))
    holds = False if least > design.size else (True if RELAXATION * certain**2 * sparsity <= design.size else None)
    found = f"At least {least:,} entries are asked for, and there are {design.size:,} weights."
    return first, Assumption("room for the relaxed budget 32 (beta/alpha)^2 s", holds, found)


def _smooth(program: ConvexProgram, smooth: RestrictedConstant) -> Assumption:
    name, penalty = "restricted smoothness", program.penalty
    if penalty is not None and penalty.name not in ("ridge", "none"):
        return Assumption(name, False, f"The penalty {penalty.name} has no gradient.")
    step = "any" if smooth.value == 0.0 else f"{1.0 / smooth.value:.4g}"
    return Assumption(name, True, f"{smooth}: a step of {step} descends.")


def _share(design: Design, sparsity: int) -> Assumption:
    found = f"s = {sparsity} of {design.size} weights; beyond half of them L_2s is the constant of all."
    return Assumption("s at most half of the weights", 2 * sparsity <= design.size, found)


def _minimisers(design: Design) -> Assumption:
    name, loss = "a minimiser on each support", design.program.loss.name
    if design.strength > 0.0 or loss == "squared":
        reason = "A ridge" if design.strength > 0.0 else "The squared loss"
        return Assumption(name, True, f"{reason} has one on every support.")
    separable = separates(design)
    if separable is None:
        return Assumption(name, None, "The linear program that says whether the labels can be separated is too large.")
    if separable:
        found = "Some weights separate the labels, at least in part: longer ones lower the loss for ever; take a ridge."
        return Assumption(name, False, found)
    return Assumption(name, True, "No weights separate the labels, not even in part.")


def _rate(convex: RestrictedConstant) -> Assumption:
    name = "a linear rate (alpha_2s > 0)"
    found = f"{convex}."
    return Assumption(name, True if convex.value > 0.0 else None, found)

"""Theory: the quantities that the papers' theorems need, measured or bounded for a program.

In comes a program; out come restricted constants, spectra, coverage, stability and the verdict on each assumption,
with what each rests on. Kernels on supports are in `supports/`. Start reading in `assumptions.py`.
"""

from convexnn.theory.assumptions import Assumption, Assumptions, assumptions
from convexnn.theory.constants import (
    RestrictedConstant,
    restricted_smoothness,
    restricted_strong_convexity,
    step_size,
)
from convexnn.theory.coverage import SeparationAndCoverage, separation_and_coverage
from convexnn.theory.enumeration import EnumeratedOptimum, enumerated_optimum
from convexnn.theory.linearity import linear_patterns
from convexnn.theory.optimality import EpsilonOptimality, epsilon_optimality
from convexnn.theory.spectrum import RestrictedSpectrum, restricted_spectrum
from convexnn.theory.stability import HTStability, ht_stability
from convexnn.theory.widths import WidthNeeded, width_needed

__all__ = [
    "Assumption",
    "Assumptions",
    "EnumeratedOptimum",
    "EpsilonOptimality",
    "HTStability",
    "RestrictedConstant",
    "RestrictedSpectrum",
    "SeparationAndCoverage",
    "WidthNeeded",
    "assumptions",
    "enumerated_optimum",
    "epsilon_optimality",
    "ht_stability",
    "linear_patterns",
    "restricted_smoothness",
    "restricted_spectrum",
    "restricted_strong_convexity",
    "separation_and_coverage",
    "step_size",
    "width_needed",
]

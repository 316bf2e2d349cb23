"""Sparse two-layer ReLU networks, recovered by convex methods: patterns, program, solver, solution, network."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convexnn import theory
from convexnn.checks import mixed_files
from convexnn.comparison.crosscheck import Crosscheck, crosscheck
from convexnn.comparison.regularization_path import RegularizationPath, regularization_path, strength_max
from convexnn.estimators.budget_path import BudgetPath, BudgetStep, budget_path
from convexnn.explanation import Explanation, explain
from convexnn.fitting.fit_network import fit_network
from convexnn.fitting.result import NetworkFit
from convexnn.network import SparseReLUNetwork
from convexnn.optimum.global_optimum import global_optimum
from convexnn.optimum.priced_gates import PricedGates, price
from convexnn.optimum.result import GlobalOptimum, OptimumProgress
from convexnn.patterns.activation_patterns import ActivationPatterns, sample_patterns
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.memory import Memory, memory_estimate
from convexnn.recovery.options import RecoveryProgress
from convexnn.recovery.recover import recover
from convexnn.solution import Solution, Status
from convexnn.solvers.registry import solve

if TYPE_CHECKING:
    from convexnn.estimators.classifier import SparseReLUClassifier
    from convexnn.estimators.regressor import SparseReLURegressor

# Where that other package came last, its own face of `verify` is imported, and only here can anybody be told.
if (_mixed := mixed_files(Path(__file__).parents[1] / "verify")) is not None:
    warnings.warn(_mixed, stacklevel=2)

__version__ = "0.1.0"

__all__ = [
    "ActivationPatterns",
    "BudgetPath",
    "BudgetStep",
    "ConvexProgram",
    "Crosscheck",
    "Explanation",
    "GlobalOptimum",
    "Memory",
    "NetworkFit",
    "OptimumProgress",
    "PricedGates",
    "RecoveryProgress",
    "RegularizationPath",
    "Solution",
    "SparseReLUClassifier",
    "SparseReLUNetwork",
    "SparseReLURegressor",
    "Status",
    "budget_path",
    "crosscheck",
    "explain",
    "fit_network",
    "global_optimum",
    "memory_estimate",
    "price",
    "recover",
    "regularization_path",
    "sample_patterns",
    "solve",
    "strength_max",
    "theory",
]

# scikit-learn comes with them, and is not loaded before they are used.
_ESTIMATORS = {"SparseReLUClassifier": "classifier", "SparseReLURegressor": "regressor"}


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"convexnn.estimators.{_ESTIMATORS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

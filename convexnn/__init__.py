"""Sparse two-layer ReLU networks, recovered by convex methods: patterns, program, solver, solution, network."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convexnn.checks import mixed_files

if TYPE_CHECKING:
    from convexnn import theory
    from convexnn.comparison.crosscheck import Crosscheck, crosscheck
    from convexnn.comparison.regularization_path import RegularizationPath, regularization_path, strength_max
    from convexnn.estimators.budget_path import BudgetPath, BudgetStep, budget_path
    from convexnn.estimators.classifier import SparseReLUClassifier
    from convexnn.estimators.regressor import SparseReLURegressor
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
    from convexnn.progress import show_progress
    from convexnn.recovery.options import RecoveryProgress
    from convexnn.recovery.recover import recover
    from convexnn.solution import Solution, Status
    from convexnn.solvers.registry import solve

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
    "show_progress",
    "solve",
    "strength_max",
    "theory",
]

# Where public names are: each is loaded when it is first used, so that importing the package takes a moment.
_MODULES = {
    "comparison.crosscheck": ("Crosscheck", "crosscheck"),
    "comparison.regularization_path": ("RegularizationPath", "regularization_path", "strength_max"),
    "estimators.budget_path": ("BudgetPath", "BudgetStep", "budget_path"),
    "estimators.classifier": ("SparseReLUClassifier",),
    "estimators.regressor": ("SparseReLURegressor",),
    "explanation": ("Explanation", "explain"),
    "fitting.fit_network": ("fit_network",),
    "fitting.result": ("NetworkFit",),
    "network": ("SparseReLUNetwork",),
    "optimum.global_optimum": ("global_optimum",),
    "optimum.priced_gates": ("PricedGates", "price"),
    "optimum.result": ("GlobalOptimum", "OptimumProgress"),
    "patterns.activation_patterns": ("ActivationPatterns", "sample_patterns"),
    "program.convex_program": ("ConvexProgram",),
    "program.memory": ("Memory", "memory_estimate"),
    "progress": ("show_progress",),
    "recovery.options": ("RecoveryProgress",),
    "recovery.recover": ("recover",),
    "solution": ("Solution", "Status"),
    "solvers.registry": ("solve",),
}
# Modules that are used by their own names, such as ``convexnn.datasets.planted``.
_PACKAGES = ("baselines", "datasets", "plots", "theory")
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"convexnn.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"convexnn.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})

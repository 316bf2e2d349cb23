"""Sparse two-layer ReLU networks, recovered by convex methods: patterns, program, solver, solution, network."""

from convexnn import theory
from convexnn.crosscheck import Crosscheck, crosscheck
from convexnn.fitting.fit import fit_network
from convexnn.fitting.result import NetworkFit
from convexnn.memory import Memory, memory_estimate
from convexnn.network import SparseReLUNetwork
from convexnn.path import RegularizationPath, regularization_path, strength_max
from convexnn.patterns import ActivationPatterns, sample_patterns
from convexnn.program import ConvexProgram
from convexnn.recovery.recover import recover
from convexnn.recovery.wish import RecoveryProgress
from convexnn.solution import Solution, Status
from convexnn.solvers import solve

__version__ = "0.1.0"

__all__ = [
    "ActivationPatterns",
    "ConvexProgram",
    "Crosscheck",
    "Memory",
    "NetworkFit",
    "RecoveryProgress",
    "RegularizationPath",
    "Solution",
    "SparseReLUNetwork",
    "Status",
    "crosscheck",
    "fit_network",
    "memory_estimate",
    "recover",
    "regularization_path",
    "sample_patterns",
    "solve",
    "strength_max",
    "theory",
]

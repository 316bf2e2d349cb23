"""How long a network takes to become a MILP in an engine's hands.

    python benchmarks/encoding.py [repeats]

A dense 784-256-256-10 network with weights of He's size, a ball of radius 0.05 in the unit box, one margin. The least
and the median milliseconds of each step.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import highspy
import numpy as np
from ortools.math_opt import parameters_pb2
from ortools.math_opt.core.python import solver
from ortools.math_opt.python import mathopt as ortools

import convexnn as cx
import verify
from verify.backends import highspy_direct, mathopt
from verify.milp.early_stop import scaled_with_early_stop
from verify.milp.model import Milp
from verify.milp.scaling import scale

SIZES = (784, 256, 256, 10)


def milliseconds(step: Callable[[], Any], repeats: int) -> str:
    """Return the least and the median time of a step."""
    seconds = [common.seconds_of(step) for _ in range(repeats)]
    return f"{1e3 * min(seconds):6.0f} {1e3 * float(np.median(seconds)):6.0f}"


def to_highspy(milp: Milp) -> None:
    """Hand a model to HiGHS of highspy."""
    engine = highspy.Highs()
    engine.silent()
    highspy_direct.hand_over(highspy, engine, milp)


def to_mathopt(milp: Milp, engine: ortools.SolverType) -> None:
    """Hand a model to an engine of MathOpt, its own copy included, as a call of it begins."""
    solver.new(engine.value, mathopt.proto(milp), parameters_pb2.SolverInitializerProto())


def to_public_mathopt(milp: Milp, engine: ortools.SolverType) -> None:
    """Do the same by the public model of MathOpt."""
    ortools.IncrementalSolver(ortools.Model.from_model_proto(mathopt.proto(milp)), engine).close()


def main(repeats: int = 9) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((o, i)) * np.sqrt(2.0 / i), np.zeros(o)) for i, o in pairwise(SIZES)]
    network = cx.SparseReLUNetwork(layers)
    region = verify.LinfBall(rng.random(SIZES[0]), 0.05, clip=(0, 1))
    objective = np.eye(SIZES[-1])[1] - np.eye(SIZES[-1])[0]
    layer_bounds = verify.bound(network, region)
    encoding = verify.encode(network, region, objective, layer_bounds)
    milp, scaled = encoding.milp, scale(encoding.milp).milp
    steps: dict[str, Callable[[], Any]] = {
        "arrays": lambda: verify.encode(network, region, objective, layer_bounds),
        "arrays, interval bounds included": lambda: verify.encode(
            network, region, objective, verify.bound(network, region)
        ),
        "scaled": lambda: scale(milp),
        "scaled, with an early stop": lambda: scaled_with_early_stop(milp, 0.0, 5.0),
        "handed to highspy": lambda: to_highspy(scaled),
        "a proto for MathOpt": lambda: mathopt.proto(scaled),
        "handed to gscip of MathOpt": lambda: to_mathopt(scaled, ortools.SolverType.GSCIP),
        "handed to highs of MathOpt": lambda: to_mathopt(scaled, ortools.SolverType.HIGHS),
        "the same by its public model, gscip": lambda: to_public_mathopt(scaled, ortools.SolverType.GSCIP),
        "the same by its public model, highs": lambda: to_public_mathopt(scaled, ortools.SolverType.HIGHS),
    }
    print(f"{milp}\n{'step':35}  least median (ms)")
    for name, step in steps.items():
        print(f"{name:35} {milliseconds(step, repeats)}")


if __name__ == "__main__":
    main(*common.arguments(int))

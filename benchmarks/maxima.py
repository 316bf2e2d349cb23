"""Maxima of small trained networks, beside gurobi-machinelearning (pip licence) and PySCIPOpt-ML where installed.

    python benchmarks/maxima.py [--nets 12] [--shapes 20-60-1 ...] [--seconds 60] [--arms ours gurobi scip] [--seed 0]

Networks of 5 to 20 inputs and one to three hidden layers of 10 to 50 neurons are trained here, from a seed, on sums of
waves and products; the question is the largest output over [-1, 1]^d. Every arm has one thread, the same box, the same
limit, and closes the gap to 1e-6 of the value. The value is that of the network at the arm's point; seconds are of CPU,
building the model included. Rivals that are not installed are left out, with a line.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch

import verify
from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork

SHAPES = [
    (5, 50, 1),
    (5, 20, 20, 1),
    (5, 10, 10, 10, 1),
    (8, 30, 1),
    (8, 20, 20, 1),
    (10, 50, 1),
    (10, 20, 20, 1),
    (10, 10, 10, 10, 1),
    (15, 30, 1),
    (15, 20, 10, 1),
    (20, 20, 1),
    (20, 10, 10, 1),
]

# The share of the value within which every arm closes the gap.
GAP = 1e-6


@dataclass(frozen=True)
class Found:
    """What an arm says: whether the optimum is proven, the point, and a bound of the maximum."""

    optimal: bool
    point: Floats
    bound: float


def trained(sizes: Sequence[int], seed: int) -> torch.nn.Sequential:
    """Return a network trained for 1,500 steps of Adam on 2,048 points of a sum of waves and products."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    parts: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1])
    X = 2.0 * torch.rand(2048, sizes[0]) - 1.0
    waves = torch.randn(sizes[0])
    y = (torch.sin(3.0 * X) * waves).sum(dim=1) + 2.0 * X[:, 0] * X[:, -1] + (X[:, :3].prod(dim=1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(1500):
        rows = torch.randint(len(X), (256,))
        loss = (model(X[rows])[:, 0] - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def ours(model: torch.nn.Sequential, size: int, seconds: float) -> Found:
    """Ask `maximize`."""
    found = verify.maximize(model, verify.Box(-np.ones(size), np.ones(size)), time_limit=seconds)
    return Found(found.status is verify.Status.OPTIMAL, found.witness, found.bound)


def gurobi(model: torch.nn.Sequential, size: int, seconds: float) -> Found:
    """Ask Gurobi, through gurobi-machinelearning."""
    import gurobipy as gp
    from gurobi_ml import add_predictor_constr

    with gp.Env(params={"OutputFlag": 0}) as env, gp.Model(env=env) as milp:
        x, y = milp.addMVar((1, size), lb=-1.0, ub=1.0), milp.addMVar((1, 1), lb=-gp.GRB.INFINITY)
        add_predictor_constr(milp, model, x, y)
        milp.setObjective(y[0, 0], gp.GRB.MAXIMIZE)
        milp.Params.Threads, milp.Params.TimeLimit, milp.Params.MIPGap = 1, seconds, GAP
        milp.optimize()
        point = np.array(x.X)[0] if milp.SolCount else np.zeros(size)
        return Found(milp.Status == gp.GRB.OPTIMAL, point, float(milp.ObjBound))


def scip(model: torch.nn.Sequential, size: int, seconds: float) -> Found:
    """Ask SCIP, through PySCIPOpt-ML."""
    from pyscipopt import Model
    from pyscipopt_ml.add_predictor import add_predictor_constr

    milp = Model()
    milp.hideOutput()
    x = np.array([[milp.addVar(lb=-1.0, ub=1.0) for _ in range(size)]], dtype=object)
    y = np.array([[milp.addVar(lb=None, ub=None)]], dtype=object)
    add_predictor_constr(milp, model, x, y, unique_naming_prefix="net_")
    milp.setObjective(y[0, 0], "maximize")
    for name, value in (("limits/time", seconds), ("limits/gap", GAP), ("lp/threads", 1)):
        milp.setParam(name, value)
    milp.optimize()
    best = milp.getBestSol() if milp.getNSols() else None
    point = np.zeros(size) if best is None else np.array([best[variable] for variable in x[0]])
    return Found(milp.getStatus() in ("optimal", "gaplimit"), point, float(milp.getDualbound()))


ARMS: dict[str, tuple[Callable[[torch.nn.Sequential, int, float], Found], tuple[str, ...]]] = {
    "ours": (ours, ()),
    "gurobi": (gurobi, ("gurobipy", "gurobi_ml")),
    "scip": (scip, ("pyscipopt", "pyscipopt_ml")),
}


def able(name: str) -> bool:
    """Whether an arm's packages are installed; a line where they are not."""
    missing = [package for package in ARMS[name][1] if find_spec(package) is None]
    if missing:
        print(f"{name}: left out, {' and '.join(missing)} not installed")
    return not missing


def asked(name: str, model: torch.nn.Sequential, network: SparseReLUNetwork, seconds: float) -> dict[str, Any]:
    """Ask an arm; return what it says, and its seconds of CPU."""
    began = process_time()
    found = ARMS[name][0](model, network.n_inputs, seconds)
    spent = process_time() - began
    value = float(network.predict(np.clip(found.point, -1.0, 1.0)[None])[0])
    return {"optimal": found.optimal, "value": value, "bound": found.bound, "seconds": spent}


def main() -> None:
    """Read the command line and print a line an arm and network, and the sums."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--nets", type=int, default=len(SHAPES))
    parser.add_argument("--shapes", nargs="+", type=lambda text: tuple(map(int, text.split("-"))))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    arms = [name for name in given.arms if able(name)]
    sums: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for sizes in given.shapes or SHAPES[: given.nets]:
        model = trained(sizes, given.seed)
        network = verify.read_network(model)
        for name in arms:
            row = asked(name, model, network, given.seconds)
            sums[name].append(row)
            status = "OPTIMAL" if row["optimal"] else "LIMIT"
            shape = "-".join(map(str, sizes))
            line = f"{shape:14} {name:7} {status:8} value {row['value']:.6f} bound {row['bound']:.6f}"
            print(f"{line}  {row['seconds']:.2f} s of CPU", flush=True)
    for name, rows in sums.items():
        seconds, proven = [row["seconds"] for row in rows], sum(row["optimal"] for row in rows)
        times = f"median {median(seconds):.2f}, most {max(seconds):.1f}, sum {sum(seconds):.1f}"
        print(f"{name:7} {proven} of {len(rows)} OPTIMAL; CPU seconds: {times}")


if __name__ == "__main__":
    main()

"""Largest outputs through pruned copies (arXiv 2505.01985), beside the honest alternatives given the same time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.studies.harness.pictures import strips
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.summary import pivot
from convexnn.studies.harness.table import distinct, rows_by
from convexnn.studies.methods.perceptron import perceptron
from convexnn.studies.methods.point_searches import (
    ASCENT,
    DENSE,
    FIELDS,
    KEYS,
    PERTURBED,
    PORTFOLIO,
    RELAXATION,
    SPARSE,
    SURROGATES,
    Question,
    by_milp,
    by_whole_network,
    run_of,
)
from convexnn.tables import Table

# The seed whose copies are pruned at random too.
SIDE_SEED = 0

# Columns that name a network.
NETWORK = ("inputs", "depth", "width", "seed")

# Shapes (inputs, hidden layers, their width) and seconds a method.
SHAPES = {
    "quick": [(100, 2, 50), (1000, 3, 50)],
    "default": list(product((100, 1000, 10000), (2, 3, 5), (50, 200))),
    "full": list(product((100, 1000, 10000), (2, 3, 4, 5), (50, 100, 200))),
}
LIMITS = {"quick": 10.0, "default": 60.0, "full": 600.0}

# The paper's seeds begin here.
FIRST_SEED = 50

# Networks of so many hidden layers are deep; what is above by this share is above.
DEEP, ABOVE, SHORT = 3, 1e-9, 1e-4

PROTOCOL = """
The paper maximises the output of untrained networks, with torch's default weights, over inputs in [0, 1]: 100, 1,000
and 10,000 inputs, 2 to 5 hidden layers of 50, 100 or 200, five seeds, 600 s with Gurobi (`--full --seeds 0,1,2,3,4`);
here 2, 3 and 5 layers of 50 and 200. It prunes the network by magnitude, maximises in the MILP of the copy, and
evaluates each incumbent in the network.

Methods, each with the limit of time in `runs.csv`: the network's own MILP (*dense*); that of a copy without 50 to 95 %
of its weights (*sparse*); of one pruned at random, for seed 0; gradient ascent that begins anew until the time
is over (*pgd*); ascent of one point that is perturbed wherever it stands still (*ppga*), an idea of the paper's authors
(arXiv 2512.24295) rebuilt without their code; the point of the linear relaxation (*lp*), which the paper logs and does
not plot; and `verify.maximize` with surrogates (*portfolio*). Every point is worth what the dense network says.
"""


def runs(scale: Scale, limit: float | None = None, engine: str = "highspy") -> list[Run]:
    """Return a run for every method and network; `limit` in seconds and the MILP engine may be chosen."""
    seconds = LIMITS[scale.size] if limit is None else limit
    methods = [PORTFOLIO, ASCENT, PERTURBED, RELAXATION, DENSE, *SPARSE, "random 0.9"]
    return [
        run_of(dict(zip(NETWORK, (*shape, seed), strict=True)), seconds, engine, method)
        for method, seed, shape in product(methods, scale.seeds, SHAPES[scale.size])
        if seed == SIDE_SEED or not method.startswith("random")
    ]


def untrained(run: Run) -> cx.SparseReLUNetwork:
    """Return the dense network of a run."""
    sizes = [run["inputs"], *[run["width"]] * run["depth"], 1]
    return verify.read_network(perceptron(sizes, FIRST_SEED + run["seed"]))


def answer(run: Run) -> dict[str, Any]:
    """Run one method."""
    network = untrained(run)
    region = verify.Box(np.zeros(run["inputs"]), np.ones(run["inputs"]))
    asked = Question(network, region, np.ones(1), np.inf, run["limit"], run["seed"])
    kind, _, share = run["method"].partition(" ")
    if kind == PORTFOLIO:
        return by_portfolio(asked)
    whole = by_whole_network(kind, asked, run["engine"])
    if whole is not None:
        return whole
    method = "random" if kind == "random" else "magnitude"
    return by_milp(asked, verify.prune(network, float(share), method=method, seed=run["seed"]), run["engine"])


def by_portfolio(asked: Question) -> dict[str, Any]:
    """Return what `maximize` with surrogates finds."""
    began = perf_counter()
    found = verify.maximize(asked.network, asked.region, time_limit=asked.limit, seed=asked.seed, surrogates=SURROGATES)
    sources = [event.source for event in found.trace if event.finding.startswith("reached")]
    note = f"{found.status.name}: bound {found.bound:.6g}, best by {sources[-1] if sources else 'ascent'}"
    return {"found": 0, "best": found.value, "seconds": perf_counter() - began, "note": note}


def best_values(rows: Sequence[Row]) -> dict[tuple[str, ...], dict[str, float]]:
    """Return for each network what each method reaches; minus infinity where it finds no point."""
    found = rows_by(rows, NETWORK, "method")
    return {network: {method: float(row["best"]) for method, row in group.items()} for network, group in found.items()}


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw what each method reaches on each network, from the worst of all methods to the best."""
    points = []
    for group in best_values(rows).values():
        finite = [value for value in group.values() if np.isfinite(value)]
        span = (max(finite) - min(finite)) or 1.0
        for method, value in group.items():
            share = 1.0 - (max(finite) - value) / span if np.isfinite(value) else 0.0
            points.append({"method": method, "share": f"{share}"})
    label = "value, from the worst (0)\nto the best (1) of all methods"
    return [strips(points, folder / "values.png", "share", label=label)]


def tables(rows: list[Row]) -> str:
    """Return how far the portfolio is above each method, and where it is below one."""
    parts, deep, above, empty = [leads(rows).to_markdown()], 0, 0, 0
    for network, best in best_values(rows).items():
        ours = best.get(PORTFOLIO, np.nan)
        short = [name for name, value in best.items() if value > ours + SHORT * (1.0 + abs(value))]
        if short:
            parts.append(f"On the network {' '.join(network)} the portfolio is below {', '.join(short)}.")
        if int(network[1]) >= DEEP and {PORTFOLIO, DENSE} <= set(best):
            deep, above = deep + 1, above + _above(ours, best[DENSE])
            empty += best[DENSE] == -np.inf
    parts.append(
        f"Of {deep} networks of {DEEP} layers or more the portfolio is strictly above the dense MILP on {above}; "
        f"the MILP has no point at all on {empty}."
    )
    return "\n\n".join(parts)


def leads(rows: Sequence[Row]) -> Table:
    """Return for every other method on how many networks the portfolio is above it, and by which share of its value.

    The share is over the networks on which both have a point.
    """
    header = ("method", "networks", "no point found", "portfolio above", "by, in the median", "least", "most")
    body, found = [], best_values(rows)
    for method in distinct(rows, "method"):
        pairs = [(best[PORTFOLIO], best[method]) for best in found.values() if {PORTFOLIO, method} <= set(best)]
        if method == PORTFOLIO or not pairs:
            continue
        ahead = [
            100.0 * (ours - other) / (abs(ours) or 1.0) for ours, other in pairs if np.isfinite([ours, other]).all()
        ]
        by = [f"{of(ahead):.3g} %" for of in (median, min, max)] if ahead else ["", "", ""]
        counts = (len(pairs), sum(other == -np.inf for _, other in pairs), sum(_above(*pair) for pair in pairs))
        body.append((method, *map(str, counts), *by))
    return Table.of(header, body)


def _above(ours: float, other: float) -> bool:
    return ours > other + ABOVE * abs(ours)


def details(rows: list[Row]) -> str:
    """Return the best value of each method on each network."""
    return f"The largest value found:\n\n{pivot(rows, NETWORK, 'method', _value).to_markdown()}"


def _value(rows: list[Row]) -> str:
    value = float(rows[0]["best"]) if rows else np.nan
    return f"{value:.5g}" if np.isfinite(value) else "none" if rows else ""


def cost(run: Run) -> float:
    """Return a guess of the seconds of a run."""
    return 1.0 if run["method"] == RELAXATION else float(run["limit"])


MAXIMIZE = Study(
    name="maximize",
    title="Largest outputs through pruned copies of a network",
    protocol=PROTOCOL,
    keys=(*NETWORK, *KEYS),
    fields=FIELDS,
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    details=details,
    cost=cost,
)

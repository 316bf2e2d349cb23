"""The baselines, by name: how each is run where a study says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from convexnn.baselines import Baseline, prune_iteratively, prune_once, rigl
from convexnn.checks import Floats, as_known

OURS, RELEASED, TRAINED, ONE_SHOT, RIGL = "ours", "imp-released", "imp-trained", "one-shot", "rigl"

# What a page and a picture call them.
TITLES: Mapping[str, str] = MappingProxyType(
    {
        OURS: "ours",
        RELEASED: "IMP as released",
        TRAINED: "IMP trained",
        ONE_SHOT: "one-shot pruning",
        RIGL: "RigL",
    }
)

PRUNING: Mapping[str, Callable[..., dict[int, Baseline]]] = {
    RELEASED: prune_iteratively,
    TRAINED: prune_iteratively,
    ONE_SHOT: prune_once,
}


def run_baseline(
    method: str, X: Floats, y: NDArray[Any], budgets: Sequence[int], **options: Any
) -> dict[int, Baseline]:
    """Return a baseline's network for each budget: pruning serves all in one pass, RigL takes them one by one.

    Parameters
    ----------
    method : str
        ``imp-released``, ``imp-trained``, ``one-shot`` or ``rigl``.
    X, y : ndarray
        The data, with numbers or labels.
    budgets : sequence of int
        Numbers of weights.
    options : dict
        What the function of `convexnn.baselines` takes beside them.
    """
    if as_known(method, "method", (*PRUNING, RIGL)) == RIGL:
        return {budget: rigl(X, y, budget, **options) for budget in budgets}
    return PRUNING[method](X, y, budgets, **options)

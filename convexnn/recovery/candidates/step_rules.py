"""How far a round of a candidate steps towards least squares: the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from convexnn.recovery.layer.support_steps import UnitColumns, conjugate_steps, damped_step


@dataclass(frozen=True)
class StepRule:
    """A way of fitting on a support.

    Attributes
    ----------
    name : str
        In words.
    fit : callable
        columns, residual, damping -> the step of the weights.
    dampings : tuple of float
        What a candidate draws its damping from.
    rounds : tuple of int
        The range of its number of rounds.
    work : callable
        Weights on the support -> the work of a fit, in units of n times these weights.
    """

    name: str
    fit: Callable[..., Tensor]
    dampings: tuple[float, ...]
    rounds: tuple[int, int]
    work: Callable[[int], float]


def _descent(columns: UnitColumns, residual: Tensor, damping: float) -> Tensor:
    return conjugate_steps(columns, residual, count=5)


STEP_RULES = (
    StepRule("full steps", damped_step, (1e-2, 1e-2, 1e-3, 1e-4), (4, 26), float),
    StepRule("damped steps", damped_step, (1.0,), (50, 250), float),
    StepRule("short steps", _descent, (0.0,), (50, 250), lambda s: 20.0),
)

"""Ranges of all outputs: the maximum and the minimum of each, under one clock."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.answers.optimum import Optimum, OutputRange
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.objectives import rows_of, with_values
from verify.questions.extremes import Maximization, functions_of, nothing_known
from verify.questions.inquiry import Inquiry
from verify.questions.resources import Resources, answer_of, resources_of
from verify.reading.read_network import read_simple
from verify.regions.box import Box


def output_range(
    network: Any,
    region: Box,
    objective: int | ArrayLike | None = None,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    n_jobs: int | None = 1,
) -> OutputRange:
    """Find the range of every output over a region; arguments as in :func:`maximize`, one time limit for all.

    With an `objective`, the index of an output, or weights (k,) or (r, k), the ranges of these functions instead.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.
    KeyboardInterrupt
        Ctrl-C while a file is read: not even the number of outputs is known then.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0], [1.0, 0.0]], None)])  # |x| and relu(x)
    >>> found = verify.output_range(network, verify.Box([-1.0], [2.0]))
    >>> found.lower.round(6).tolist(), found.upper.round(6).tolist()
    ([0.0, 0.0], [2.0, 2.0])
    """
    read: list[Floats] = []

    def begin() -> _Ranges:
        net = with_values(read_simple(network), "output_range")
        check_sizes(net, region)
        read.append(rows_of(objective, net.n_outputs, "objective").toarray())
        return _Ranges(net, read[0], region, resources_of(time_limit, backend, seed, n_jobs=n_jobs))

    def nothing(seconds: float) -> OutputRange:
        if not read:
            raise KeyboardInterrupt
        signs = np.repeat([1.0, -1.0], len(read[0])).tolist()
        return _range_of([nothing_known(sign, region, seconds) for sign in signs], seconds)

    return answer_of(begin, nothing)


class _Ranges:
    """The maxima of all functions, then their minima: those that are done, and those begun."""

    def __init__(self, network: SparseReLUNetwork, rows: Floats, region: Box, resources: Resources) -> None:
        asked = [(Inquiry(functions_of(network, sign * rows), region, resources), sign) for sign in (1.0, -1.0)]
        self.every = [(inquiry, index, sign) for inquiry, sign in asked for index in range(len(rows))]
        self.begun: list[Maximization] = []
        self.optima: list[Optimum] = []
        self.clock = resources.clock

    def decide(self) -> OutputRange:
        """Decide about one after the other."""
        for asked in self.every:
            self.begun.append(Maximization(*asked))
            self.optima.append(self.begun[-1].decide())
        return _range_of(self.optima, self.clock.seconds)

    def by_now(self) -> OutputRange:
        """Return what is known by now: one interruption is one of all that are left."""
        left = [*self.begun, *(Maximization(*asked) for asked in self.every[len(self.begun) :])][len(self.optima) :]
        return _range_of([*self.optima, *(one.by_now() for one in left)], self.clock.seconds)


def _range_of(optima: list[Optimum], seconds: float) -> OutputRange:
    """Return the ranges from all maxima and then all minima."""
    count = len(optima) // 2
    maxima, minima = tuple(optima[:count]), tuple(optima[count:])
    return OutputRange(
        lower=np.array([found.bound for found in minima]),
        upper=np.array([found.bound for found in maxima]),
        reached_lower=np.array([found.value for found in minima]),
        reached_upper=np.array([found.value for found in maxima]),
        minima=minima,
        maxima=maxima,
        seconds=seconds,
    )

"""Settling: neurons of narrow layers, and functions, bounded by a few linear programs each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from convexnn.network import SparseReLUNetwork
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import of_units
from verify.clock import Clock
from verify.programs.program_tree import ProgramTree
from verify.programs.relaxed import relax
from verify.regions.box import Box
from verify.regions.intervals import Interval
from verify.splitting.schedule import SCHEDULE

# Neurons that can switch up to which a layer is narrow, and products of the sizes of layers, as far as they can be
# active, up to which a linear program takes hundredths of a second.
NARROW, LARGEST = 16, 1 << 17

# Linear programs of one neuron or function, and the seconds for it.
PROGRAMS, SECONDS = 64, 0.5


class Settling:
    """Bounds by trees of linear programs that end soon, of a network over a box.

    Parameters
    ----------
    region : Box
        Any region; only boxes without linear constraints are bounded so.
    clock : Clock
        The time of the question.
    began, until : float
        Since when its seconds count, and when to end.

    Notes
    -----
    Gradient steps find no multipliers that rule out what is empty, since those grow without end, and few that price the
    bounds of hidden neurons; the simplex finds both at once, and single neurons of the first layers are cut by their
    envelopes. A program costs a hundred times as much as a subproblem of gradient steps, so it is asked where few
    neurons are left: behind a narrow layer all bounds depend on these.
    """

    def __init__(self, region: Box, clock: Clock, began: float, until: float) -> None:
        self.region, self.clock, self.began, self.until, self.spent = region, clock, began, until, 0.0

    def able(self, network: SparseReLUNetwork, known: Sequence[Interval]) -> bool:
        """Whether programs are small enough: `known` are the bounds of hidden layers."""
        if not self.region.is_box or not all(layer.finite for layer in known) or find_spec("highspy") is None:
            return False
        live = [network.n_inputs, *(int(layer.live.sum()) for layer in of_units(network, known))]
        return sum(before * after for before, after in pairwise(live)) <= LARGEST

    def layer(self, network: SparseReLUNetwork, known: Sequence[Interval]) -> Interval:
        """Return bounds of the last layer of a network, sharper ones of neurons that can switch if these are few.

        `known` are finite bounds of all its layers. Of each neuron the end is bounded that is nearer to 0.
        """
        *before, own = known
        loose = own.switching
        if not 0 < len(loose) <= NARROW or not self.able(network, before):
            return own
        lower, upper = own.lower.copy(), own.upper.copy()
        near = np.minimum(-lower, upper)[loose] / (upper - lower)[loose]
        for unit in loose[np.argsort(near, kind="stable")]:
            sign = 1.0 if upper[unit] < -lower[unit] else -1.0
            row = sp.csr_matrix(([sign], ([0], [unit])), shape=(1, network.n_outputs))
            found = self.function(Functions(row, np.zeros(1), network), 0, before, 0.0)
            if sign > 0.0:
                upper[unit] = min(upper[unit], found)
            else:
                lower[unit] = max(lower[unit], -found)
        return Interval(lower, upper, own.floor)

    def function(self, functions: Functions, index: int, known: Sequence[Interval], level: float) -> float:
        """Return a proven upper bound of a function, searched until it is at most `level`; infinite without time."""
        now = self.clock.seconds
        until = min(self.until, now + min(SECONDS, SCHEDULE.settling * (now - self.began) - self.spent))
        if now >= until:
            return np.inf
        tree = ProgramTree(relax(functions, index, self.region, known), lambda points: False, level)
        tree.run(lambda: tree.count >= PROGRAMS or self.clock.past(until), partial(self.clock.left_until, until))
        self.spent += self.clock.seconds - now
        return tree.upper

"""What comes out: a Solution with the gap to all patterns, and how objective and bound moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convexnn.checks import require
from convexnn.solution import Solution, Status
from convexnn.solvers.common.descent import Progress
from convexnn.theory.widths import width_needed


@dataclass(frozen=True)
class OptimumProgress(Progress):
    """State after a turn of local training or a round, handed to ``callback(progress)``, and kept in ``rounds``.

    Attributes
    ----------
    iteration, objective, best, seconds
        As in :class:`convexnn.solvers.common.descent.Progress`: the round, its objective, the lowest so far, the time.
    bound : float
        The best lower bound of the optimum over all patterns that is proven so far.
    gates : int
        Gates held, or neurons of the network.
    worst : float
        The largest price met or proven in the round, over the strength: at 1 no gate is missing.
    proven : bool
        Whether `worst` is a proven bound of all prices, or the largest one found.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 2))
    >>> best = cx.global_optimum(X, np.maximum(X[:, 0], 0), strength=0.01)
    >>> last = best.rounds[-1]
    >>> last.iteration == len(best.rounds), bool(last.bound <= last.best), last.proven
    (True, True, True)
    """

    bound: float
    gates: int
    worst: float
    proven: bool


@dataclass(frozen=True, eq=False, repr=False)
class GlobalOptimum(Solution):
    """A :class:`convexnn.Solution` whose ``gap`` is the one to the optimum over **all** activation patterns.

    Attributes
    ----------
    rounds : tuple of OptimumProgress
        One a turn of local training, then one a round of pricing.
    reason : str
        Why the proof ended where it did.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 2))
    >>> best = cx.global_optimum(X, np.maximum(X[:, 0], 0), strength=0.01)
    >>> bool(best.bound <= best.objective), best.width, best.to_network().n_inputs
    (True, 1, 2)
    """

    _told = (*Solution._told, "bound", "width")

    rounds: tuple[OptimumProgress, ...] = ()
    reason: str = ""

    @property
    def bound(self) -> float:
        """The proven lower bound of the training optimum over networks of any width."""
        assert self.gap is not None
        return max(0.0, self.objective - self.gap)

    @property
    def width(self) -> int:
        """Nonzero blocks (u and v of cones), the neurons of a cone program's network.

        The bound holds at every width. The optimum, up to the gap, is reached by networks of at least so many neurons.
        """
        return width_needed(self).neurons

    @property
    def ending(self) -> str:
        """How the run ended, a sentence or two."""
        if self.status is Status.CONVERGED:
            return f"No gate is missing: {self.reason}. As to widths: {width_needed(self)}."
        return f"{self.status.value} The proof: {self.reason}."

    def plot(self, ax: Any = None) -> Any:
        """Draw objective and bound against seconds and return the matplotlib axes (default: new ones)."""
        if ax is None:
            pyplot = require("matplotlib.pyplot", "matplotlib", "plot")
            ax = pyplot.subplots(layout="constrained")[1]
        seconds = [one.seconds for one in self.rounds]
        ax.plot(seconds, [one.best for one in self.rounds], "o-", markersize=3, label="objective of the network")
        known = [(one.seconds, one.bound) for one in self.rounds if one.bound > 0.0]
        if known:
            ax.step(*zip(*known, strict=True), "s-", where="post", markersize=3, label="proven bound, any network")
        ax.set_xlabel("seconds")
        ax.set_ylabel("loss + strength x penalty")
        ax.set_yscale("log")
        ax.legend()
        return ax

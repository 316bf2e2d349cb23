"""The fits of an estimator: `fit_network` on scaled data, with the ridge that follows from noise and rows held out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.estimators.defaults import noise_deviation, noise_ridge
from convexnn.estimators.folds import HELD_OUT, fold_of, held_out_folds
from convexnn.estimators.progress import Report, each_pass
from convexnn.fitting.fit_network import fit_network
from convexnn.fitting.result import NetworkFit
from convexnn.fitting.weighting import mean_loss
from convexnn.program.losses import LOSSES
from convexnn.program.targets import encode
from convexnn.solution import Status
from convexnn.solvers.common.deadline import Deadline, SentDeadline
from convexnn.workers import is_spread, spread

# Fits that find the noise, the share of the passes that each takes, and of the time where there is a limit.
PROBES, PROBE_PASSES, PROBE_TIME = 2, 0.25, 0.15

# Share of the target's own deviation that the first of them takes for noise: under the whole, networks of two hidden
# layers stay at zero, and all of the target seems noise from then on.
FIRST = 0.1

# The ridge of the noise, a ninth and nine times it predict rows that are held out; the multiple taken is a third to
# three. Wider steps, or the best of those tried, follow the chance in short fits (benchmarks/tables.py).
SPAN, MOST = 9.0, 3.0

# The same for labels, and the fewest of the rarer: under stronger ridges rare labels are fitted less well than by a
# logistic regression.
MOST_LABELS, FEWEST_LABELS = 1.75, 50

# Passes of a fit for that, and the share of the time for it where there is a limit.
FOLD_PASSES, FOLD_TIME = 0.25, 0.03


class _UnfinishedError(Exception):
    """A fit to a part of the rows that was cut short."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status


@dataclass(frozen=True, eq=False)
class NetworkFitter:
    """Fits to one set of rows.

    Attributes
    ----------
    rows : ndarray (n, d)
        Scaled features.
    target : ndarray
        As ``fit_network`` takes it.
    loss : str
        Name of the loss.
    epochs : int
        Passes over the rows.
    deadline : Deadline
        When the fits began, and how long they may take.
    options : dict
        Of ``fit_network``, the same for every fit.
    report, verbosity
        What takes messages, and how many there are.
    """

    rows: Floats
    target: NDArray[Any]
    loss: str
    epochs: int
    deadline: Deadline
    options: dict[str, Any]
    report: Report
    verbosity: int = 0

    def fit(
        self,
        ridge: float,
        share: float = 1.0,
        *,
        n_restarts: int = 1,
        patience: int = 0,
        time_share: float = 1.0,
        probe: bool = False,
    ) -> NetworkFit:
        """Return a fit of a share of the passes, within a share of the time and what is left of it.

        A `probe` shows the noise. For labels it is not polished: what a network fits of rows that it can tell apart
        says little about the noise, and the ridge was too weak (digits: 96.5 % right, 97.2 % without).
        """
        limit, left = self.deadline.time_limit, self.deadline.share(1.0)
        epochs = max(1, round(share * self.epochs))
        self.report(f"fit of {epochs} passes with ridge {ridge:.3g}, {self.options['budget']} weights at most")
        fit = fit_network(
            self.rows,
            self.target,
            loss=self.loss,
            ridge=ridge,
            epochs=epochs,
            n_restarts=n_restarts,
            patience=patience,
            time_limit=None if limit is None or left is None else min(time_share * limit, left),
            linear=not probe,
            polish=not probe or self.loss == "squared",
            callback=each_pass(self.report, self.verbosity, epochs),
            **self.options,
        )
        self.report(f"loss {fit.objective:.6g}, {fit.nnz} weights, {fit.status.name}, {fit.seconds:.1f} s")
        return fit

    def find_ridge(self) -> tuple[float, NetworkFit | None]:
        """Return the ridge of the noise that short fits leave, the first under that of a tenth of the target.

        What a network leaves may be misfit, too, and labels that are rare are fitted better than they are predicted:
        for numbers and two labels the ridge is then multiplied by what predicts rows that are held out best. An
        interruption ends it: the ridge is then that of the fit to all rows that was interrupted, or was the last
        before, which comes with it. So does the end of the time, without a fit.
        """
        loss, target = LOSSES[self.loss], encode(self.target, self.loss, len(self.rows)).values
        weights = self.options["sample_weight"]
        deviation = FIRST * noise_deviation(loss, np.zeros_like(target), target, weights=weights)
        probe: NetworkFit | None = None
        for _ in range(PROBES):
            ridge = noise_ridge(deviation, *self.rows.shape)
            if self.deadline.is_over():
                return ridge, None
            probe = self.fit(ridge, PROBE_PASSES, time_share=PROBE_TIME, probe=True)
            if probe.status is Status.INTERRUPTED:
                return ridge, probe
            deviation = noise_deviation(loss, probe.network.predict(self.rows), target, probe.nnz, weights)
        ridge = noise_ridge(deviation, *self.rows.shape)
        if ridge == 0.0 or not self._can_hold_out():
            return ridge, None
        try:
            return ridge * self._best_multiple(ridge), None
        except _UnfinishedError as error:
            if probe is None or error.status is not Status.INTERRUPTED:
                return ridge, None
            return ridge, replace(probe, status=error.status)

    def _best_multiple(self, ridge: float) -> float:
        """Return the multiple of a ridge, 1/3 to 3 (labels: 1.75), under which rows held out are predicted best.

        It is the lowest point of the parabola through the logarithms of the losses under 1/9, 1 and 9 times the ridge.
        """
        losses = self._held_out_losses([ridge * SPAN**level for level in (-1, 0, 1)])
        below, here, above = np.log(np.maximum(losses, np.finfo(float).tiny))
        slope, curvature = 0.5 * (above - below), above + below - 2.0 * here
        level = -slope / curvature if curvature > 0.0 else -np.inf * np.sign(slope) if slope else 0.0
        most = MOST if self.loss == "squared" else MOST_LABELS
        return float(np.clip(SPAN ** np.clip(level, -1.0, 1.0), 1.0 / MOST, most))

    def _can_hold_out(self) -> bool:
        """Whether there are enough rows, or rows of each of two labels, to hold some out; more labels take too long."""
        if self.loss == "logistic":
            # A margin is fitted on the worst case.
            many = np.bincount(self.target).min() >= FEWEST_LABELS
            return bool(many and not np.any(self.options.get("margin", 0.0)))
        return self.loss == "squared" and len(self.rows) >= HELD_OUT and self._others_vary()

    def _others_vary(self) -> bool:
        """Whether without each fold a target is left that varies: not so where a single row, or few, differ."""
        folds = fold_of(self.target)
        return all(np.ptp(self.target[folds != fold], axis=0).any() for fold in held_out_folds(len(folds)))

    def _held_out_losses(self, ridges: list[float]) -> list[float]:
        """Return the weighted mean loss on rows held out of each ridge, by fits here or on the workers that there are.

        Raises _UnfinishedError where time is up or an interruption comes.
        """
        folds = held_out_folds(len(fold_of(self.target)))
        asked = [(ridge, fold) for ridge in ridges for fold in folds]
        sender, sent = self, None
        if is_spread(None):
            sender, sent = replace(self, report=_silent, verbosity=0), self.deadline.sent()
        parts = list[tuple[float, float]]()
        with (
            _interruption_told(),
            closing(spread(_held_out_part, [(sender, sent, *one) for one in asked], ordered=True)) as found,
        ):
            for _, part in found:
                if isinstance(part, Status):
                    raise _UnfinishedError(part)
                parts.append(part)
                if len(parts) % len(folds) == 0:
                    total, counted = np.sum(parts[-len(folds) :], axis=0)
                    ridge = ridges[len(parts) // len(folds) - 1]
                    self.report(f"rows held out: loss {total / counted:.6g} with ridge {ridge:.3g}")
        totals = np.reshape(parts, (len(ridges), len(folds), 2)).sum(axis=1)
        return [float(loss) for loss in totals[:, 0] / totals[:, 1]]

    def held_out_part(self, ridge: float, fold: int) -> tuple[float, float] | Status:
        """Return the loss on the rows of a fold, times their number, and their weight; how a fit was cut short.

        The noise is that of fewer rows, and so the ridge.
        """
        folds, row_weights = fold_of(self.target), self.options["sample_weight"]
        weights = np.ones(len(folds)) if row_weights is None else row_weights
        target, out = encode(self.target, self.loss, len(folds)).values, folds == fold
        if self.deadline.is_over():
            return Status.TIME_LIMIT
        fit = self._part(~out).fit(ridge * np.mean(~out) ** -0.5, FOLD_PASSES, time_share=FOLD_TIME)
        if fit.status in (Status.INTERRUPTED, Status.TIME_LIMIT):
            return fit.status
        outputs = fit.network.predict(self.rows[out])
        loss = mean_loss(LOSSES[self.loss], outputs, target[out], weights[out])
        return loss * np.count_nonzero(out), float(weights[out].sum())

    def _part(self, kept: NDArray[np.bool_]) -> NetworkFitter:
        """Return the fits to some of the rows; they do not begin at a network that may have seen the others."""
        weights = self.options["sample_weight"]
        options = {**self.options, "start": None, "sample_weight": None if weights is None else weights[kept]}
        return replace(self, rows=self.rows[kept], target=self.target[kept], options=options)


@contextmanager
def _interruption_told() -> Iterator[None]:
    """Raise _UnfinishedError for an interruption while fits are waited for that run elsewhere."""
    try:
        yield
    except KeyboardInterrupt:
        raise _UnfinishedError(Status.INTERRUPTED) from None


def _held_out_part(
    fitter: NetworkFitter, deadline: SentDeadline | None, ridge: float, fold: int
) -> tuple[float, float] | Status:
    """Return what the fitter says, here or on a worker, to which its deadline was sent."""
    here = fitter if deadline is None else replace(fitter, deadline=deadline.received())
    return here.held_out_part(ridge, fold)


def _silent(message: str) -> None:
    """Take a message of a worker, where nobody would read it."""

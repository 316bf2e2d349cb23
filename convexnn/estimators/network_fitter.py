"""The fits of an estimator: `fit_network` on scaled data, with the ridge that follows from noise and rows held out."""

from __future__ import annotations

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
from convexnn.program.losses import LOSSES
from convexnn.program.targets import encode
from convexnn.solution import Status
from convexnn.solvers.common.deadline import Deadline

# Fits that find the noise, the share of the passes that each takes, and of the time where there is a limit.
PROBES, PROBE_PASSES, PROBE_TIME = 2, 0.25, 0.15

# Share of the target's own deviation that the first of them takes for noise: under the whole, networks of two hidden
# layers stay at zero, and all of the target seems noise from then on.
FIRST = 0.1

# Multiples of that ridge under which numbers that are held out are predicted: powers of STEP, the exponent at most MOST
# either way. Passes of such a fit, and the share of the time for it where there is a limit.
STEP, MOST, FOLD_PASSES, FOLD_TIME = 3.0, 2, 0.25, 0.03


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

        What a network leaves may be misfit, too: for numbers the ridge is then multiplied by what predicts rows that
        are held out best. An interruption ends it: the ridge is then that of the fit to all rows that was interrupted,
        or was the last before, which comes with it. So does the end of the time, without a fit.
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
        if self.loss != "squared" or ridge == 0.0 or len(self.rows) < HELD_OUT:
            return ridge, None
        try:
            return ridge * self._best_multiple(ridge), None
        except _UnfinishedError as error:
            if probe is None or error.status is not Status.INTERRUPTED:
                return ridge, None
            return ridge, replace(probe, status=error.status)

    def _best_multiple(self, ridge: float) -> float:
        """Return the multiple of a ridge that predicts rows held out best.

        It is tried downwards, then upwards, as long as it pays, and lies where the parabola through the best and its
        neighbours is lowest, in the logarithm.
        """
        losses = {0: self._held_out_loss(ridge)}
        for step in (-1, 1):
            level = step
            while abs(level) <= MOST:
                losses[level] = self._held_out_loss(ridge * STEP**level)
                if losses[level] >= losses[level - step]:
                    break
                level += step
            if level != step:
                break
        best = min(losses, key=lambda level: losses[level])
        if best - 1 not in losses or best + 1 not in losses:
            return float(STEP**best)
        before, after = losses[best - 1] - losses[best], losses[best + 1] - losses[best]
        shift = 0.5 * (before - after) / (before + after) if before + after > 0.0 else 0.0
        return float(STEP ** (best + shift))

    def _held_out_loss(self, ridge: float) -> float:
        """Return the weighted mean square error on rows held out; their noise is that of fewer rows, and so the ridge.

        Raises _UnfinishedError where time is up or an interruption comes.
        """
        folds, row_weights = fold_of(self.target), self.options["sample_weight"]
        weights = np.ones(len(folds)) if row_weights is None else row_weights
        total, counted = 0.0, 0.0
        for fold in held_out_folds(len(folds)):
            out = folds == fold
            if self.deadline.is_over():
                raise _UnfinishedError(Status.TIME_LIMIT)
            fit = self._part(~out).fit(ridge * np.mean(~out) ** -0.5, FOLD_PASSES, time_share=FOLD_TIME)
            if fit.status in (Status.INTERRUPTED, Status.TIME_LIMIT):
                raise _UnfinishedError(fit.status)
            outputs = fit.network.predict(self.rows[out])
            squares = np.square(outputs - self.target[out].reshape(outputs.shape))
            total += float((weights[out] @ squares).sum())
            counted += float(weights[out].sum())
        self.report(f"rows held out: mean square error {total / counted:.6g} with ridge {ridge:.3g}")
        return total / counted

    def _part(self, kept: NDArray[np.bool_]) -> NetworkFitter:
        """Return the fits to some of the rows; they do not begin at a network that may have seen the others."""
        weights = self.options["sample_weight"]
        options = {**self.options, "start": None, "sample_weight": None if weights is None else weights[kept]}
        return replace(self, rows=self.rows[kept], target=self.target[kept], options=options)

"""The fits of an estimator: `fit_network` on scaled data, with the ridge that follows from the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.estimators.defaults import noise_deviation, noise_ridge
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

        An interruption ends it: the ridge is then that of the fit that was interrupted, which comes with it. So does
        the end of the time, without a fit.
        """
        loss, target = LOSSES[self.loss], encode(self.target, self.loss, len(self.rows)).values
        weights = self.options["sample_weight"]
        deviation = FIRST * noise_deviation(loss, np.zeros_like(target), target, weights=weights)
        for _ in range(PROBES):
            if self.deadline.is_over():
                break
            ridge = noise_ridge(deviation, *self.rows.shape)
            probe = self.fit(ridge, PROBE_PASSES, time_share=PROBE_TIME, probe=True)
            if probe.status is Status.INTERRUPTED:
                return ridge, probe
            deviation = noise_deviation(loss, probe.network.predict(self.rows), target, probe.nnz, weights)
        return noise_ridge(deviation, *self.rows.shape), None

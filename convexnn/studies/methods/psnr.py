"""The measure of a fit that the papers use: the peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats

# What an exact fit is stated as: float64 cannot show much more.
LARGEST = 300.0

# From here on a fit counts as solved, the end of the paper's colours, and as exact.
SOLVED, EXACT = 50.0, 100.0


def psnr(y: Floats, prediction: Floats, peak: float | None = None) -> float:
    """Return 20 log10(peak) - 10 log10(mean square error) in dB, at most 300; the peak is max |y| where not given."""
    error = float(np.mean((y - prediction) ** 2))
    height = float(np.abs(y).max()) if peak is None else peak
    return min(LARGEST, 20.0 * np.log10(height) - 10.0 * np.log10(max(error, 1e-300)))

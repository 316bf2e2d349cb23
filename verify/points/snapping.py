"""Snapping: inputs of few bits, at ends and corners, near a point; ties are reached exactly there or not at all."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from verify.regions.box import Box

# The share of its width within which an input is put onto an end or onto the center.
NEAR = 1e-5

# Binary digits of the grids, counted from the width of each input.
DIGITS = (1, 3, 6, 10, 16, 24, 32, 40)


def snapped(region: Box, point: Floats) -> Floats:
    """Return inputs (n, d) near `point` (d,): on its ends and the center where it is near, and on coarse grids.

    They lie in the region's box; whether the region holds them is asked of it, in exact arithmetic.
    """
    landmarks = [region.center, *_tips(region), region.lower, region.upper]
    with np.errstate(all="ignore"):
        width = region.upper - region.lower
        grids = [np.exp2(np.ceil(np.log2(np.where(width > 0.0, width, 1.0))) - digits) for digits in DIGITS]
        rounded = [point, *(np.round(point / grid) * grid for grid in grids)]
    result = []
    for each in rounded:
        near = each.copy()
        for mark in landmarks:
            near = np.where(np.abs(point - mark) <= NEAR * width, mark, near)
        result += [near, each]
    found = np.clip(np.stack(result), region.lower, region.upper)
    return np.unique(found[np.isfinite(found).all(axis=1)], axis=0)


def _tips(region: Box) -> list[Floats]:
    """Return how far the inputs go from the center along one axis alone, where that is not the box."""
    radius = getattr(region.base, "radius", None)
    if radius is None or region.base.is_box:
        return []
    return [region.center - radius, region.center + radius]

"""Which penalties price a neuron by itself, and why the others do not."""

from __future__ import annotations

from convexnn.checks import as_known

# Penalties that are a sum of norms over neurons: the best missing neuron can be asked for.
PRICED = ("group_l1", "l1")

REASONS = {
    "feature_l1": "its groups run over all neurons, so that no neuron has a price of its own",
    "ridge": "it is paid by the square, so that a neuron costs less the more it is split over gates",
    "none": "nothing is paid for a neuron",
}


def check_priced(penalty: str) -> str:
    """Return the penalty if neurons have a price; else a ValueError that says why not."""
    known = as_known(penalty, "penalty", (*PRICED, *REASONS))
    if known not in PRICED:
        raise ValueError(f"penalty is {known!r}: {REASONS[known]}; expected one of: {', '.join(PRICED)}")
    return known

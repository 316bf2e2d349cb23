"""Limits: how large a graph and what it makes may be, so that a small file cannot ask for a large machine."""

from __future__ import annotations

# Nodes of a graph; entries of a value for one row; entries of a matrix that is unrolled, or of all that a graph makes;
# places that a kernel visits; entries of all constants that a graph computes from others.
MOST_NODES = 10_000
MOST_VALUE = 1 << 21
MOST_ENTRIES = 1 << 27
MOST_PLACES = 1 << 24
MOST_CONSTANT = 1 << 24

# Steps of the search for what is carried past a layer.
MOST_STEPS = 1 << 21


def as_size(count: int, what: str, most: int = MOST_ENTRIES) -> int:
    """Return how many entries are about to be made, and what of; more than `most` are refused."""
    if count > most:
        raise ValueError(f"{what} would have {count:,} entries; expected at most {most:,}")
    return count


class Allowance:
    """What the graph of a file of so many bytes may still make: what a file holds it may, and some more.

    Parameters
    ----------
    n_bytes : int
        Size of the file.
    """

    def __init__(self, n_bytes: int) -> None:
        self.value = MOST_VALUE + n_bytes
        self._left = {"a matrix": MOST_ENTRIES + n_bytes, "a constant": MOST_CONSTANT + n_bytes}

    def take(self, count: int, what: str) -> None:
        """Count entries of a matrix or of a constant, which all of them share; too many are refused."""
        if count > self._left[what]:
            raise ValueError(
                f"{what} would have {count:,} entries; expected at most {self._left[what]:,}, what is left of those "
                "that the graph of a file of this size may make"
            )
        self._left[what] -= count

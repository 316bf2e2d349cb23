"""Merging: masks that differ in few rows count as one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Ints

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

# Masks on either side of a table of distances, and words of single comparisons that are held.
BLOCK = 256
TILE_WORDS = 1 << 20


def merge_near(packed: Bytes, distance: int) -> Ints:
    """Return for each mask the first kept mask within a Hamming `distance`, in order; kept masks name themselves.

    Parameters
    ----------
    packed : ndarray (m, b) of uint8
        One mask a row, as bits.
    distance : int
        Most bits in which two masks that count as one differ, at least 0.

    Returns
    -------
    ndarray (m,) of int
        ``owner[j] == j`` where mask j is kept: no mask kept before it is within the distance. Other masks name the
        first kept one that is; a mask may be within the distance of later ones too.

    Notes
    -----
    Exact. Masks far apart differ by more than the distance in their first words already, so only few pairs are counted
    in full: m^2 / 2 times (distance / 16 + 2) words instead of all.
    """
    words = _as_words(packed)
    owner = np.empty(len(words), dtype=np.int64)
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(words), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(words)))
        owner[block] = _first_near(words, block, kept, distance)
        kept = np.concatenate([kept, _greedy(words, block, owner, distance)])
    return owner


def _greedy(words: Words, block: Ints, owner: Ints, distance: int) -> Ints:
    """Settle the masks of a block that no earlier one owns (-1), one after the other; return those kept."""
    open_ = block[owner[block] < 0]
    near = _distances(words[open_], words[open_]) <= distance
    for place, mask in enumerate(open_):
        if owner[mask] < 0:
            joining = np.flatnonzero(near[place] & (owner[open_] < 0))
            owner[open_[joining]] = mask
    return open_[owner[open_] == open_]


def _first_near(words: Words, block: Ints, kept: Ints, distance: int) -> Ints:
    """Return the first kept mask within the distance of each mask of the block, or -1."""
    first = np.full(len(block), -1)
    head = distance // 16 + 2  # unrelated masks differ in half of these words' bits: about twice the distance
    for start in range(0, len(kept), BLOCK):
        part, waiting = kept[start : start + BLOCK], np.flatnonzero(first < 0)
        row, column = np.nonzero(_distances(words[block[waiting], :head], words[part, :head]) <= distance)
        near = _are_near(words, block[waiting[row]], part[column], distance)
        hit, place = np.unique(row[near], return_index=True)  # rows ascend, and columns within a row
        first[waiting[hit]] = part[column[near][place]]
    return first


def _are_near(words: Words, left: Ints, right: Ints, distance: int) -> Bools:
    """Return for each pair of masks whether they are within the distance."""
    near = np.empty(len(left), dtype=bool)
    step = max(1, TILE_WORDS // words.shape[1])
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        near[part] = np.bitwise_count(words[left[part]] ^ words[right[part]]).sum(axis=1) <= distance
    return near


def _distances(left: Words, right: Words) -> NDArray[np.int32]:
    """Return the Hamming distances of every pair, (l, r)."""
    total = np.zeros((len(left), len(right)), dtype=np.int32)
    for one, other in zip(np.ascontiguousarray(left.T), np.ascontiguousarray(right.T), strict=True):
        total += np.bitwise_count(one[:, None] ^ other)
    return total


def _as_words(packed: Bytes) -> Words:
    short = -packed.shape[1] % 8
    padded = np.pad(packed, ((0, 0), (0, short))) if short else packed
    return np.ascontiguousarray(padded).view(np.uint64)

"""The schedule: which search has how long, and what it was found from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from verify.splitting.inquired import Inquired


@dataclass(frozen=True)
class Schedule:
    """How the time of a question is shared between halving boxes, splitting neurons, and engines.

    Attributes
    ----------
    first_programs, first_boxes, first_neurons : float
        Seconds of the first stage of each search; every later stage of each is `growth` times as long.
    most_neurons, most_entries : int
        Neurons that can switch and entries of the weights up to which subproblems are linear programs.
    ahead : float
        How many times what was spent so far a search may be expected to need still, so that the others wait for it;
        once boxes had a turn, all others wait for one that is expected to end within the limit.
    enough_programs, sharpened, rounds : int, float, int
        Linear programs after which they are judged, and the seconds that they are then expected to need still from
        which on the bounds of hidden neurons are made sharper for them, once, by so many rounds of splits.
    program_share : float
        The share of the time left that splitting has in a search for a maximum where subproblems are linear programs:
        engines hardly add to that.
    growth, favour : float
        By which stages grow; and by which those of the search with the lower bound grow beside, and the others shrink.
    first_rounds : int
        How many rounds of splits sharpen the bounds of hidden neurons before the second stage of splitting neurons;
        twice as many before each later one.
    searched : float
        How long a search of subproblems in a deep network may be, as a share of all that neurons had before, beside
        `first_neurons`: then their bounds are made sharper.
    settling : float
        The share of the neurons' seconds for linear programs of single neurons and functions, from the second stage on.
    halved : float
        A turn of boxes after which at most this share is left, of the region that is open times how far bounds are
        above the level there, is followed by another one: neurons wait.
    closing : float
        The share of the region that boxes have closed from which on engines and a search for better values are not
        asked early.
    enough_boxes : int
        Boxes from which on the search that halves them is judged.
    progress : float
        The share of the region that is to be closed by then. A search that closes less goes on only where its bound is
        below that of the neurons, which each search of theirs tells anew, or where as many
        halvings as inputs matter fit into the time left: 2 to the number of those that account for the gap.
    doubt : float
        How many times what fits into the time left those halvings may be before so many boxes are bounded.
    tie_open, tie_bound : float
        Where a tie is known: what may be open of the region, and by what share of the sums that functions are made of
        bounds may be above the level, where splitting ends. What is left are points of the tie, or near it.
    few_binaries : int
        Neurons that can switch up to which engines are asked early.
    early_share, engine_share : float
        The share of the time left that splitting has before engines are asked early, and that they then have.

    Notes
    -----
    Measured on public instances, one thread (AMD EPYC): networks of 2 to 14 inputs are decided by boxes alone (ACAS Xu
    in .1 to 6 s, where splitting neurons left 5 of 14 open at 60 s); so is one hidden layer of 128 neurons over 30
    inputs since boxes have envelopes (the three questions that were open at 20 s take .1, .2 and 1.4 s of CPU; HiGHS
    takes 5, 15 and 5 s); over 784 inputs no box is ever closed, which the first one tells. Hence both in turns, boxes
    first, each turn twice as long as the last, and those of the search with the lower bound longer: what was spent in
    vain is little beside the rest. Where a turn of boxes halves what is left, neurons would only be in the way: twelve
    maxima over 5 to 20 inputs take .27 s of CPU in the median instead of .49. MILPs of up to some 100 binaries come
    before the long turns where boxes close little.

    Linear programs close nine of those twelve maxima in less than the boxes' time (15-30-1: .2 s of CPU instead of 3 to
    5; 20-10-10-1: .05 instead of 1.5), and boxes one that they would need 5 s or more for (10-50-1: 1 s), which shares
    of the tree and of the region that are closed tell after half a second: .14 s in the median, 2.6 in all. Sharper
    hidden bounds (16 rounds, .5 s of CPU) let 4 s of them close .79 of the tree of 20-20-20-20-1 instead of .31; where
    everything ends within a second they gain nothing.

    In four layers of 256 neurons over 784 inputs, searches of subproblems that closed anything ended within 2 s; what
    they could not close in 3 s they could not in 25, but sharper hidden bounds could (`searched`). Linear programs
    close seven or eight of nine functions in .1 to .5 s each where those searches stand still, and settle seven of ten
    neurons of a narrow layer in 2 s, 11 of 63 of a wide one in 17 (`settling`).
    """

    first_programs: float = 0.25
    first_boxes: float = 0.5
    first_neurons: float = 1.0
    most_neurons: int = 128
    most_entries: int = 1 << 15
    ahead: float = 3.0
    enough_programs: int = 64
    sharpened: float = 2.0
    rounds: int = 16
    program_share: float = 0.95
    growth: float = 2.0
    favour: float = 1.5
    first_rounds: int = 16
    searched: float = 0.25
    settling: float = 0.3
    halved: float = 0.5
    closing: float = 0.5
    enough_boxes: int = 16
    progress: float = 0.01
    doubt: float = 1e6
    tie_open: float = 1e-3
    tie_bound: float = 1e-4
    few_binaries: int = 128
    early_share: float = 0.1
    engine_share: float = 0.3


SCHEDULE = Schedule()


def expected(spent: float, closed: float) -> float:
    """Return the seconds that a search needs still if it goes on as it did; infinite where it has closed nothing."""
    return spent * (1.0 - closed) / closed if closed > 0.0 else float("inf")


def takes_programs(inquiry: Inquired) -> bool:
    """Whether subproblems of an inquiry can be linear programs: over a box, of milliseconds, and with an engine."""
    layers = inquiry.layers[:-1]
    switching = sum(len(layer.switching) for layer in layers)
    entries = sum(weight.nnz for weight, _ in inquiry.functions.network.layers)
    small = 0 < switching <= SCHEDULE.most_neurons and entries <= SCHEDULE.most_entries
    return (
        small and inquiry.region.is_box and all(layer.finite for layer in layers) and find_spec("highspy") is not None
    )


def asks_early(inquiry: Inquired, single: bool = False) -> bool:
    """Whether engines come before the long stages: they are allowed beside splitting, and there are few binaries.

    Where surrogates are given, these have that time; where all goals are `single` functions, linear programs have it,
    if they can.
    """
    if single and takes_programs(inquiry):
        return False
    resources, binaries = inquiry.resources, sum(len(layer.switching) for layer in inquiry.layers[:-1])
    beside = 0.0 < resources.branching_share < 1.0 and not resources.surrogates and not inquiry.clock.over()
    return beside and 0 < binaries <= SCHEDULE.few_binaries

"""The smallest set of vertices that all ways from some vertices to others pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, maximum_flow


def smallest_cut(sizes: Sequence[int], edges: Sequence[tuple[int, int]], ends: Sequence[tuple[int, int]]) -> list[int]:
    """Return vertices of the least total size without which no way leads from a source to a sink.

    Parameters
    ----------
    sizes : sequence of int
        Of the vertices 0, 1, ...; at least 1 each.
    edges : sequence of (int, int)
        From one vertex to another.
    ends : sequence of (int, int)
        (vertex, 1) for a source, (vertex, -1) for a sink; sources and sinks may be in the cut.

    Raises
    ------
    ValueError
        Sizes that sum to 2^30 or more.

    Notes
    -----
    Each vertex is an edge of its size from its entry to its exit; the cut is that of a largest flow (Ford, Fulkerson,
    1956) which lies nearest to the sources.
    """
    count, endless = len(sizes), sum(sizes) + 1
    if endless > 1 << 30:
        raise ValueError(f"it carries values of {endless - 1:,} entries past a ReLU; expected at most {1 << 30:,}")
    source, sink = 2 * count, 2 * count + 1
    arcs = [(2 * vertex, 2 * vertex + 1, size) for vertex, size in enumerate(sizes)]
    arcs += [(2 * before + 1, 2 * after, endless) for before, after in edges]
    arcs += [(source, 2 * vertex, endless) if side > 0 else (2 * vertex + 1, sink, endless) for vertex, side in ends]
    starts, stops, capacities = (np.array(column, dtype=np.int32) for column in zip(*arcs, strict=True))
    shape = (2 * count + 2, 2 * count + 2)
    graph = sp.csr_matrix((capacities, (starts, stops)), shape=shape)
    left = sp.csr_matrix(graph - maximum_flow(graph, source, sink).flow)
    left.eliminate_zeros()
    reached = np.zeros(shape[0], dtype=bool)
    reached[breadth_first_order(left, source, return_predecessors=False)] = True
    return [vertex for vertex in range(count) if reached[2 * vertex] and not reached[2 * vertex + 1]]

"""What a recovery will hold, stated before it."""

from __future__ import annotations

from convexnn.recovery.candidates.gate_fits import MOST_ROWS as FITTED_ROWS
from convexnn.recovery.candidates.proposals import FITTED_POOL, ORDERS
from convexnn.recovery.layer.all_rows import BLOCK
from convexnn.recovery.layer.linear_part import MOST_ROWS as BESIDE_ROWS
from convexnn.recovery.layer.problem import TILE_ROWS
from convexnn.recovery.restarts import stage_sizes
from convexnn.recovery.search import MOST_SLACK

# (n, p) and (n, s) arrays of a round at one time: masks and products over the blocks, columns and their scaled copies.
MASKS, COLUMNS = 4, 3


def estimate_peak_bytes(n_rows: int, n_inputs: int, budget: int, width: int, uncentred: bool = False) -> int:
    """Return the bytes that a recovery holds at most in arrays: linear in rows, and in none of them times all weights.

    All rows are held in float64 as they are given, those of the search twice more (scaled, and by columns), those of
    the last stage, which are the same, three times more in the precision of its candidates; a round has masks for the
    blocks and columns for a budget at its largest. Beside a linear function the rows of its search are held six times
    more, with a basis and whitened, and so are the inputs of a pool of gates.
    """
    rows, blocks = stage_sizes(n_rows, budget)[-1], width + width // 4 + 1
    columns = min(MOST_SLACK * budget, blocks * n_inputs)
    data = 8 * n_rows * n_inputs + 8 * 5 * rows * n_inputs
    a_round = 8 * rows * (MASKS * blocks + COLUMNS * columns) + 8 * 3 * columns**2
    last = 8 * (2 * TILE_ROWS * budget + 3 * budget**2) + 16 * rows * width + 8 * 3 * BLOCK * (n_rows > rows)
    beside = 8 * min(n_rows, BESIDE_ROWS) * (6 * n_inputs + columns) if uncentred else 0
    pool = 8 * 3 * min(n_rows, FITTED_ROWS) * FITTED_POOL * (ORDERS[1] - 1) if uncentred else 0
    return int(data + max(a_round, last) + beside + pool)

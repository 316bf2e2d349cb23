"""One large fit: rows from the disk that are never held, and rows that several processes hold.

    python benchmarks/large_fit.py rows [--rows 10000000] [--features 100] [--folder .]
    python benchmarks/large_fit.py ranks [--ranks 1 2 4] [--problems 20]

`rows` writes rows of N(0, 1), seen by a planted network of 50 weights, into the folder (8 bytes an entry), and recovers
it from a read-only memory map: seconds, processor's seconds, and the most memory of its own (RssAnon of Linux: pages of
the map are not in it). `ranks` recovers planted networks with rows shared out over processes of torch.distributed by
gloo, a thread each, and counts those whose support is that of a process alone.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import convexnn as cx

CHUNK = 100_000


def rows_from_the_disk(n: int, d: int, folder: Path) -> None:
    """Print what a recovery from a memory map takes."""
    with TemporaryDirectory(dir=folder) as place:
        path, y = Path(place) / "X.npy", np.empty(n)
        rows, rng = np.lib.format.open_memmap(path, "w+", np.float64, (n, d)), np.random.default_rng(0)
        weights = np.zeros((5, d))
        for row in weights:
            row[rng.choice(d, 10, replace=False)] = rng.standard_normal(10)
        for start in range(0, n, CHUNK):
            part = rng.standard_normal((min(CHUNK, n - start), d))
            rows[start : start + CHUNK] = part
            y[start : start + CHUNK] = np.maximum(part @ weights.T, 0.0) @ np.array([1.0, 1.0, -1.0, 1.0, -1.0])
        rows.flush()
        del rows
        warm_up()
        most = [anonymous()]
        threading.Thread(target=watch, args=(most,), daemon=True).start()
        before, wall, processor = most[0], time.perf_counter(), time.process_time()
        found = cx.recover(np.load(path, mmap_mode="r"), y, 50, 5)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    size = 8 * n * d / 2**20
    print(f"{n:,} x {d}, {size:,.0f} MB: {found.status.name}, {wall:.0f} s, {processor:.0f} s of a processor, ", end="")
    print(f"{(most[0] - before) / 1024:,.0f} MB of its own")


def warm_up() -> None:
    """Load what a recovery loads."""
    small = np.random.default_rng(0).standard_normal((100, 3))
    cx.recover(small, np.maximum(small[:, 0], 0.0), 2, 2, n_restarts=1, patience=1)


def anonymous() -> int:
    """Return the kilobytes of this process that no file backs."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("RssAnon"))


def watch(most: list[int]) -> None:
    """Keep the largest number of kilobytes."""
    while True:
        most[0] = max(most[0], anonymous())
        time.sleep(0.01)


def a_rank(problems: int) -> None:
    """Recover each problem with the other ranks; the first one prints the supports."""
    import torch.distributed as dist

    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}", rank=rank, world_size=ranks)
    warm_up()
    began, told = time.perf_counter(), list[Any]()
    for seed in range(problems):
        X, y = planted(seed)
        cuts = np.linspace(0, len(X), ranks + 1).astype(int)
        part = slice(cuts[rank], cuts[rank + 1])
        found = cx.recover(X[part], y[part], 30, 5, n_restarts=1, group=dist.group.WORLD)
        gates = found.to_network().layers[0][0].toarray()
        told.append((found.status.name, np.argwhere(gates != 0.0).tolist()))
    if rank == 0:
        print(json.dumps([told, time.perf_counter() - began]))
    dist.destroy_process_group()


def planted(seed: int) -> tuple[Any, Any]:
    """Return 30,000 rows of 40 features, of which the search sees a sample, or 3,000, which it sees all."""
    rng, n, d = np.random.default_rng(seed), (30_000, 3_000)[seed % 2], 40
    weights = np.zeros((5, d))
    for row in weights:
        row[rng.choice(d, 6, replace=False)] = rng.standard_normal(6)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ weights.T, 0.0) @ np.array([1.0, 1.0, -1.0, 1.0, -1.0])


def over_ranks(numbers: list[int], problems: int) -> None:
    """Print for each number of ranks how many supports are those of one."""
    first: Any = None
    for count in numbers:
        with TemporaryDirectory() as place:
            words = [sys.executable, __file__, "rank", "--problems", str(problems)]
            known = os.environ | {"WORLD_SIZE": str(count), "MEETING": f"{place}/meeting"}
            begun = [
                subprocess.Popen(words, env=known | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
                for rank in range(count)
            ]
            answers = [process.communicate()[0] for process in begun]
        told, seconds = json.loads(answers[0])
        first = told if first is None else first
        same = sum(one[1] == other[1] for one, other in zip(told, first, strict=True))
        exact = sum(status == "EXACT" for status, _ in told)
        print(f"{count} ranks: {exact} of {problems} exact, {same} with the support of {numbers[0]}, {seconds:.1f} s")


def main() -> None:
    """Read the command line and run."""
    parser = common.option_parser(__doc__)
    parser.add_argument("what", choices=("rows", "ranks", "rank"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--problems", type=int, default=20)
    given = parser.parse_args()
    if given.what == "rows":
        rows_from_the_disk(given.rows, given.features, given.folder)
    elif given.what == "ranks":
        over_ranks(given.ranks, given.problems)
    else:
        a_rank(given.problems)


if __name__ == "__main__":
    main()

"""One large fit: rows from the disk that are never held, rows and starts that several processes share.

    python benchmarks/large_fit.py rows [--rows 10000000] [--features 100] [--folder .] [--parquet]
    python benchmarks/large_fit.py ranks [--ranks 1 2 4] [--problems 20]
    python benchmarks/large_fit.py starts [--ranks 1 2 4] [--dask 1 2]

`rows` writes rows of N(0, 1), seen by a planted network of 50 weights, into the folder (8 bytes an entry), and recovers
it from a read-only memory map: seconds, processor's seconds, and the most memory of its own (RssAnon of Linux: pages of
the map are not in it). With `--parquet` it writes a Parquet file of them first, and what is measured begins with
bringing this to a map, block by block. `ranks` recovers planted networks with rows shared out over processes of
torch.distributed by gloo, a thread each, and counts those whose support is that of a process alone. `starts` recovers
one noisy network by 8 starts, which ranks, and then so many workers of a Dask cluster on this machine, share: seconds
on the clock, the processor's seconds of the busiest of them, and whether the answer is that of one process to the last
bit.
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
from convexnn.datasets import rows_on_disk

CHUNK = 100_000


def rows_from_the_disk(n: int, d: int, folder: Path, parquet: bool) -> None:
    """Print what a recovery from a memory map takes, brought from a Parquet file or not."""
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
        source = as_parquet(path) if parquet else path
        warm_up()
        most = [anonymous()]
        threading.Thread(target=watch, args=(most,), daemon=True).start()
        before, wall, processor = most[0], time.perf_counter(), time.process_time()
        X = rows_on_disk(source, path) if parquet else np.load(path, mmap_mode="r")
        brought = time.perf_counter() - wall
        found = cx.recover(X, y, 50, 5)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    size = 8 * n * d / 2**20
    print(f"{n:,} x {d}, {size:,.0f} MB: {found.status.name}, {wall:.0f} s, {processor:.0f} s of a processor, ", end="")
    words = f", {brought:.0f} s of it to bring them from Parquet" if parquet else ""
    print(f"{(most[0] - before) / 1024:,.0f} MB of its own{words}")


def as_parquet(path: Path) -> Path:
    """Write the rows of a memory map to a Parquet file, take the map away, and return the file."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    rows, target = np.load(path, mmap_mode="r"), path.with_suffix(".parquet")
    names = [f"x{place}" for place in range(rows.shape[1])]
    with ParquetWriter(target, pyarrow.schema([(name, pyarrow.float64()) for name in names])) as writer:
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK].T.copy()
            writer.write_table(pyarrow.table(dict(zip(names, part, strict=True))))
    path.unlink()
    return target


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
        answers = _of_ranks(count, ["rank", "--problems", str(problems)])
        told, seconds = json.loads(answers[0])
        first = told if first is None else first
        same = sum(one[1] == other[1] for one, other in zip(told, first, strict=True))
        exact = sum(status == "EXACT" for status, _ in told)
        print(f"{count} ranks: {exact} of {problems} exact, {same} with the support of {numbers[0]}, {seconds:.1f} s")


def eight_starts(**where: Any) -> tuple[Any, float]:
    """Return the gates that 8 starts find in noisy rows, with the history, and the seconds."""
    X, y = planted(1)
    y = y + 0.3 * np.random.default_rng(0).standard_normal(len(y))
    began = time.perf_counter()
    found = cx.recover(X, y, 30, 5, n_restarts=8, patience=6, **where)
    return (found.weights.tolist(), found.history.tolist()), time.perf_counter() - began


def starts_of_a_rank() -> None:
    """Share the starts with the other ranks, of which the first has all rows; it prints what came of them."""
    import torch.distributed as dist

    from convexnn.rank_workers import on_first_rank

    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}", rank=rank, world_size=ranks)
    warm_up()
    before = time.process_time()
    answer = on_first_rank(dist.group.WORLD, eight_starts)
    print(json.dumps([*answer, time.process_time() - before]))
    dist.destroy_process_group()


def starts(numbers: list[int], workers: list[int]) -> None:
    """Print for each number of ranks, and of Dask's workers, the seconds of 8 starts, and whether answers agree."""
    warm_up()
    before = time.process_time()
    alone, seconds = eight_starts()
    print(f"one process: {seconds:.1f} s, {time.process_time() - before:.1f} s of a processor")
    for count in numbers:
        found = [json.loads(answer) for answer in _of_ranks(count, ["starts-rank"])]
        _print_starts(f"{count} ranks", found[0][1], [processor for *_, processor in found], found[0][0], alone)
    for count in workers:
        from distributed import Client, LocalCluster
        from joblib import parallel_config

        cluster = LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        with cluster, Client(cluster) as client, parallel_config("dask"):
            client.run(warm_up)
            before = client.run(time.process_time)
            told, seconds = eight_starts()
            processor = [after - before[worker] for worker, after in client.run(time.process_time).items()]
        _print_starts(f"Dask, {count} workers", seconds, processor, told, alone)


def _print_starts(who: str, seconds: float, processor: list[float], told: Any, alone: Any) -> None:
    """Print what starts took: on a busy machine the processor's seconds of the busiest say more than the clock's."""
    same = "the answer of one process to the last bit" if json.dumps(told) == json.dumps(alone) else "ANOTHER ANSWER"
    print(f"{who}: {seconds:.1f} s, at most {max(processor):.1f} s of a processor each, {same}", flush=True)


def _of_ranks(count: int, words: list[str]) -> list[str]:
    """Return what so many processes print that run this file."""
    with TemporaryDirectory() as place:
        known = os.environ | {"WORLD_SIZE": str(count), "MEETING": f"{place}/meeting"}
        begun = [
            subprocess.Popen(
                [sys.executable, __file__, *words], env=known | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True
            )
            for rank in range(count)
        ]
        return [process.communicate()[0] for process in begun]


def main() -> None:
    """Read the command line and run."""
    parser = common.option_parser(__doc__)
    parser.add_argument("what", choices=("rows", "ranks", "starts", "rank", "starts-rank"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--dask", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--problems", type=int, default=20)
    given = parser.parse_args()
    if given.what == "rows":
        rows_from_the_disk(given.rows, given.features, given.folder, given.parquet)
    elif given.what == "starts":
        starts(given.ranks, given.dask)
    elif given.what == "starts-rank":
        starts_of_a_rank()
    elif given.what == "ranks":
        over_ranks(given.ranks, given.problems)
    else:
        a_rank(given.problems)


if __name__ == "__main__":
    main()

"""What a run takes, and with what: threads, peak memory, versions."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from convexnn.checks import require

# Packages whose versions a row states.
PACKAGES = ("convexnn", "numpy", "scipy", "torch")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch, BLAS and OpenMP to one thread each."""
    torch = require("torch", "torch", "a study")
    control = require("threadpoolctl", "threadpoolctl", "a study")
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with control.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(kept)


def reset_peak() -> float:
    """Begin a new peak of resident memory; return what is resident now, in MB (10^6 bytes)."""
    gc.collect()
    # What the allocator keeps for itself would hide the growth: glibc gives it back when told so.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError:
        return peak()


def peak() -> float:
    """Return the peak of resident memory in MB: since :func:`reset_peak` on Linux, elsewhere of the whole process."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else 1024 * most / 1e6


def peak_above(base: float) -> float:
    """Return by how much the peak is above what was resident at :func:`reset_peak`, in MB."""
    return max(0.0, peak() - base)


def _status(field: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1]) / 1e6


@cache
def versions() -> str:
    """Return the versions that a result depends on, as one cell of text."""
    return " ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)])


def _version(name: str) -> str:
    if name == "convexnn":
        import convexnn

        return convexnn.__version__
    return version(name)

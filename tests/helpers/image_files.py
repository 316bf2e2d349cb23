"""What the tests of data sets share: images at random, and files of them in every format."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convexnn.datasets.images import IDX

Bytes = NDArray[np.uint8]


def grey(n: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def photographs(n: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def idx(array: Bytes) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar_bytes(pixels: Bytes, labels: Bytes) -> bytes:
    return b"".join(
        bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(pixels, labels, strict=True)
    )


def write_grey(folder: Path, *, packed: bool = False, seed: int = 0) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    parts = (*grey(30, seed), *grey(20, seed + 1))
    for name, array in zip(IDX, parts, strict=True):
        content = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return parts


def write_archive(path: Path, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])

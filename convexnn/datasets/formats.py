"""Files of images and labels: IDX, NumPy archives, the binary version of CIFAR-10. No code of a file is ever run."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from convexnn.files import unpacked

Bytes = NDArray[np.uint8]

# Bytes that an IDX file may hold once it is unpacked: twenty times those of MNIST.
MOST_BYTES = 1 << 30

# A CIFAR-10 record: one label, then 32 x 32 red, green and blue values.
SIDE, CHANNELS = 32, 3
RECORD = 1 + SIDE * SIDE * CHANNELS


def read_idx(path: Path) -> Bytes:
    """Return the array of an IDX file of unsigned bytes, compressed by gzip or not.

    Raises
    ------
    ValueError
        The file is not of this format, or ends too early or too late.
    """
    content = unpacked(path.read_bytes(), str(path), MOST_BYTES)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes; expected it to begin with 0, 0, 8")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[place : place + 4]) for place in range(4, start, 4))
    values = np.frombuffer(content, np.uint8, offset=min(start, len(content)))
    # Python's integers, which do not overflow whatever a damaged file says.
    expected = 1
    for length in shape:
        expected *= length
    if len(content) < start or values.size != expected:
        raise ValueError(f"{path} holds {values.size} entries; expected {expected}, as its head says")
    return values.reshape(shape)


def read_archive(path: Path, names: tuple[str, ...]) -> list[Bytes]:
    """Return arrays of bytes by name from a NumPy archive; objects, which need pickle, are refused with ValueError."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise ValueError(f"it lacks {missing[0]}")
            arrays = [archive[name] for name in names]
    except (ValueError, BadZipFile, EOFError, OSError, zlib.error, AttributeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path} cannot be read ({error}); expected an archive with {', '.join(names)}") from None
    for name, array in zip(names, arrays, strict=True):
        if array.dtype != np.uint8:
            raise ValueError(f"{path} holds {name} as {array.dtype}; expected uint8")
    return arrays


def read_cifar(path: Path, part: str) -> tuple[Bytes, Bytes]:
    """Return images (n, 32, 32, 3) and labels (n,) of CIFAR-10, binary version: ``train`` or ``test``.

    Parameters
    ----------
    path : Path
        The folder ``cifar-10-batches-bin``, or the archive of that folder, ``cifar-10-binary.tar.gz``.
    part : {"train", "test"}
        Five batches, or one.
    """
    files = [f"data_batch_{number}.bin" for number in range(1, 6)] if part == "train" else ["test_batch.bin"]
    contents = _members(path, files) if path.is_file() else [(path / name).read_bytes() for name in files]
    batches = []
    for name, content in zip(files, contents, strict=True):
        if not content or len(content) % RECORD:
            raise ValueError(f"{path}: {name} has {len(content)} bytes; expected records of {RECORD}")
        batches.append(np.frombuffer(content, np.uint8).reshape(-1, RECORD))
    records = np.concatenate(batches)
    pixels = records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), records[:, 0]


def _members(path: Path, files: list[str]) -> list[bytes]:
    """Return files of an archive by their last name; nothing is unpacked to disk."""
    try:
        with tarfile.open(path) as archive:
            places = {Path(member.name).name: member for member in archive if member.isfile()}
            missing = [name for name in files if name not in places]
            if missing:
                raise ValueError(f"it lacks {missing[0]}")
            opened = [archive.extractfile(places[name]) for name in files]
            return [file.read() for file in opened if file is not None]
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is not the archive of CIFAR-10, binary version ({error})") from None

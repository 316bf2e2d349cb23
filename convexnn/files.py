"""Files: replaced whole or not at all, appended to down to the disk, by one process at a time, and unpacked."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO, Any

from convexnn.checks import as_path

# What a file begins with that gzip has packed.
GZIP = b"\x1f\x8b"

# Permissions of a new file before the user's mask takes some away, as open() has them.
NEW_FILE = 0o666


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file beside `path` that takes its place at the end; after an error `path` is as it was before.

    Parameters
    ----------
    path : path
        The target. A link is followed; what is no plain file (a pipe, ``/dev/stdout``) is written to directly.
    mode : {"wb", "w"}, default "wb"
        Bytes or text.
    **options
        Of :func:`open`, such as `encoding`.

    Raises
    ------
    OSError
        The file cannot be written; the message names it. The old file, where there was one, is still whole.
    TypeError
        The path is none.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "figures.txt"
    >>> with replacing(path, "w", encoding="utf-8") as file:
    ...     _ = file.write("1 2 3")
    >>> path.read_text(encoding="utf-8")
    '1 2 3'
    """
    target = Path(os.path.realpath(as_path(path, "path")))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with open(target, mode, **options) as stream:
                yield stream
            return
        with _beside(target, mode, options) as file:
            yield file
    except OSError as error:
        raise _named(error, path) from None


@contextmanager
def _beside(target: Path, mode: str, options: dict[str, Any]) -> Iterator[IO[Any]]:
    """Open a temporary file in the folder of `target`, and move it there once it is whole and on the disk."""
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder", str(target))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    part = Path(name)
    try:
        with open(handle, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_permissions(target))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    """Return the permissions of the file that is replaced, or those of a new one."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return NEW_FILE & ~mask


def append(file: FileIO, text: str) -> None:
    """Write text at the end of a file, down to the disk; an error names the file.

    Parameters
    ----------
    file : FileIO
        Opened with mode "ab" and without a buffer, which would be written again, in vain, when it is closed.
    text : str
        What is written, in UTF-8.

    Raises
    ------
    OSError
        The text cannot be written; a piece of it may be there.
    """
    left = memoryview(text.encode("utf-8"))
    try:
        while left:
            left = left[file.write(left) :]
        if Path(file.name).is_file():
            os.fsync(file.fileno())
    except OSError as error:
        raise _named(error, file.name) from None


@contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes from a file or a folder: whoever asks for it too is refused until the block ends.

    The lock dies with the process. It binds those alone who ask for it. What is neither a file nor a folder is not
    locked, and neither is anything where the system has no such locks (Windows, some network drives).

    Raises
    ------
    OSError
        Another process holds it.
    """
    place = Path(path)
    if sys.platform == "win32" or not (place.is_file() or place.is_dir()):
        yield
        return
    import fcntl

    handle = os.open(place, os.O_RDONLY if place.is_dir() else os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "folder" if place.is_dir() else "file"
            raise OSError(f"{place} is in use by another process; wait until it ends, or name another {what}") from None
        except OSError:
            # Some file systems know no locks: then nothing can be said of other processes.
            pass
        yield
    finally:
        os.close(handle)


def _named(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Return an error of the same kind whose one line names the file."""
    kind = type(error)
    return kind(f"{os.fspath(path)} cannot be written ({error.strerror or error})")


def unpacked(content: bytes, name: str, most: int) -> bytes:
    """Return the bytes of a file, unpacked where gzip has packed it, at most so many.

    Raises
    ------
    ValueError
        The file of this name is damaged, or holds more.

    Examples
    --------
    >>> import gzip
    >>> unpacked(gzip.compress(b"1 2 3"), "figures.txt.gz", 100)
    b'1 2 3'
    """
    data = content
    if content.startswith(GZIP):
        try:
            data = gzip.GzipFile(fileobj=BytesIO(content)).read(most + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{name} is damaged, gzip cannot unpack it ({error})") from None
    if len(data) > most:
        raise ValueError(f"{name} holds more than {most:,} bytes; expected a smaller file")
    return data

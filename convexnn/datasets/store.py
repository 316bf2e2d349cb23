"""Where files of data are: folders to look in, and downloads that must have the sum they are known by."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

# Bytes at a time, and seconds without an answer that end a download.
CHUNK, PATIENCE = 1 << 20, 30.0


# Errors of what is written, not of the network.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


class DataNotFoundError(FileNotFoundError):
    """A data set is not there; the message says where it was looked for and what to do.

    Examples
    --------
    >>> import tempfile
    >>> from convexnn.datasets import DataNotFoundError, mnist
    >>> try:
    ...     _ = mnist(folder=tempfile.mkdtemp())
    ... except DataNotFoundError as error:
    ...     print("download=True" in str(error))
    True
    """


@dataclass(frozen=True)
class Source:
    """A file that can be downloaded.

    Attributes
    ----------
    url : str
        Its address; the last part is its name.
    sha256 : str
        The SHA-256 sum of its content, in hexadecimal digits.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.url.rpartition("/")[2]


def folders(folder: str | os.PathLike[str] | None) -> list[Path]:
    """Return where to look: the folder given, else that of CONVEXNN_DATA (if it is set) and that of downloads.

    Raises
    ------
    TypeError
        The folder is no path.
    """
    if folder is not None:
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder is {folder!r}; expected the path of a folder")
        return [Path(folder)]
    named = os.environ.get("CONVEXNN_DATA")
    return [*([Path(named)] if named else []), cache()]


def cache() -> Path:
    """Return the folder of downloads: ``convexnn`` in XDG_CACHE_HOME, or in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "convexnn"


def not_found(what: str, files: str, folder: str | os.PathLike[str] | None) -> DataNotFoundError:
    """Return the error that says what was looked for, where, and what to do."""
    places = ", ".join(str(place) for place in folders(folder))
    return DataNotFoundError(
        f"{what} was not found in {places}; expected {files}: set CONVEXNN_DATA to their folder, or pass download=True"
    )


def download(sources: Sequence[Source], folder: Path) -> list[Path]:
    """Return the files of `sources` in `folder`; those that are not there yet are downloaded.

    Raises
    ------
    OSError
        A file cannot be had (no network, or an address that has moved), or is not the one it should be: its SHA-256
        sum differs, and nothing is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_download(source, folder / source.name) for source in sources]


def _download(source: Source, path: Path) -> Path:
    if path.is_file():
        return path
    # Under a name of this process, then renamed: another one may be at it too, and a broken file is never found.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with urlopen(source.url, timeout=PATIENCE) as answer, open(part, "wb") as file:
            while piece := answer.read(CHUNK):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != source.sha256:
            raise OSError(f"{source.url} has the SHA-256 sum {digest.hexdigest()}; expected {source.sha256}")
        part.replace(path)
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        expected = f"expected a network, or {path.name} in the folder of CONVEXNN_DATA"
        raise OSError(f"{source.url} cannot be downloaded ({reason}); {expected}") from None
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise type(error)(f"{path} cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
    return path

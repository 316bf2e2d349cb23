"""Files that a command writes, tried before the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def writable(folder: Path, name: str, inputs: Iterable[Path | None] = ()) -> Path:
    """Return a file in a folder, tried now: better than to find out after the work; none of the `inputs`."""
    path = folder / name
    if path.exists() and any(given is not None and given.exists() and path.samefile(given) for given in inputs):
        raise ValueError(f"{path} is an input of the command; expected another file to write to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror})") from None
    return path

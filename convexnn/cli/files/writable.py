"""Files that a command writes, tried before the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def writable(path: Path, inputs: Iterable[Path | None] = ()) -> Path:
    """Return a path, tried now: better than to find out after the work; none of the `inputs`. Its folder is made."""
    if path.exists() and any(given is not None and given.exists() and path.samefile(given) for given in inputs):
        raise ValueError(f"{path} is an input of the command; expected another file to write to")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror})") from None
    return path


def writable_if_given(path: Path | None, inputs: Iterable[Path | None] = ()) -> Path | None:
    """Return the path of an option, tried now as :func:`writable` does, where the option is given."""
    return None if path is None else writable(path, inputs)

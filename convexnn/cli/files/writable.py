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


def refuse_twice(**written: Path | None) -> None:
    """Raise where two of the options name one file: the later would be written over the other."""
    places = [path.resolve() for path in written.values() if path is not None]
    for place in places:
        if places.count(place) > 1:
            names = ", ".join(list(written)[:-1]) + f" and {list(written)[-1]}"
            raise ValueError(f"{place.name} is named twice; expected another file for each of {names}")


def writable_if_given(path: Path | None, inputs: Iterable[Path | None] = ()) -> Path | None:
    """Return the path of an option, tried now as :func:`writable` does, where the option is given."""
    return None if path is None else writable(path, inputs)

"""Files of networks: the layers as arrays in an archive without pickle, exact to the last bit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats, as_file
from convexnn.files import replacing

FORMAT = "convexnn-network-1"

# That of networks with linear units too, which `verify.ReLUGraph` reads.
GRAPH_FORMAT = "convexnn-graph-1"

# What an .npz archive begins with.
ZIP = b"PK"

# Code points that stand for no character by themselves.
SURROGATES = (0xD800, 0xDFFF)

Result = TypeVar("Result")


def stored(network: Any) -> dict[str, Any]:
    """Return the arrays that a file of the network holds, by name; none needs pickle."""
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "n_layers": np.array(len(network.layers))}
    for index, (weight, bias) in enumerate(network.layers):
        parts = {"shape": weight.shape, "data": weight.data, "indices": weight.indices, "indptr": weight.indptr}
        arrays |= {f"{name}{index}": np.asarray(part) for name, part in parts.items()}
        arrays[f"bias{index}"] = bias
    words = {"final": network.final, "notes": network.notes}
    return arrays | {name: np.array(value) for name, value in words.items() if value}


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an archive, each read when it is asked for; a member that is no array comes as bytes."""

    def __init__(self, archive: Any) -> None:
        self.archive = archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        return as_text(np.asarray(self.archive[name]), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.archive.files)

    def __len__(self) -> int:
        return len(self.archive.files)


@contextmanager
def stored_arrays(path: str | os.PathLike[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open an archive and give its arrays by name; what is wrong with the file is raised as it comes."""
    with open(path, "rb") as file:
        # numpy would advise to unpickle what is no archive.
        if file.read(len(ZIP)) != ZIP:
            raise ValueError("it is no .npz archive")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            yield _StoredArrays(archive)


def as_text(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array, of text only if all of it are characters: numpy does not look, and Python fails on them later.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.network_files import as_text
    >>> as_text(np.array(["a", "b"]), "notes").tolist()
    ['a', 'b']
    """
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if ((codes > sys.maxunicode) | ((codes >= SURROGATES[0]) & (codes <= SURROGATES[1]))).any():
            raise ValueError(f"{name} holds bytes that are no characters")
    return array


def read_arrays(path: str | os.PathLike[str], kind: str, read: Callable[[Any], Result]) -> Result:
    """Return what `read` makes of the arrays of a file that was written as of some `kind`; errors are those of load."""
    as_file(path, "path")
    try:
        with stored_arrays(path) as arrays:
            found = str(arrays["format"])
            if found != kind:
                hint = "; expected verify.read_network to read a network with linear units" * (found == GRAPH_FORMAT)
                raise ValueError(f"its format is {found}{hint}")
            return read(arrays)
    except Exception as error:
        # A damaged file fails in many ways (zip, zlib, arrays, layers); all of them mean the same.
        raise ValueError(f"{os.fspath(path)} is not a network saved by convexnn ({error})") from None


def stored_layers(arrays: Any) -> list[tuple[sp.csr_matrix, Floats]]:
    """Return the layers that :func:`stored` put in arrays."""
    return [_stored_layer(arrays, index) for index in range(int(arrays["n_layers"]))]


def stored_words(arrays: Any) -> dict[str, Any]:
    """Return the arguments `final` and `notes` that :func:`stored` put in arrays; older files have none."""
    return {
        "final": str(arrays["final"]) if "final" in arrays else None,
        "notes": tuple(map(str, arrays["notes"])) if "notes" in arrays else (),
    }


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, Any]) -> Path:
    """Write arrays to a compressed ``.npz`` file of just that name, whatever its ending; return its path."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)
    return Path(path)


def _stored_layer(arrays: Any, index: int) -> tuple[sp.csr_matrix, Floats]:
    parts = tuple(arrays[f"{name}{index}"] for name in ("data", "indices", "indptr"))
    matrix = sp.csr_matrix(parts, shape=tuple(arrays[f"shape{index}"]))
    matrix.check_format(full_check=True)
    return matrix, arrays[f"bias{index}"]

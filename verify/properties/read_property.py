"""Reading properties: VNN-LIB files and texts, whose errors name the path and the line."""

from __future__ import annotations

import os

from verify.properties.property import Property
from verify.properties.vnnlib import Document, parse, read_document


def read_property(path: str | os.PathLike[str]) -> Property:
    """Read a VNN-LIB file, packed by gzip or not.

    Parameters
    ----------
    path : str or path
        VNN-LIB 1.0, or 2.0 about networks with inputs and one output each: linear constraints on inputs, on outputs
        and on both, with ``and``, ``or``, ``not``, ``=>``, ``ite``, ``xor``, ``let`` and definitions without arguments.
        Numbers are the float64 numbers nearest to what is written; what is computed from them is exact.

    Returns
    -------
    Property
        What violates the property; :func:`verify.check_vnnlib` asks whether an input does.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is broken, or says what is not supported; the message has the path and the line.

    Examples
    --------
    >>> import pathlib
    >>> import tempfile
    >>> import verify
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "property.vnnlib"
    >>> _ = path.write_text(text + "(assert (>= Y_0 3))")
    >>> print(verify.read_property(path))
    property of 1 input, 1 output: 1 box, 1 condition
    """
    return _property(read_document(path), os.fspath(path))


def parse_property(text: str) -> Property:
    """Return the property that a VNN-LIB text states, as :func:`read_property` does; errors name the line.

    Examples
    --------
    >>> import verify
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    >>> print(verify.parse_property(text + "(assert (>= Y_0 3))"))
    property of 1 input, 1 output: 1 box, 1 condition
    """
    return _property(parse(text), "")


def _property(document: Document, path: str) -> Property:
    counts, more = (document.n_inputs, document.n_outputs), (document.tensors, document.networks)
    return Property(*counts, document.asserted, document.refusal, path, *more)

"""Reading properties: VNN-LIB files and texts, whose errors name the path and the line."""

from __future__ import annotations

import os

from verify.properties.cases import property_of
from verify.properties.property import Property
from verify.properties.s_expressions import VnnlibError
from verify.properties.vnnlib import parse, read_document


def read_property(path: str | os.PathLike[str]) -> Property:
    """Read a VNN-LIB 1.0 file: boxes and linear constraints on X, and / or of linear constraints on Y, disjunctions.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is broken, or says what is not supported; the message has the path and the line.
    """
    document = read_document(path)
    try:
        return property_of(document)
    except VnnlibError as error:
        raise ValueError(f"{os.fspath(path)}, {error}") from None


def parse_property(text: str) -> Property:
    """Return the property that a VNN-LIB 1.0 text states; errors name the line."""
    return property_of(parse(text))

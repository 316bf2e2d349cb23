"""VNN-LIB: what the commands of a property file say; every error names its line.

Of VNN-LIB 1.0 and of SMT-LIB it takes ``declare-const``, ``declare-fun`` and ``define-fun`` without arguments, and
``assert``; of VNN-LIB 2.0 ``vnnlib-version`` and ``declare-network``. Formulas are in `logic.py`. Other commands that
ask nothing (``set-logic``, ``check-sat``, ...) are passed over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from convexnn.checks import as_file
from convexnn.files import unpacked
from verify.properties.formulas import Formula
from verify.properties.logic import Reader
from verify.properties.names import DeclaredNetwork, Names, refusal_of, with_indices
from verify.properties.s_expressions import Group, VnnlibError, Word, groups, shown

SILENT = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value")

VERSIONS = ("<1.0>", "<2.0>", "1.0", "2.0")

# Bytes that a file may have, those of a packed one after unpacking.
MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class Document:
    """What a file says: how many inputs and outputs there are, and the formulas that must hold together.

    `refusal` says what no question takes, and is empty where there is nothing of the kind; `tensors` has the names and
    shapes of inputs that are tensors, `networks` those that VNN-LIB 2.0 declares.
    """

    n_inputs: int
    n_outputs: int
    asserted: tuple[Formula, ...]
    refusal: str = ""
    tensors: tuple[tuple[str, tuple[int, ...]], ...] = ()
    networks: tuple[DeclaredNetwork, ...] = ()


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a VNN-LIB file, packed by gzip or not.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is broken or says what is not supported; the message has the path and the line.
    """
    file = as_file(path, "property")
    try:
        return parse(unpacked(file.read_bytes(), str(file), MOST_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not a text file") from None
    except VnnlibError as error:
        raise ValueError(f"{file}, {error}") from None


def parse(text: str) -> Document:
    """Return what a VNN-LIB text says."""
    names = Names()
    reader = Reader(names)
    asserted: list[Formula] = []
    ended = False
    for command in groups(text.removeprefix("\ufeff")):
        if ended:
            raise VnnlibError(command.line, "a command stands after (exit), where nothing is asked any more")
        if command.head == "exit":
            ended = True
        elif command.head == "assert":
            asserted.append(_asserted(command, reader))
        else:
            _take(command, reader)
    tensors = tuple((name, shape) for name, (letter, _, shape) in names.tensors.items() if letter == "X")
    counts = names.count("X"), names.count("Y")
    return Document(*counts, tuple(asserted), refusal_of(names), tensors, names.declared())


def _asserted(command: Group, reader: Reader) -> Formula:
    if len(command.parts) != 2:
        raise VnnlibError(command.line, f"'assert' has {len(command.parts) - 1} arguments; expected (assert formula)")
    expression = command.parts[1]
    return reader.formula(with_indices(expression) if reader.names.networks else expression, reader.scope)


def _take(command: Group, reader: Reader) -> None:
    """Take a command that declares or defines, or one that asks nothing."""
    if command.head in ("declare-const", "declare-fun"):
        reader.names.declare(command)
    elif command.head == "declare-network":
        reader.names.declare_network(command)
    elif command.head in ("define-fun", "define-const"):
        reader.define(command)
    elif command.head == "vnnlib-version":
        version = command.parts[1].text if len(command.parts) == 2 and isinstance(command.parts[1], Word) else ""
        if version not in VERSIONS:
            raise VnnlibError(command.line, f"the version is {shown(version)}; expected <1.0> or <2.0>")
    elif command.head not in SILENT:
        expected = "declare-const, declare-network or assert"
        raise VnnlibError(command.line, f"the command {shown(command.head)} is not supported; expected {expected}")

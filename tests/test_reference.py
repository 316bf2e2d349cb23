"""The reference: every public name is in it, and has a docstring whose example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

from tests.helpers.places import ROOT
from tests.helpers.public_names import files_that_use, has_example, listed, name_table, named

# The modules whose public names users import.
PUBLIC = (
    *("convexnn", "convexnn.theory", "convexnn.baselines", "convexnn.datasets", "convexnn.plots"),
    *("verify", "verify.plots"),
)


LISTED = listed()


def public(module: str) -> set[str]:
    """Return the classes and functions of a module's __all__; modules in it are public modules of their own."""
    owner = importlib.import_module(module)
    found = {name: getattr(owner, name) for name in owner.__all__}
    for name, value in found.items():
        assert not inspect.ismodule(value) or f"{module}.{name}" in PUBLIC
    return {name for name, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    assert public(module) == {name for owner, name in LISTED if owner == module and "." not in name}


def test_nothing_is_in_the_reference_twice() -> None:
    assert len(set(LISTED)) == len(LISTED)


@pytest.mark.parametrize(("module", "name"), LISTED, ids=[f"{module}.{name}" for module, name in LISTED])
def test_every_name_of_the_reference_has_an_example(module: str, name: str) -> None:
    assert has_example(named(module, name)), "expected a section Examples"


@pytest.mark.parametrize(("module", "name"), LISTED, ids=[f"{module}.{name}" for module, name in LISTED])
def test_every_name_of_the_reference_has_a_test(module: str, name: str) -> None:
    assert files_that_use(name), "expected a file of tests that uses it"


def test_the_table_has_a_row_for_every_name() -> None:
    rows = name_table().split("\n")[2:]
    assert [row.split("`")[1] for row in rows] == [f"{module}.{name}" for module, name in LISTED]
    assert all(row.count(" | ") == 3 and "none" not in row.split(" | ")[2] for row in rows)


# Files with examples, as modules.
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("convexnn", "verify")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder().find(module):
        assert not any(example.options.get(doctest.SKIP) for example in test.examples), f"{test.name} skips its example"
    assert doctest.testmod(module).failed == 0

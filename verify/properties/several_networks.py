"""Properties of several networks: the networks as one, and inputs that the property says are equal as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from convexnn.checks import Ints
from convexnn.network import SparseReLUNetwork
from convexnn.tables import counting
from verify.properties.at_point import in_all_alternatives
from verify.properties.formulas import FALSE, TRUE, Atom, Formula, joined
from verify.properties.names import DeclaredNetwork
from verify.properties.property import Property
from verify.reading.onnx_files.entry import check_titles
from verify.reading.read_network import read_simple
from verify.reading.side_by_side import side_by_side


def joined_question(given: Any, asked: Property) -> tuple[SparseReLUNetwork, Property, Ints]:
    """Return several networks as one, the property of that one, and for each input of `asked` which of its it is.

    Parameters
    ----------
    given : network, or sequence or dict of them
        Whatever :func:`verify.read_network` takes: one for each network that the property declares, in that order or
        by name, those that equal another one left out or not.
    asked : Property
        About several networks.

    Raises
    ------
    ValueError
        Another number of networks, of other sizes than declared, or one that ends in a softmax or sigmoid.
    """
    networks = _networks(given, asked)
    merged, places = with_merged_inputs(asked)
    ends = np.cumsum([declared.n_inputs for declared in asked.networks])
    return side_by_side(networks, np.split(places, ends[:-1]), merged.n_inputs), merged, places


def _networks(given: Any, asked: Property) -> list[SparseReLUNetwork]:
    """Return the networks of a property, read, one for each that it declares."""
    sources = _by_name(given, asked)
    read = {name: read_simple(one) for name, one in sources.items()}
    which = [one.name if one.name in read else one.equals for one in asked.networks]
    for declared, name in zip(asked.networks, which, strict=True):
        check_titles(declared.titles, sources[name])
    networks = [read[name] for name in which]
    for declared, network in zip(asked.networks, networks, strict=True):
        _check(declared, network)
        if declared.equals and not _same(network, read.get(declared.equals, network)):
            raise ValueError(
                f"{declared.name} is equal to {declared.equals} in the property, and another network is given for it; "
                f"expected the same one, or none for {declared.name}"
            )
    return networks


def _same(one: SparseReLUNetwork, other: SparseReLUNetwork) -> bool:
    """Return whether two networks have the same layers."""
    if one.sizes != other.sizes:
        return False
    pairs = zip(one.layers, other.layers, strict=True)
    masks = [(one.linear_units(index), other.linear_units(index)) for index in range(len(one.layers) - 1)]
    return all((w != v).nnz == 0 and np.array_equal(b, c) for (w, b), (v, c) in pairs) and all(
        np.array_equal(0 if left is None else left, 0 if right is None else right) for left, right in masks
    )


def _by_name(given: Any, asked: Property) -> dict[str, Any]:
    """Return the networks given by the names that the property has for them."""
    names = [declared.name for declared in asked.networks]
    own = [declared.name for declared in asked.networks if not declared.equals]
    listed = given if isinstance(given, list | tuple | dict) else [given]
    told = list(given) if isinstance(given, dict) else names if len(listed) == len(names) else own
    if len(told) == len(listed) and set(own) <= set(told) <= set(names):
        return given if isinstance(given, dict) else dict(zip(told, listed, strict=True))
    count = f"{len(listed)} {'is' if len(listed) == 1 else 'are'} given"
    count += f", {' and '.join(map(str, given))}" if isinstance(given, dict) else ""
    raise ValueError(
        f"the property is about {len(names)} networks, {' and '.join(names)}, and {count}; expected a list of them, "
        "such as [first, second]"
    )


def _check(declared: DeclaredNetwork, network: SparseReLUNetwork) -> None:
    have, want = (declared.n_inputs, declared.n_outputs), (network.n_inputs, network.n_outputs)
    if have != want:
        raise ValueError(
            f"{declared.name} has {counting(have[0], 'input')} and {counting(have[1], 'output')} in the property; "
            f"expected {want[0]} and {want[1]}, as the network has"
        )
    if network.final is not None:
        raise ValueError(
            f"{declared.name} ends in a {network.final}, whose values are no part of a proof; expected the network "
            "without it: network.without_final()"
        )


def with_merged_inputs(asked: Property) -> tuple[Property, Ints]:
    """Return a property about fewer inputs, and for each input (d,) of `asked` which of them it is.

    Two inputs become one where every alternative says x_i = x_j and they are inputs of different networks; a network
    never reads one input twice. A coefficient that the sum of two would round keeps the property as it is.
    """
    places = _places(asked)
    try:
        asserted = tuple(_renamed(formula, places) for formula in asked.asserted)
    except ArithmeticError:
        return asked, np.arange(asked.n_inputs)
    firsts = np.unique(places, return_index=True)[1]
    labels = tuple(asked.input_name(int(first)) for first in firsts)
    return replace(asked, n_inputs=len(firsts), asserted=asserted, labels=labels), places


def _places(asked: Property) -> Ints:
    """Return for each input the number of the one that stands for it, counted without gaps."""
    owners = np.repeat(np.arange(len(asked.networks)), [network.n_inputs for network in asked.networks])
    members = [{index} for index in range(asked.n_inputs)]
    for left, right in _equal(asked):
        if not {owners[index] for index in members[left]} & {owners[index] for index in members[right]}:
            members[left] |= members[right]
            for index in members[left]:
                members[index] = members[left]
    return np.unique([min(group) for group in members], return_inverse=True)[1]


def _equal(asked: Property) -> Iterator[tuple[int, int]]:
    """Yield the pairs of inputs that are equal in every alternative."""
    below: set[tuple[int, int]] = set()
    for formula in in_all_alternatives(asked.asserted):
        if not isinstance(formula, Atom) or formula.outputs or formula.bound or len(formula.inputs) != 2:
            continue
        (left, a), (right, b) = sorted(formula.inputs.items(), key=lambda pair: -pair[1])
        if a == -b and not formula.strict:
            below.add((left, right))
            if (right, left) in below:
                yield left, right


def _renamed(formula: Formula, places: Ints) -> Formula:
    """Return a formula about the inputs that stand for those it names; ArithmeticError where a sum would be rounded."""
    if isinstance(formula, Atom):
        return _renamed_atom(formula, places)
    return joined(formula.every, (_renamed(part, places) for part in formula.parts), 0)


def _renamed_atom(atom: Atom, places: Ints) -> Formula:
    sums: dict[int, Fraction] = {}
    for index, factor in atom.inputs.items():
        place = int(places[index])
        sums[place] = sums.get(place, Fraction(0)) + Fraction(factor)
    inputs = {place: _exact(value) for place, value in sums.items() if value}
    if not inputs and not atom.outputs:
        return TRUE if atom.bound > 0 or (atom.bound == 0 and not atom.strict) else FALSE
    return replace(atom, inputs=inputs)


def _exact(value: Fraction) -> float:
    if Fraction(found := float(value)) != value:
        raise ArithmeticError
    return found

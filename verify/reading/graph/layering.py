"""Layers: a graph of affine maps and ReLUs as a network, exactly, with what is needed later carried past each layer."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork
from verify.reading.graph.affine import check_finite, identity, product_size, times
from verify.reading.graph.cuts import smallest_cut
from verify.reading.graph.limits import MOST_STEPS, Allowance
from verify.reading.graph.values import Node, Term, Value, added
from verify.relu_graph import ReLUGraph

# Affine nodes behind a layer among which the fewest units are looked for.
FARTHEST = 64

Form = tuple[dict[Node, "sp.csr_matrix | None"], "Floats | None"]


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of a graph.

    Attributes
    ----------
    layers : list of (weight, bias)
        Of a network.
    linear : list of ndarray (out,)
        For each hidden layer, which units pass their value on as it is.
    nonnegative : bool
        Whether no such unit is ever below zero, so that ReLUs would do.
    """

    layers: list[Layer]
    linear: list[NDArray[np.bool_]]
    nonnegative: bool


def network_of(output: Value, allowance: Allowance, notes: Sequence[str] = (), **final: Any) -> SparseReLUNetwork:
    """Return the network of a graph: a chain of layers where nothing is carried, or nothing that can be below zero."""
    made = layers_of(output, allowance)
    if made.nonnegative:
        return SparseReLUNetwork(made.layers, notes=notes, **final)
    return ReLUGraph(made.layers, made.linear, notes=notes, **final)


def layers_of(output: Value, allowance: Allowance) -> Layers:
    """Return the layers of a graph: a ReLU is in the layer of the most ReLUs on a way to it.

    Parameters
    ----------
    output : Value
        Of at least one entry; one input at most is behind it.
    allowance : Allowance
        Pays for the matrices.

    Notes
    -----
    Past each layer are carried the parts that cost the fewest units: whole vectors, affine functions of them, or what
    has come together so far of a later one (a minimum cut, nearest to the input, among the next `FARTHEST` affine
    functions). A chain carries nothing.
    """
    return _Work(output, allowance).layers()


class _Work:
    """The state between two layers: what the units of the last one hold, and what is still to be made of it."""

    def __init__(self, output: Value, allowance: Allowance) -> None:
        self.sink = Node("affine", output.size, output.terms, output.bias)
        self.allowance, self.steps = allowance, 0
        self.nodes = _behind(self.sink)
        self.order = {node: place for place, node in enumerate(self.nodes)}
        self.terms = {node: list(node.terms) for node in self.nodes}
        self.bias = {node: node.bias for node in self.nodes}
        self.users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for source, _ in node.terms:
                self.users[source].append(node)
        # Where the ways past the present layer end.
        self.ends: set[Node] = set()
        # Nodes of which it is known that they are never below zero.
        self.positive: set[Node] = set()
        self._hold([node for node in self.nodes if node.kind == "input"])

    def _hold(self, nodes: list[Node]) -> None:
        self.held, self.held_set = nodes, set(nodes)

    def layers(self) -> Layers:
        """Return all layers, from the first to the last."""
        relus: dict[int, list[Node]] = {}
        for node in self.nodes:
            if node.kind == "relu":
                relus.setdefault(node.level, []).append(node)
        made, linear, nonnegative = list[Layer](), list[NDArray[np.bool_]](), True
        for level in range(1, self.sink.level + 1):
            forms = self._whole(relus[level])
            carried = self._carry(level)
            units = relus[level] + [node for node, _ in carried]
            made.append(self._layer(forms + [form for _, form in carried], units))
            linear.append(np.arange(len(made[-1][1])) >= sum(node.size for node in relus[level]))
            nonnegative = nonnegative and all(node in self.positive for node, _ in carried)
            self.positive |= set(relus[level])
            self._hold(units)
        made.append(self._layer(self._whole([self.sink]), [self.sink]))
        return Layers(made, linear, nonnegative)

    def _whole(self, nodes: list[Node]) -> list[Form]:
        """Return nodes as functions of what is held."""
        forms = dict[Node, Form]()
        for node in _needed(nodes, self.terms, self.held_set):
            forms[node] = self._form(node, self.bias[node], self.held_set, forms)
        return [forms[node] for node in nodes]

    def _form(self, node: Node, bias: Floats | None, held: Container[Node], forms: dict[Node, Form]) -> Form:
        """Return a node as a function of what is held, given those of nodes in its terms; others are left out."""
        terms: dict[Node, sp.csr_matrix | None] = {}
        for source, matrix in self.terms[node]:
            if source in held:
                self._add(terms, source, matrix)
            elif source in forms:
                inner, offset = forms[source]
                for place, part in inner.items():
                    self._add(terms, place, self._times(matrix, part))
                if offset is not None:
                    moved = offset if matrix is None else matrix @ offset
                    bias = moved if bias is None else moved + bias
        if bias is not None:
            check_finite(bias)
        return terms, bias

    def _times(self, matrix: sp.csr_matrix | None, part: sp.csr_matrix | None) -> sp.csr_matrix | None:
        if matrix is None or part is None:
            return part if matrix is None else matrix
        self.allowance.take(product_size(matrix, part), "a matrix")
        return times(matrix, part)

    def _add(self, terms: dict[Node, sp.csr_matrix | None], node: Node, matrix: sp.csr_matrix | None) -> None:
        terms[node] = added(terms[node], matrix, node.size) if node in terms else matrix

    def _layer(self, forms: list[Form], nodes: list[Node]) -> Layer:
        """Return the layer whose units are functions of those of the layer before."""
        biases = [np.zeros(node.size) if bias is None else bias for node, (_, bias) in zip(nodes, forms, strict=True)]
        rows = [self._row(terms, node.size) for node, (terms, _) in zip(nodes, forms, strict=True)]
        if len(rows) == 1:
            return rows[0], biases[0]
        self.allowance.take(sum(row.nnz for row in rows), "a matrix")
        return sp.csr_matrix(sp.vstack(rows, format="csr")), np.concatenate(biases)

    def _row(self, terms: dict[Node, sp.csr_matrix | None], size: int) -> sp.csr_matrix:
        """Return the matrix (size, units held) of a function of what is held."""
        if len(self.held) == 1 and self.held[0] in terms:
            matrix = terms[self.held[0]]
            return identity(size) if matrix is None else matrix
        starts = np.cumsum([0, *(node.size for node in self.held)])
        width = int(starts[-1])
        parts = [
            _widened(identity(node.size) if terms[node] is None else terms[node], int(start), width)
            for node, start in zip(self.held, starts, strict=False)
            if node in terms
        ]
        total = sp.csr_matrix((size, width))
        for part in parts:
            total = total + part
        return sp.csr_matrix(total)

    def _carry(self, level: int) -> list[tuple[Node, Form]]:
        """Choose what is carried past a layer and rewrite what is still to be made; return units and forms."""
        ways = self._ways(level)
        chosen = self._cut(ways) if ways else set()
        left = set(self.held) - chosen
        carried: list[tuple[Node, Form]] = [(node, ({node: None}, None)) for node in self.held if node in chosen]
        # What flows into nodes before it is carried; nodes of which this is all.
        flows, spent = dict[Node, Form](), set(left)
        for node in (node for node in ways if node not in self.held_set):
            terms = self.terms[node]
            if not any(source in left or source in flows for source, _ in terms):
                continue
            rest = [(source, matrix) for source, matrix in terms if source not in spent]
            # A bias goes with what flows where nothing else is left.
            flow = self._form(node, None if rest else self.bias[node], left, flows)
            self.terms[node] = rest
            if node in chosen:
                carried.append((self._unit(node, bool(rest)), flow))
            else:
                flows[node] = flow
                if not rest:
                    spent.add(node)
        self._note_signs(carried)
        return carried

    def _unit(self, node: Node, mixed: bool) -> Node:
        """Return the node whose units carry a node, or the part of it that is there."""
        if not mixed:
            return node
        part = Node("affine", node.size)
        self.terms[node].insert(0, (part, None))
        self.users[part] = [node]
        return part

    def _note_signs(self, carried: list[tuple[Node, Form]]) -> None:
        """Note which carried units are never below zero."""
        for node, (terms, bias) in carried:
            upward = all(matrix is None or bool((matrix.data >= 0.0).all()) for matrix in terms.values())
            upward = upward and (bias is None or bool((bias >= 0.0).all()))
            if upward and all(source in self.positive for source in terms):
                self.positive.add(node)

    def _ways(self, level: int) -> list[Node]:
        """Return the nodes on affine ways from what is held to later ReLUs or the output, those held first.

        Ways are followed for so many nodes; those at which the search stops are ends of their own.
        """
        reached, self.ends = set(self.held), set()
        waiting: list[tuple[int, Node]] = []
        for node in self.held:
            self._reach(node, level, reached, waiting)
        for _ in range(FARTHEST):
            if not waiting:
                break
            self._reach(heappop(waiting)[1], level, reached, waiting)
        self.ends |= {node for _, node in waiting}
        later = sorted(reached - self.held_set, key=self.order.__getitem__)
        useful: set[Node] = set()
        for node in (*reversed(later), *self.held):
            if node in self.ends or any(user in useful for user in self.users[node]):
                useful.add(node)
        return [node for node in (*self.held, *later) if node in useful]

    def _reach(self, node: Node, level: int, reached: set[Node], waiting: list[tuple[int, Node]]) -> None:
        """Note the users of a node: what must be cut off, and the affine ones behind which the search goes on."""
        self._step(len(self.users[node]))
        for user in self.users[node]:
            if user in reached or (user.kind == "relu" and user.level == level):
                continue
            reached.add(user)
            if user.kind == "relu" or user is self.sink:
                self.ends.add(user)
            else:
                heappush(waiting, (self.order[user], user))

    def _cut(self, ways: list[Node]) -> set[Node]:
        """Return the nodes that are carried, in whole or in part."""
        first = [node for node in ways if node in self.held_set]
        if sum(node.size for node in first) <= min(node.size for node in ways[len(first) :]):
            return set(first)
        place = {node: index for index, node in enumerate(ways)}
        edges = [
            (place[source], place[node])
            for node in ways[len(first) :]
            for source, _ in self.terms[node]
            if source in place
        ]
        self._step(len(edges))
        ends = [(place[node], 1) for node in first] + [(place[node], -1) for node in ways if node in self.ends]
        return {ways[index] for index in smallest_cut([node.size for node in ways], edges, ends)}

    def _step(self, count: int) -> None:
        """Count steps of the search for what is carried; too many are refused."""
        self.steps += count + 1
        if self.steps > MOST_STEPS:
            raise ValueError(f"its branches take more than {MOST_STEPS:,} steps to lay out; expected fewer skips")


def _behind(sink: Node) -> list[Node]:
    """Return a node and all that it depends on, each after those of its terms."""
    found, open_nodes = {sink: None}, [sink]
    while open_nodes:
        for source, _ in open_nodes.pop().terms:
            if source not in found:
                found[source] = None
                open_nodes.append(source)
    return sorted(found, key=lambda node: node.number)


def _needed(nodes: list[Node], terms: dict[Node, list[Term]], held: set[Node]) -> list[Node]:
    """Return nodes and the affine ones between them and what is held, each after those of its terms."""
    found, open_nodes = dict.fromkeys(nodes), list(nodes)
    while open_nodes:
        for source, _ in terms[open_nodes.pop()]:
            if source not in held and source not in found:
                found[source] = None
                open_nodes.append(source)
    return sorted(found, key=lambda node: node.number)


def _widened(matrix: sp.csr_matrix, start: int, width: int) -> sp.csr_matrix:
    """Return a matrix with columns of zeros around its own, from column `start` on."""
    return sp.csr_matrix((matrix.data, matrix.indices + start, matrix.indptr), shape=(matrix.shape[0], width))

"""A module followed on one row: a chain of known layers as it stands, any other module as torch.fx traces it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import fx, nn

from verify.reading.graph.values import Shape, Value, input_value, pinned
from verify.reading.torch_modules.choices import Mask
from verify.reading.torch_modules.functions import FUNCTIONS, METHODS, PASSING, by_place
from verify.reading.torch_modules.in_place import Proxy, used_after_change
from verify.reading.torch_modules.joined import Joined
from verify.reading.torch_modules.layers import KNOWN, NEUTRAL, RULES, kind_of, own_code
from verify.reading.torch_modules.parts import Final
from verify.reading.torch_modules.shaped_tracing import ShapedTracer

# Functions and methods that leave the shape of a row as it is, beside constants.
KEEPING = (
    *("add", "sub", "mul", "truediv", "div", "neg", "relu", "clamp", "clip", "to", "float", "double", "half", "detach"),
    *("contiguous", "clone", "abs", "dropout", "iadd", "isub", "imul", "itruediv"),
)

Layers = list[tuple[str, nn.Module]]
ERRORS = (
    ValueError,
    RuntimeError,
    TypeError,
    IndexError,
    KeyError,
    NotImplementedError,
    AttributeError,
    ArithmeticError,
)


def layers_of(module: nn.Module) -> Layers | None:
    """Return the layers of a module in order, each with the words for its position; None where it is no mere chain.

    Raises
    ------
    ValueError
        A layer of torch that has no rule.
    """
    return list(_layers(module)) if _is_chain(module) else None


def _is_chain(module: nn.Module) -> bool:
    kind = kind_of(module)
    if kind is None:
        return _is_stock(module)
    if own_code(module, kind) is not None:
        return _is_hooked(module)  # which is refused
    return not isinstance(module, nn.Sequential) or all(_is_chain(child) for child in module)


def _is_stock(module: nn.Module) -> bool:
    """Return whether a module is a layer of torch itself, not one that holds others."""
    return type(module).__module__.startswith("torch.nn.") and not any(True for _ in module.children())


def _is_hooked(module: nn.Module) -> bool:
    """Return whether a module is a layer of torch itself that somebody has hung code on."""
    return _is_stock(module) and "forward" not in vars(module) and own_code(module, type(module)) is not None


def _layers(module: nn.Module, position: str = "") -> Iterator[tuple[str, nn.Module]]:
    where = f"layer {position}" if position else "the module"
    check_layer(module, where)
    if not isinstance(module, nn.Sequential):
        yield f"{where} ({type(module).__name__})", module
        return
    for index, child in enumerate(module):
        yield from _layers(child, f"{position}.{index}" if position else str(index))


def check_layer(module: nn.Module, where: str) -> None:
    """Raise ValueError where a layer has no rule, or code of its own."""
    kind = kind_of(module)
    if kind is None:
        raise ValueError(f"{where} is a {type(module).__name__}; expected {KNOWN}")
    own = own_code(module, kind)
    if own is not None:
        raise ValueError(f"{where} ({type(module).__name__}) {own}")


def first_shape(layers: Layers) -> Shape:
    """Return the shape of a row where the first layer that knows a size tells it."""
    for where, layer in layers:
        if isinstance(layer, nn.Linear | nn.BatchNorm1d):
            return (layer.in_features if isinstance(layer, nn.Linear) else layer.num_features,)
        if isinstance(layer, nn.Unflatten) and layer.dim in (1, -1) and min(layer.unflattened_size) > 0:
            return (prod(layer.unflattened_size),)
        if not isinstance(layer, NEUTRAL):
            raise ValueError(
                f"{where} does not tell the shape of a row; "
                "expected input_shape, as in read_network(module, input_shape=(3, 32, 32))"
            )
    raise ValueError("the torch module has no affine layer; expected at least one")


def follow_layers(layers: Layers, shape: Shape) -> Value | Final:
    """Return what layers in a row make of a row of a shape."""
    value: Value | Final = input_value((1, *shape))
    for where, layer in layers:
        try:
            value = _applied(layer, value)
        except ERRORS as error:
            raise ValueError(f"{where} cannot be read: {_first_line(error)}") from None
    return value


def _applied(layer: nn.Module, value: Any) -> Value | Final:
    kind = kind_of(layer)
    assert kind is not None
    if isinstance(value, Final):
        if not isinstance(layer, nn.Flatten | nn.Unflatten | nn.Identity | nn.Dropout):
            raise ValueError(f"it acts on what a {value.kind} makes; expected that at the very end alone")
        inner = RULES[kind](layer, value.value)
        assert isinstance(inner, Value)
        return replace(value, value=inner)
    return RULES[kind](layer, value)


def _is_leaf(module: nn.Module) -> bool:
    """Return whether a module is read by a rule: every other one, and one with code of its own, is entered."""
    kind = kind_of(module)
    if kind is not None and kind is not nn.Sequential:
        return own_code(module, kind) is None or _is_hooked(module)
    return kind is None and _is_stock(module)


class _Tracer(fx.Tracer):
    """A tracer without shapes, whose graph holds for every input."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_leaf(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Proxy(node, self)


class _ShapedTracer(ShapedTracer):
    """The same with the shapes of one row."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_leaf(m)


class _Root(nn.Module):
    """Calls a module, as its users do: code around its forward is traced too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        """Return what the module makes of x."""
        return self.module(x)


def traced(module: nn.Module, shape: Shape | None) -> tuple[fx.Graph, nn.Module, Shape]:
    """Return the graph of a module, the module that its names start from, and the shape of a row.

    It is traced without shapes first, and where its code looks at these, with those of one row.

    Raises
    ------
    ValueError
        torch.fx cannot trace it, for instance where numbers decide what is computed; or the shape is not known.
    """
    root, tracer = module if isinstance(module, Joined) else _Root(module), _Tracer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = tracer.trace(root)
        except Exception as error:
            seen = getattr(tracer, "graph", None)
            start = _start(seen, root, shape, error)
            return _traced_with(module, root, start), root, start
    return graph, root, _start(graph, root, shape)


def _traced_with(module: nn.Module, root: nn.Module, shape: Shape) -> fx.Graph:
    """Return the graph of a module for one row of a shape."""
    first = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), torch.zeros(1))
    try:
        return _ShapedTracer(shape, first.dtype, first.device).trace(root)
    except Exception as error:
        raise _refusal(module, error) from None


def _refusal(module: nn.Module, error: Exception) -> ValueError:
    return ValueError(
        f"the module ({type(module).__name__}) cannot be traced by torch.fx ({_first_line(error).split('. ')[0]}); "
        "expected a forward without branches on numbers: export it to ONNX, or write it as layers"
    )


def _start(graph: fx.Graph | None, root: nn.Module, shape: Shape | None, error: Exception | None = None) -> Shape:
    """Return the shape of a row, as it is stated or as the first layer of a graph, or of a part of it, tells it."""
    if shape is not None:
        return shape
    try:
        return first_shape(_first_of(graph, root))
    except ValueError:
        if error is None or graph is None:
            raise
        raise ValueError(
            f"the code of the module looks at shapes ({_first_line(error).split('. ')[0]}); expected input_shape, as "
            "in read_network(module, input_shape=(3, 32, 32))"
        ) from None


def _first_of(graph: fx.Graph | None, module: nn.Module) -> Layers:
    """Return the layer that first acts on the input of a graph, after sums and products alone."""
    same: set[fx.Node] = set()
    for node in graph.nodes if graph is not None else ():
        inner = set(node.all_input_nodes)
        if node.op == "placeholder" or (inner & same and getattr(node.target, "__name__", node.target) in KEEPING):
            same.add(node)
        elif node.op == "call_module" and inner <= same:
            layer = module.get_submodule(str(node.target))
            return [(f"{_words(node)} ({type(layer).__name__})", layer)]
    return [("the module", module)]


def follow_graph(graph: fx.Graph, module: nn.Module, shape: Shape, output: str | None = None) -> Value | Final:
    """Return what a graph makes of a row of a shape, or one of several results."""
    _check_in_place(graph, module)
    known: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "output":
            return _output(known, node, output)
        try:
            made = _made(node, module, shape, known)
        except ERRORS as error:
            raise ValueError(f"{_words(node)} cannot be read: {_first_line(error)}") from None
        known[node] = pinned(made) if isinstance(made, Value) and len(node.users) > 1 else made
    raise ValueError("the torch module returns nothing; expected an array")


def _check_in_place(graph: fx.Graph, module: nn.Module) -> None:
    found = used_after_change(graph, module)
    if found is not None:
        changing, user = found
        uses = "the module returns it" if user.op == "output" else f"{_words(user)} uses it"
        raise ValueError(
            f"{_words(changing)} changes a value in place, and {uses} afterwards by another name; expected the result "
            "of the change, as in y = y.clamp_(0, 1)"
        )


def _output(known: dict[fx.Node, Any], node: fx.Node, output: str | None) -> Value | Final:
    result = one_of(fx.node.map_arg(node.args[0], lambda given: known[given]), output)
    if not isinstance(result, Value | Final):
        raise ValueError(f"the torch module returns a {type(result).__name__}; expected one array that depends on x")
    return result


def one_of(result: Any, output: str | None) -> Any:
    """Return one of the results of a module: the only one, or that of a name or place.

    Raises
    ------
    ValueError
        There are several and none is asked for, or none of that name.
    """
    names = None
    if isinstance(result, Mapping):
        names, result = [str(name) for name in result], list(result.values())
    elif isinstance(result, list | tuple):
        names = [str(place) for place in range(len(result))]
    if names is None and output not in (None, "0"):
        raise ValueError(f"the torch module returns one array, no output {output!r}; expected output= left out")
    if names is None or (output is None and len(names) == 1):
        return result if names is None else result[0]
    if output not in names:
        asked = "several outputs" if output is None else f"no output {output!r}"
        raise ValueError(f"the torch module returns {asked}; expected output= one of: {', '.join(map(repr, names))}")
    return result[names.index(output)]


def _words(node: fx.Node) -> str:
    """Return the words for a node."""
    if node.op == "call_module":
        return f"layer {str(node.target).removeprefix('module.') or type(node.target).__name__}"
    name = getattr(node.target, "__name__", None) or str(node.target)
    return f"the operation {node.name} ({name})"


def _made(node: fx.Node, module: nn.Module, shape: Shape, known: dict[fx.Node, Any]) -> Any:
    """Return what a node makes of what is known."""
    if node.op == "placeholder":
        return input_value((1, *shape))
    if node.op == "get_attr":
        return _attribute(module, str(node.target))
    args: Any = fx.node.map_arg(node.args, lambda one: known[one])
    options: Any = fx.node.map_arg(node.kwargs, lambda one: known[one])
    if node.op == "call_module":
        layer, given = module.get_submodule(str(node.target)), [*args, *options.values()]
        check_layer(layer, "it")
        if len(given) != 1:
            raise ValueError(f"it is called with {len(given)} arguments; expected one")
        return _applied(layer, given[0])
    moving = [given for given in _leaves([args, options]) if isinstance(given, Value | Final | Mask)]
    if not moving:
        return _constant(node, args, options)
    rule = FUNCTIONS.get(node.target) if node.op == "call_function" else METHODS.get(str(node.target))
    if rule is None:
        if getattr(node.target, "__name__", node.target) in ("argmax", "argmin", "topk", "sort", "argsort"):
            raise ValueError("it sorts entries or gives their places; expected the values before it")
        raise ValueError(
            "it is not continuous and piecewise linear, or not known; expected sums, products with constants, shapes, "
            "parts, pools, clamps, maxima and means"
        )
    args, options = by_place(args, options)
    if any(isinstance(given, Final) for given in moving):
        return _after_final(node, rule, args, options)
    return rule(*args, **options)


def _after_final(node: fx.Node, rule: Any, args: Any, options: Any) -> Final:
    name = getattr(node.target, "__name__", str(node.target))
    if name not in PASSING or not isinstance(args[0], Final):
        raise ValueError("it acts on what a softmax, sigmoid or tanh makes; expected that at the very end alone")
    return replace(args[0], value=rule(args[0].value, *args[1:], **options))


def _constant(node: fx.Node, args: Any, options: Any) -> Any:
    """Return what a function makes of tensors and numbers alone."""
    with torch.no_grad():
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **options)
        assert callable(node.target)
        return node.target(*args, **options)


def _leaves(given: Any) -> Iterator[Any]:
    if isinstance(given, list | tuple):
        for one in given:
            yield from _leaves(one)
    elif isinstance(given, dict):
        yield from _leaves(list(given.values()))
    else:
        yield given


def _attribute(module: nn.Module, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

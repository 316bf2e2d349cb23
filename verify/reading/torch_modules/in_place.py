"""Operations in place: no value that one has changed may be used again by another name, which a graph cannot show."""

from __future__ import annotations

import inspect
import operator
from typing import Any

from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

# Operators that change their left side.
CHANGING = (operator.iadd, operator.isub, operator.imul, operator.itruediv)

# Functions and methods whose result may lie in the memory of what they are given.
SHARING = {
    *("view", "view_as", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "expand", "contiguous"),
    *("transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "permute", "t", "getattr", "getitem", "atleast_2d"),
    *("expand_as", "broadcast_to"),
    *("chunk", "split", "tensor_split", "hsplit", "vsplit", "unbind", "narrow", "select", "diagonal"),
    *("pos", "positive", "detach", "to", "type_as", "float", "double", "half", "cpu", "dropout", "dropout1d"),
    *("dropout2d", "dropout3d", "pad", "interpolate", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
}
LAYERS = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(_DropoutNd, nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd),
    *(nn.modules.padding._ReplicationPadNd, nn.modules.padding._CircularPadNd),
)


class Proxy(fx.Proxy):
    """A proxy that tells `y += 1` from `y = y + 1`, as those of torch.fx do not."""

    def __iadd__(self, other: Any) -> Any:
        """Return the node of `y += other`."""
        return self._changed(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        """Return the node of `y -= other`."""
        return self._changed(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        """Return the node of `y *= other`."""
        return self._changed(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        """Return the node of `y /= other`."""
        return self._changed(operator.itruediv, other)

    def _changed(self, change: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", change, (self, other), {})


def used_after_change(graph: fx.Graph, root: nn.Module) -> tuple[fx.Node, fx.Node] | None:
    """Return an operation in place and a later one that uses what was changed by another name; None without any.

    The rules give the result of an operation in place to those that ask for its result. Whoever asks for the value that
    it was given, or for a part or another shape of that, would get what stood there before.
    """
    places = {node: place for place, node in enumerate(graph.nodes)}
    shared: dict[fx.Node, set[fx.Node]] = {}
    for node, place in places.items():
        changes = _changes(node, root)
        if changes:
            users = {user for member in shared[node.all_input_nodes[0]] for user in member.users}
            late = sorted((user for user in users if places[user] > place), key=places.__getitem__)
            if late:
                return node, late[0]
        sources = node.all_input_nodes[:1] if changes else node.all_input_nodes if _shares(node, root) else []
        group = {node}.union(*(shared[source] for source in sources))
        shared.update(dict.fromkeys(group, group))
    return None


def _changes(node: fx.Node, root: nn.Module) -> bool:
    """Return whether an operation changes its first argument."""
    if not node.all_input_nodes:
        return False
    if node.op == "call_module":
        layer = root.get_submodule(str(node.target))
        return bool(getattr(layer, "inplace", False)) and not isinstance(layer, _DropoutNd)
    if node.op not in ("call_function", "call_method"):
        return False
    name = _name(node)
    return node.target in CHANGING or (name.endswith("_") and not name.endswith("__")) or _is_told(node)


def _is_told(node: fx.Node) -> bool:
    """Return whether a function is given `inplace`, by name or place; a dropout changes nothing in eval mode."""
    if _name(node) in SHARING or not callable(node.target):
        return False
    try:
        return bool(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments.get("inplace", False))
    except (TypeError, ValueError):
        return bool(node.kwargs.get("inplace", False))  # no signature to look at


def _shares(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        return isinstance(root.get_submodule(str(node.target)), LAYERS)
    if node.target is getattr and node.args[1] in ("shape", "ndim", "dtype", "device"):
        return False
    return node.op in ("call_function", "call_method") and _name(node) in SHARING


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))

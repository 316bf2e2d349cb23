"""Tracing with the shapes of one row known, for modules whose code looks at shapes, or goes through parts.

`torch.fx` traces with no shapes at all, and so ends at `if x.dim() == 2`, `len(x)`, `torch.zeros(x.shape[0], 6)` or
`for part in x.chunk(3, dim=1)`. Here each proxy knows what it stands for on one row of zeros. What depends on numbers
of the row (`if x.sum() > 0`) is refused as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from verify.reading.graph.values import Shape
from verify.reading.torch_modules.in_place import Proxy

# What is known once shapes are: it goes into the code as it is.
PLAIN = (bool, int, float, str, torch.Size, torch.dtype, torch.device, torch.layout, type(None))

# What answers so by shapes, types and devices, and by no number of the row; `getitem` may find that a part is None.
LOOKING = (
    *("getattr", "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "element_size"),
    *("is_floating_point", "is_complex", "get_device", "type"),
)


class ShapedProxy(Proxy):
    """A proxy that answers for shapes, lengths and parts."""

    tracer: ShapedTracer

    @property
    def seen(self) -> Any:
        """What it stands for on one row of zeros."""
        return self.tracer.seen[self.node]

    def __getattr__(self, name: str) -> Any:
        """Return a method to be traced, or what is known of an attribute."""
        if callable(getattr(self.seen, name)):
            return super().__getattr__(name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __len__(self) -> int:
        """Return the length of the first axis, or the number of parts."""
        return len(self.seen)

    def __getitem__(self, key: Any) -> Any:
        """Return a part."""
        return super().__getitem__(key)  # type: ignore[misc]

    def __iter__(self) -> Iterator[Any]:
        """Go through the parts."""
        return iter([self[index] for index in range(len(self.seen))])


class ShapedTracer(fx.Tracer):
    """A tracer that runs each operation on one row of zeros beside.

    Parameters
    ----------
    shape : tuple of int
        The shape of the row.
    dtype, device
        Of its numbers.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.seen: dict[fx.Node, Any] = {}
        # The nodes that depend on the row.
        self.moving: set[fx.Node] = set()
        self._runs = False
        self.row = torch.zeros((1, *shape), dtype=dtype, device=device)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the proxy of a node."""
        return ShapedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> Any:
        """Return the proxy of a new node, or what it stands for where this is plain."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **options)
        if kind == "output":
            return proxy
        if kind == "placeholder" or not self.moving.isdisjoint(proxy.node.all_input_nodes):
            self.moving.add(proxy.node)
        self._runs = True
        try:
            made = self._made(proxy.node)
        finally:
            self._runs = False
        if isinstance(made, PLAIN) and kind != "placeholder":
            if proxy.node in self.moving:
                _check_plain(proxy.node, made)
            self.graph.erase_node(proxy.node)
            return made
        self.seen[proxy.node] = made
        return proxy

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return what a module has; its parameters as they are while an operation runs, as proxies else."""
        return attr_val if self._runs else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: Any, forward: Any, args: Any, kwargs: Any) -> Any:
        """Return what a module makes; it is run as it is while an operation runs, and traced else."""
        return forward(*args, **kwargs) if self._runs else super().call_module(m, forward, args, kwargs)

    def _known(self, node: fx.Node) -> Any:
        """Return what a node stands for; a constant of the code is one that no proxy was made for."""
        return self.seen[node] if node in self.seen else _attribute(self.root, str(node.target))

    def _made(self, node: fx.Node) -> Any:
        """Return what a node makes of what is seen."""
        args: Any = fx.node.map_arg(node.args, self._known)
        options: Any = fx.node.map_arg(node.kwargs, self._known)
        if node.op == "placeholder":
            return args[0] if args else self.row.clone()
        if node.op == "get_attr":
            return _attribute(self.root, str(node.target))
        with torch.no_grad():
            if node.op == "call_module":
                return self.root.get_submodule(str(node.target))(*args, **options)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **options)
            assert callable(node.target)
            return node.target(*args, **options)


def _check_plain(node: fx.Node, made: Any) -> None:
    """Raise ValueError where a plain answer, such as that of `x.max().item()`, may be another one for other rows."""
    name = getattr(node.target, "__name__", str(node.target))
    if name not in LOOKING and not (name == "getitem" and made is None):
        raise ValueError(f"{name} makes a {type(made).__name__} of the numbers of a row")


def _attribute(root: Any, path: str) -> Any:
    found = root
    for name in path.split("."):
        found = getattr(found, name)
    return found.detach() if isinstance(found, Tensor) else found

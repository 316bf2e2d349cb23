"""Rules of nodes that move entries: shapes, axes, parts, copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from convexnn.checks import Floats, Ints
from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.values import Value, concatenated, constant_value, expanded, places_of, reshaped, selected
from verify.reading.onnx_files.scope import Scope, Signal, axes_of, axis_of, options_of


def flatten(scope: Scope, node: Any) -> Signal:
    """Read an array as a matrix, cut at an axis."""
    signal = scope.signal(node)
    axis, count = int(options_of(node).get("axis", 1)), len(signal.shape)
    axis += count if axis < 0 else 0
    if not 0 <= axis <= count:
        raise ValueError(f"its axis is out of range for an array of shape {signal.shape}")
    return signal.of(reshaped(signal.value, (prod(signal.shape[:axis]), prod(signal.shape[axis:]))))


def reshape(scope: Scope, node: Any) -> Signal:
    """Read an array of another shape."""
    signal = scope.signal(node)
    sizes = scope.integers(node, 1, "shape") or []
    if not options_of(node).get("allowzero", 0):
        sizes = [signal.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    # An array of one byte that stands for all entries: only the shapes matter.
    shape = np.broadcast_to(np.False_, prod(signal.shape)).reshape(sizes).shape
    return signal.of(reshaped(signal.value, shape))


def squeeze(scope: Scope, node: Any) -> Signal:
    """Read an array without some axes of one."""
    signal = scope.signal(node)
    stated = scope.integers(node, 1, "axes")
    axes = [axis for axis, size in enumerate(signal.shape) if size == 1]
    axes = axes if stated is None else axes_of(stated, len(signal.shape))
    if any(signal.shape[axis] != 1 for axis in axes):
        raise ValueError(f"it drops axes {axes} of an array of shape {signal.shape}; expected axes of size 1")
    shape = tuple(size for axis, size in enumerate(signal.shape) if axis not in axes)
    return signal.of(reshaped(signal.value, shape))


def unsqueeze(scope: Scope, node: Any) -> Signal:
    """Read an array with more axes of one."""
    signal = scope.signal(node)
    stated = scope.integers(node, 1, "axes") or []
    count = len(signal.shape) + len(stated)
    axes, sizes = axes_of(stated, count), iter(signal.shape)
    if len(axes) != len(stated) or count > 64:
        raise ValueError(f"it adds the axes {stated[:8]}; expected each once")
    return signal.of(reshaped(signal.value, tuple(1 if axis in axes else next(sizes) for axis in range(count))))


def transpose(scope: Scope, node: Any) -> Signal:
    """Read an array with its axes in another order."""
    signal = scope.signal(node)
    order = options_of(node).get("perm", list(range(len(signal.shape)))[::-1])
    return signal.of(taken(signal.value, places_of(signal.value).transpose(order)))


def taken(value: Value, places: Ints) -> Value:
    """Return the entries at some places, a mere change of shape where their order stays."""
    same = places.size == value.size and bool((np.diff(places.ravel()) == 1).all())
    return reshaped(value, places.shape) if same else selected(value, places)


def cut(scope: Scope, node: Any) -> Signal:
    """Read a part of an array (Slice)."""
    signal = scope.signal(node)
    starts, ends = (scope.integers(node, index, name) for index, name in ((1, "starts"), (2, "ends")))
    if starts is None or ends is None:
        raise ValueError("it states no starts and ends")
    axes, steps = scope.integers(node, 3, "axes"), scope.integers(node, 4, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    places = places_of(signal.value)
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        where = axis_of(axis, places.ndim)
        # A stop before the first entry, from the last one backwards, has no number of its own in Python.
        stop = None if step < 0 and end < -places.shape[where] else end
        places = places[(slice(None),) * where + (slice(start, stop, step),)]
    if not places.size:
        raise ValueError(f"it leaves nothing of an array of shape {signal.shape}; expected one entry at least")
    return signal.of(taken(signal.value, places))


def gather(scope: Scope, node: Any) -> Signal:
    """Read entries at constant places along an axis."""
    signal = scope.signal(node)
    indices = scope.constant(node, 1)
    axis = axis_of(int(options_of(node).get("axis", 0)), len(signal.shape))
    if indices.dtype.kind not in "iu":
        raise ValueError(f"its places are of type {indices.dtype}; expected whole numbers")
    as_size(signal.value.size // signal.shape[axis] * indices.size, "its result", MOST_PLACES)
    return signal.of(taken(signal.value, np.take(places_of(signal.value), indices.astype(np.int64), axis=axis)))


def gather_nd(scope: Scope, node: Any) -> Signal:
    """Read entries, or parts, at constant places along the first axes."""
    signal = scope.signal(node)
    indices = scope.constant(node, 1)
    if indices.dtype.kind not in "iu" or not indices.ndim or options_of(node).get("batch_dims", 0):
        raise ValueError("its places are no constant whole numbers for all axes; expected those, and batch_dims of 0")
    keys = tuple(np.moveaxis(indices.astype(np.int64), -1, 0))
    as_size(prod(indices.shape[:-1]) * prod(signal.shape[len(keys) :]), "its result", MOST_PLACES)
    return signal.of(taken(signal.value, np.asarray(places_of(signal.value)[keys])))


def split(scope: Scope, node: Any) -> list[Signal]:
    """Read the parts of an array along an axis."""
    signal = scope.signal(node)
    axis, count = axis_of(int(options_of(node).get("axis", 0)), len(signal.shape)), len(node.output)
    sizes = scope.integers(node, 1, "split")
    if sizes is None:
        most = -(-signal.shape[axis] // int(options_of(node).get("num_outputs", count)))
        sizes = [min(most, signal.shape[axis] - most * part) for part in range(count)]
    if sum(sizes) != signal.shape[axis] or len(sizes) != count or min(sizes) < 1:
        raise ValueError(f"it splits {signal.shape[axis]} entries into parts of {sizes[:8]} for {count} results")
    parts = np.split(places_of(signal.value), np.cumsum(sizes)[:-1], axis=axis)
    return [signal.of(taken(signal.value, places)) for places in parts]


def concat(scope: Scope, node: Any) -> Signal:
    """Read signals and constants joined along an axis; of final functions, sigmoids alone."""
    found = [scope.signals[name] for name in node.input if name in scope.signals]
    if not found:
        raise ValueError("it does not act on the value that the network computes")
    finals = {signal.final for signal in found}
    if finals != {None} and (finals != {"sigmoid"} or len(found) < len(node.input)):
        raise ValueError("it joins the result of a final function with others; expected sigmoids alone")
    values = [
        scope.signals[name].value if name in scope.signals else constant_value(scope.reals(node, index, found[0].kind))
        for index, name in enumerate(node.input)
    ]
    joined = concatenated(values, axis_of(int(options_of(node)["axis"]), len(found[0].shape)))
    return Signal(joined, found[0].kind, found[0].final)


def pad(scope: Scope, node: Any) -> Signal:
    """Read an array with a constant, or copies of its own entries, around it."""
    signal, options = scope.signal(node), options_of(node)
    pads, count = scope.integers(node, 1, "pads" if "pads" in options else "paddings") or [], len(signal.shape)
    mode = options.get("mode", b"constant").decode()
    axes = scope.integers(node, 3, "axes")
    axes = list(range(count)) if axes is None else [axis_of(axis, count) for axis in axes]
    if len(pads) != 2 * len(axes) or mode not in ("constant", "reflect", "edge", "wrap"):
        raise ValueError(f"it has mode {mode!r} and {len(pads)} pads; expected constant, edge or such, two an axis")
    widths = [(0, 0)] * count
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        widths[axis] = (before, after)
    fill = scope.number(node, 2, float(options.get("value", 0.0)))
    if not np.isfinite(fill):
        raise ValueError(f"it pads by {fill:g}; expected a finite number")
    return signal.of(selected(signal.value, _padded(places_of(signal.value), widths, mode), fill))


def _padded(places: Ints, widths: list[tuple[int, int]], mode: str) -> Ints:
    """Return places with those of the padding around them, -1 for a constant; negative widths cut."""
    cuts = tuple(
        slice(max(-before, 0), size - max(-after, 0))
        for (before, after), size in zip(widths, places.shape, strict=True)
    )
    kept = places[cuts]
    wide = [(max(before, 0), max(after, 0)) for before, after in widths]
    as_size(prod(size + sum(width) for size, width in zip(kept.shape, wide, strict=True)), "its result", MOST_PLACES)
    if not kept.size:
        raise ValueError("it cuts all entries off")
    if mode == "constant":
        return np.pad(kept, wide, constant_values=-1)
    return np.pad(kept, wide, mode=mode)  # type: ignore[call-overload]


def expand(scope: Scope, node: Any) -> Signal:
    """Read an array broadcast to a shape."""
    signal = scope.signal(node)
    shape = np.broadcast_shapes(signal.shape, tuple(scope.integers(node, 1, "shape") or ()))
    return signal.of(expanded(signal.value, shape))


def tile(scope: Scope, node: Any) -> Signal:
    """Read copies of an array side by side."""
    signal = scope.signal(node)
    repeats = scope.integers(node, 1, "repeats") or []
    as_size(signal.value.size * prod(repeats), "its result", MOST_PLACES)
    if len(repeats) != len(signal.shape) or min(repeats) < 1:
        raise ValueError(f"it repeats {repeats[:8]} times; expected a number of at least 1 for each axis")
    return signal.of(taken(signal.value, np.tile(places_of(signal.value), repeats)))


def resize(scope: Scope, node: Any) -> Signal:
    """Read an array of which each entry is its nearest one on another grid."""
    signal, options = scope.signal(node), options_of(node)
    mode = options.get("mode", b"nearest").decode()
    if mode != "nearest" or options.get("antialias", 0):
        raise ValueError(f"its mode is {mode!r}; expected 'nearest'")
    scales, sizes = _scales(scope, node, options, signal.shape)
    as_size(prod(sizes), "its result", MOST_PLACES)
    old = node.op_type == "Upsample" or scope.opset < 11
    how = "asymmetric" if old else options.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = "floor" if old else options.get("nearest_mode", b"round_prefer_floor").decode()
    places = places_of(signal.value)
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if size != places.shape[axis] or scale != 1.0:
            places = np.take(places, _nearest(places.shape[axis], size, scale, how, rounding), axis=axis)
    return signal.of(taken(signal.value, places))


def _scales(scope: Scope, node: Any, options: dict[str, Any], shape: Sequence[int]) -> tuple[list[float], list[int]]:
    """Return the factor and the size of each axis."""
    place = 1 if node.op_type == "Upsample" or scope.opset < 11 else 2
    if scope.has(node, 3) and scope.constant(node, 3).size:
        sizes = scope.integers(node, 3, "sizes") or []
        if len(sizes) != len(shape) or options.get("axes"):
            raise ValueError(f"it has {len(sizes)} sizes; expected one for each axis, {len(shape)}")
        return [size / before for size, before in zip(sizes, shape, strict=True)], sizes
    stated = scope.constant(node, place) if scope.has(node, place) else np.asarray(options.get("scales", []))
    scales = [float(scale) for scale in stated.ravel()]
    if len(scales) != len(shape) or not all(0.0 < scale < MOST_PLACES for scale in scales):
        raise ValueError(f"it has {len(scales)} scales; expected a positive one for each axis, {len(shape)}")
    return scales, [int(np.floor(size * scale)) for size, scale in zip(shape, scales, strict=True)]


def _nearest(before: int, after: int, scale: float, how: str, rounding: str) -> Ints:
    """Return for each entry of a longer or shorter axis which entry is nearest to it."""
    index: Floats = np.arange(after, dtype=np.float64)
    if how == "asymmetric":
        where = index / scale
    elif how == "align_corners":
        where = index * (before - 1) / max(after - 1, 1)
    elif how in ("half_pixel", "pytorch_half_pixel"):
        where = np.zeros(1) if how.startswith("p") and after == 1 else (index + 0.5) / scale - 0.5
    else:
        raise ValueError(f"its coordinate_transformation_mode is {how!r}; expected half_pixel or asymmetric")
    known: dict[str, Callable[[Floats], Floats]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda place: np.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    }
    return np.asarray(np.clip(known[rounding](where), 0, before - 1), dtype=np.int64)


def depth_to_space(scope: Scope, node: Any) -> Signal:
    """Read channels laid out as blocks of the grid."""
    signal, options = scope.signal(node), options_of(node)
    size, (rows, channels, height, width) = int(options["blocksize"]), signal.shape
    places = places_of(signal.value)
    if options.get("mode", b"DCR") == b"CRD":
        split_up = places.reshape(rows, channels // size**2, size, size, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        split_up = places.reshape(rows, size, size, channels // size**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    return signal.of(selected(signal.value, split_up.reshape(rows, channels // size**2, height * size, width * size)))


def space_to_depth(scope: Scope, node: Any) -> Signal:
    """Read blocks of the grid laid out as channels."""
    signal, size = scope.signal(node), int(options_of(node)["blocksize"])
    rows, channels, height, width = signal.shape
    split_up = places_of(signal.value).reshape(rows, channels, height // size, size, width // size, size)
    turned = split_up.transpose(0, 3, 5, 1, 2, 4)
    return signal.of(selected(signal.value, turned.reshape(rows, channels * size**2, height // size, width // size)))

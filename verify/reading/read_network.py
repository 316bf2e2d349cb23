"""Reading networks: whatever the user holds becomes a SparseReLUNetwork of (csr weight, bias) layers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convexnn.checks import as_count, as_file
from convexnn.network import SparseReLUNetwork
from verify.reading.graph.values import Shape
from verify.reading.onnx_files.model_files import is_model, is_model_file
from verify.reading.simplify import simplify
from verify.relu_graph import load_network

# What to do with files of other kinds, by their endings.
_TORCH = " (of torch? load the module in Python and give it, or torch.onnx.export it)"
_KERAS = " (of Keras? export it to ONNX: model.export(path, format='onnx') in Keras 3, or tf2onnx)"
_PICKLED = " (of joblib or pickle? load the estimator in Python and give it)"
ENDINGS = {
    **dict.fromkeys((".pt", ".pth", ".pt2", ".ckpt", ".bin", ".safetensors"), _TORCH),
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".pb", ".tflite"), _KERAS),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".sav"), _PICKLED),
    ".nnet": " (of ACAS Xu? the same networks are there as .onnx in VNN-COMP's benchmarks)",
    ".vnnlib": " (a property? it is the second argument, the network the first)",
    ".csv": " (a table? `convexnn fit` makes networks of tables)",
}


def read_network(
    source: Any, *, input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None, output: str | None = None
) -> SparseReLUNetwork:
    """Return any supported network as one of (csr weight, bias) layers.

    A network of affine maps and continuous piecewise linear functions is read exactly. A chain of layers, or a graph
    whose skips carry nothing that can be below zero, becomes a :class:`convexnn.SparseReLUNetwork`, another graph a
    :class:`verify.ReLUGraph`, whose linear units carry what later layers need.

    Parameters
    ----------
    source : SparseReLUNetwork, Solution, NetworkFit, torch.nn.Module, scikit-learn estimator, ONNX model, str or path
        A network of convexnn, returned as it is; a torch module that torch.fx can trace, as in eval mode (its layers
        and functions: :mod:`verify.reading.torch_modules`); a fitted linear model, multi-layer perceptron or estimator
        of convexnn, alone or behind scalers in a Pipeline (:mod:`verify.reading.from_sklearn`); a file ``.npz`` written
        by ``save`` of our own networks; a file ``.onnx`` or ``.onnx.gz``, the bytes of one, or an ``onnx.ModelProto``
        (its nodes: :mod:`verify.reading.onnx_files.rules`). Modules, estimators and models are run on a few rows and
        must agree with what was read.
    input_shape : sequence of int, or of such sequences, optional
        The shape of one row of a torch module or ONNX model, without the batch, such as (3, 32, 32); needed where the
        source does not tell it. The network takes these entries in row-major order. Of several inputs one shape each,
        such as [(3,), (2,)], which a torch module needs: the network takes them one after the other.
    output : str, optional
        The name of one of several outputs of an ONNX model, or the name or place ("0", "1") of one that a torch module
        returns in a dict or tuple.

    Returns
    -------
    SparseReLUNetwork
        A softmax, log-softmax, sigmoid or tanh at the very end is left out, and named by ``final``; ``notes`` say so.

    Raises
    ------
    ValueError
        An unsupported layer (named, with its position), an entry that is not finite, sizes that do not chain, or a
        file that is not a network.
    OSError
        The file cannot be read (FileNotFoundError and so on).
    TypeError
        A source of another type.

    Notes
    -----
    Weights become float64 without loss, and stay sparse: convolutions are unrolled to csr matrices. Affine layers in
    a row, without a ReLU between them (batch norm among them), are multiplied out in float64, which rounds, and so do
    the reciprocals of divisors and of numbers of entries of a mean; a proof is about the network returned. Hidden
    neurons that cannot matter are dropped without rounding (:func:`verify.simplify`); inputs all stay, used or not.

    Examples
    --------
    >>> import torch
    >>> import verify
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> network = verify.read_network(module)
    >>> network.n_inputs, network.n_outputs, len(network.layers)
    (3, 2, 2)
    """
    network = read_whole(source, input_shape, output)
    ours = isinstance(source, SparseReLUNetwork) or (isinstance(source, str | os.PathLike) and _is_ours(Path(source)))
    return network if ours else simplify(network)


def read_whole(source: Any, input_shape: Any = None, output: str | None = None) -> SparseReLUNetwork:
    """Return the same with all of its hidden neurons, those that cannot matter among them."""
    path = as_file(source, "network") if isinstance(source, str | os.PathLike) else None
    model = is_model(source) or (path is not None and is_model_file(path))
    if output is not None and not (model or _is_torch(source)):
        raise ValueError("output is given; expected it with a torch module or an ONNX model alone")
    if input_shape is not None and not (model or _is_torch(source)):
        raise ValueError("input_shape is given; expected it with a torch module or an ONNX model alone")
    shapes = () if input_shape is None else _as_shapes(input_shape)
    if model:
        from verify.reading.from_onnx import read_onnx

        return read_onnx(source if path is None else path, shapes, output)
    if path is not None:
        if _is_ours(path):
            return load_network(path)
        way = ENDINGS.get(path.suffix.lower(), "")
        raise ValueError(f"network file {path} has the ending {path.suffix!r}; expected .npz, .onnx or .onnx.gz{way}")
    return _read_object(source, shapes, output)


def _read_object(source: Any, shapes: tuple[Shape, ...], output: str | None) -> SparseReLUNetwork:
    """Return the network of an object of another library, or our own as it is."""
    if isinstance(source, SparseReLUNetwork):
        return source
    if hasattr(source, "to_network"):
        return read_whole(source.to_network())
    if _is_torch(source):
        from verify.reading.from_torch import read_module

        return read_module(source, shapes, output)
    if hasattr(source, "coefs_") or any(base.__module__.startswith("sklearn.") for base in type(source).__mro__):
        from verify.reading.from_sklearn import read_estimator

        return read_estimator(source)
    raise TypeError(
        f"network is a {type(source).__name__}; expected a SparseReLUNetwork, a torch module, a scikit-learn "
        f"estimator, an ONNX model, or the path of an .npz or .onnx file{_way_of(source)}"
    )


def _way_of(source: Any) -> str:
    """Return what to do with what holds weights and is no network."""
    if isinstance(source, Mapping):
        return " (weights alone? make the module, module.load_state_dict(...), and give the module)"
    if isinstance(source, list | tuple):
        return " (weights and biases? convexnn.SparseReLUNetwork([(W1, b1), (W2, b2)]), each W of shape (out, in))"
    if type(source).__module__.partition(".")[0] in ("keras", "tensorflow", "jax", "flax"):
        return " (export it to ONNX: model.export(path, format='onnx') in Keras 3, or tf2onnx)"
    return " (a function? read_network knows networks alone)" if callable(source) else ""


def read_simple(source: Any) -> SparseReLUNetwork:
    """Return the network of a question: as :func:`read_network` gives it, without the neurons that cannot matter."""
    return simplify(read_network(source))


def _as_shapes(given: Any) -> tuple[Shape, ...]:
    """Return the shape of each input; sizes alone are the shape of the only one."""
    several = _is_sizes(given) and any(map(_is_sizes, given))
    return tuple(_as_shape(one) for one in given) if several else (_as_shape(given),)


def _is_sizes(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


def _as_shape(sizes: Any) -> Shape:
    if not _is_sizes(sizes) or not sizes:
        raise TypeError(f"input_shape is {sizes!r}; expected the sizes of one row, such as (3, 32, 32)")
    return tuple(as_count(size, "input_shape") for size in sizes)


def _is_torch(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict")


def _is_ours(path: Path) -> bool:
    """Return whether a file is one that `save` wrote."""
    return path.suffix == ".npz"

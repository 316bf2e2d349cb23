"""The sparse ReLU network: what convexnn returns, and the only thing that verify sees."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Bools, Floats, as_floats, as_known, as_matrix, as_rows, require
from convexnn.files import replacing
from convexnn.formulas import formula_lines, is_short
from convexnn.network_files import FORMAT, read_arrays, stored, stored_layers, stored_words, write_arrays
from convexnn.records import Record, html_box, html_table, html_text, plain
from convexnn.tiles import row_tiles

if TYPE_CHECKING:
    import torch

Layer = tuple[sp.csr_matrix, Floats]

# What may follow the outputs: functions that keep their order.
FINALS = ("softmax", "log_softmax", "sigmoid", "tanh")


class SparseReLUNetwork(Record):
    """A feed-forward ReLU network with sparse weights: h_0 = x, h_l = relu(W_l h_{l-1} + b_l), no ReLU at the end.

    Parameters
    ----------
    layers : iterable of (weight, bias)
        Weight (out, in), scipy.sparse or dense; bias (out,) or None for zeros. At least one layer; the input size
        of each is the output size of the one before. Exact zeros are not stored.
    final : {"softmax", "log_softmax", "sigmoid", "tanh"}, optional
        A function of the outputs that the network was read with, and that :meth:`predict` leaves out.
    notes : sequence of str, optional
        How the network was read.

    Raises
    ------
    TypeError, ValueError
        Sizes do not chain, or an entry is not finite; the message names the layer.

    Examples
    --------
    >>> network = SparseReLUNetwork([([[1.0, 0.0], [0.0, -2.0]], None), ([[1.0, 1.0]], [0.5])])
    >>> network.predict([[1.0, -1.0]])
    array([3.5])
    >>> print(network)
    sparse ReLU network 2-2-1: 5 nonzeros, 2 hidden neurons
      h0 = relu(x0)
      h1 = relu(-2 x1)
      y = h0 + h1 + 0.5
    """

    def __init__(
        self,
        layers: Iterable[tuple[Any, ArrayLike | None]],
        *,
        final: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers is {layers!r}; expected an iterable of (weight, bias) pairs")
        self._layers = tuple(_layer(index, pair) for index, pair in enumerate(layers))
        if not self._layers:
            raise ValueError("layers is empty; expected at least one (weight, bias) pair")
        for index, (before, after) in enumerate(zip(self._layers, self._layers[1:], strict=False), start=1):
            if after[0].shape[1] != before[0].shape[0]:
                raise ValueError(
                    f"layers[{index}] takes {after[0].shape[1]} inputs; expected {before[0].shape[0]}, "
                    f"the outputs of layers[{index - 1}]"
                )
        self._sizes = (self._layers[0][0].shape[1], *(weight.shape[0] for weight, _ in self._layers))
        self._final, self._notes = _as_final(final, self._sizes[-1]), _as_notes(notes)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers: ((csr weight (out, in), bias (out,)), ...), float64; not to be written to."""
        return self._layers

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, hidden neurons of each layer, outputs."""
        return self._sizes

    @property
    def n_inputs(self) -> int:
        """Number of inputs d."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs k."""
        return self.sizes[-1]

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons, all layers."""
        return sum(self.sizes[1:-1])

    @property
    def nnz(self) -> int:
        """Nonzeros of every layer, weights and biases."""
        return sum(int(weight.nnz) + int(np.count_nonzero(bias)) for weight, bias in self._layers)

    @property
    def final(self) -> str | None:
        """The function of the outputs that is left out: softmax, log_softmax, sigmoid or tanh; or None."""
        return self._final

    @property
    def notes(self) -> tuple[str, ...]:
        """How the network was read, a sentence each; empty where there is nothing to say."""
        return self._notes

    def linear_units(self, index: int) -> Bools | None:
        """Return which units (out,) of hidden layer `index` pass their value on as it is; None where all are ReLUs."""
        return None

    def floor(self, index: int) -> Floats | float:
        """Return what hidden layer `index` lifts values p to, max(p, floor): 0, or (out,) with -inf where linear."""
        return 0.0

    def activate(self, index: int, values: Floats) -> Floats:
        """Return what hidden layer `index` makes of its pre-activations `values` (n, out)."""
        return np.maximum(values, self.floor(index))

    def with_layers(self, layers: Iterable[Layer], kept: Sequence[NDArray[Any]] | None = None) -> SparseReLUNetwork:
        """Return a network of other layers, its hidden units of the same kinds: of each layer all, or those `kept`."""
        return SparseReLUNetwork(layers, final=self.final, notes=self.notes)

    def upto(self, index: int) -> SparseReLUNetwork:
        """Return the network whose outputs are the pre-activations of layer `index`."""
        return SparseReLUNetwork(self.layers[: index + 1])

    def without_final(self) -> SparseReLUNetwork:
        """Return the network whose outputs are those of :meth:`predict`, whatever followed them."""
        return self if self.final is None else SparseReLUNetwork(self.layers, notes=self.notes)

    def __call__(self, X: ArrayLike) -> Floats:
        """Return the outputs for rows (n, d), as :meth:`predict` does."""
        return self.predict(X)

    def predict(self, X: ArrayLike) -> Floats:
        """Return the outputs for rows `X` (n, d): shape (n,) with one output, else (n, k), float64.

        They are the values before a `final` function.
        """
        rows = as_rows(X, "X", self.n_inputs, "network has inputs")
        output = np.empty((len(rows), self.n_outputs))
        for tile in row_tiles(len(rows), max(len(bias) for _, bias in self._layers)):
            output[tile] = self.activations(rows[tile])[-1]
        return output[:, 0] if self.n_outputs == 1 else output

    def activations(self, X: Floats) -> list[Floats]:
        """Return the pre-activations W_l h_{l-1} + b_l of every layer for rows `X` (n, d), each (n, out)."""
        values: list[Floats] = []
        hidden = X
        for index, (weight, bias) in enumerate(self._layers):
            values.append(np.asarray((weight @ hidden.T).T) + bias)
            if index < len(self._layers) - 1:
                hidden = self.activate(index, values[-1])
        return values

    def slope_bounds(self) -> tuple[Floats, Floats]:
        """Return bounds (k, d) below and above each output's slope in each input, whatever all inputs are.

        A slope is a sum over paths, each the product of its weights, where a ReLU lets it through or not; the bounds
        let each unit do either, whatever others do. A lower bound of 0 proves that the output never falls.
        """
        below = above = self._layers[-1][0].toarray()
        for index in reversed(range(len(self._layers) - 1)):
            linear = self.linear_units(index)
            passing = np.zeros(below.shape[1], dtype=bool) if linear is None else linear
            below = np.where(passing, below, np.minimum(below, 0.0))
            above = np.where(passing, above, np.maximum(above, 0.0))
            weight = self._layers[index][0]
            positive, negative = weight.maximum(0.0), (-weight).maximum(0.0)
            below, above = below @ positive - above @ negative, above @ positive - below @ negative
        return below, above

    def to_torch(self, dtype: str = "float32") -> torch.nn.Sequential:
        """Return a torch Sequential of Linear and ReLU (dense weights) of the given precision, in eval mode.

        A layer with linear units has a PReLU of fixed slopes, 1 for these and 0 for ReLUs. A `final` is left out.
        """
        torch = require("torch", "torch", "to_torch")
        kind = {"float32": torch.float32, "float64": torch.float64}[as_known(dtype, "dtype", ("float32", "float64"))]
        modules: list[Any] = []
        for index, (weight, bias) in enumerate(self._layers):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=kind)
            linear.weight.data = torch.tensor(weight.toarray(), dtype=kind)
            linear.bias.data = torch.tensor(bias, dtype=kind)
            modules += [linear, _torch_units(torch, self.linear_units(index), kind)]
        return torch.nn.Sequential(*modules[:-1]).eval()

    def to_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write an ONNX file (Gemm and Relu, float32, input ``x`` (n, d), output ``y`` (n, k)); return its path.

        A layer with linear units has a PRelu with slopes 1 for these and 0 for ReLUs. A `final` is left out.

        Raises
        ------
        OSError
            The file cannot be written; an old one is still whole.
        ValueError
            A weight or bias is too large for float32.
        """
        onnx = require("onnx", "onnx", "to_onnx")
        from onnx import TensorProto, helper, numpy_helper

        nodes, constants, last = [], [], "x"
        for index, (weight, bias) in enumerate(self._layers):
            final = index == len(self._layers) - 1
            names = [f"weight{index}", f"bias{index}"]
            arrays = [_as_float32(weight.toarray(), index), _as_float32(bias, index)]
            constants += [numpy_helper.from_array(a, name) for a, name in zip(arrays, names, strict=True)]
            affine = "y" if final else f"affine{index}"
            nodes.append(helper.make_node("Gemm", [last, *names], [affine], transB=1))
            if not final:
                last, linear, slopes = f"hidden{index}", self.linear_units(index), [f"slopes{index}"]
                if linear is None:
                    nodes.append(helper.make_node("Relu", [affine], [last]))
                    continue
                constants.append(numpy_helper.from_array(linear.astype(np.float32), *slopes))
                nodes.append(helper.make_node("PRelu", [affine, *slopes], [last]))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", self.n_inputs])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", self.n_outputs])
        graph = helper.make_graph(nodes, "sparse_relu_network", [x], [y], constants)
        # Opset 17 and IR 8 are read by every onnxruntime since 1.12.
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
            producer_name="convexnn",
            producer_version=_version(),
        )
        onnx.checker.check_model(model)
        with replacing(path) as file:
            file.write(model.SerializeToString())
        return Path(path)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network to an ``.npz`` file without pickle, exact to the last bit; return its path."""
        return write_arrays(path, stored(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SparseReLUNetwork:
        """Read a network that :meth:`save` wrote; no code of the file is ever run.

        Raises
        ------
        OSError
            The file cannot be opened (FileNotFoundError, IsADirectoryError, PermissionError).
        ValueError
            The file is not a network of this format.
        """
        return read_arrays(path, FORMAT, lambda arrays: cls(stored_layers(arrays), **stored_words(arrays)))

    def formula(self, feature_names: Sequence[str] | None = None, digits: int = 3) -> str:
        """Return the network as formulas, a line a unit: ``h0 = relu(x0 - x1)``, ``y = 2 h0 + 0.5``.

        `feature_names` (d,) stand for x0, x1, ...; numbers are rounded to `digits`. See :func:`convexnn.explain` too.
        """
        if feature_names is not None and len(feature_names) != self.n_inputs:
            raise ValueError(f"feature_names has {len(feature_names)} names; expected {self.n_inputs}, one an input")
        linear = [self.linear_units(index) for index in range(len(self._layers) - 1)]
        return "\n".join(formula_lines(self._layers, linear, feature_names, digits))

    @property
    def _kind(self) -> str:
        return "sparse ReLU network " + "-".join(map(str, self.sizes))

    @property
    def _units(self) -> str:
        return f"{self.n_neurons} hidden neuron{'s' if self.n_neurons != 1 else ''}"

    def __format__(self, spec: str) -> str:
        words = f"{self._kind}: {self.nnz} nonzeros, {self._units}"
        return format(words if self.final is None else f"{words}, before a {self.final}", spec)

    def __str__(self) -> str:
        """Return the sizes, and below them the formulas of a network that is small enough for them."""
        if not is_short(self._layers):
            return f"{self}"
        return "\n".join([f"{self}", *(f"  {line}" for line in self.formula().split("\n"))])

    def __repr__(self) -> str:
        return f"<{self}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the network in the words of JSON: sizes, and of each layer nonzero weights, bias and linear units."""
        layers = [{"weight": weight, "bias": bias, "linear": mask} for weight, bias, mask in self._all_parts()]
        counts = {"nonzeros": self.nnz, "neurons": self.n_neurons}
        return {"sizes": list(self.sizes), **counts, "final": self.final, "layers": plain(layers)}

    def _repr_html_(self) -> str:
        if is_short(self._layers):
            return html_box(f"{self}", html_text(self.formula()))
        rows = [(f"{index}", *_layer_words(*layer)) for index, layer in enumerate(self._layers, start=1)]
        return html_box(f"{self}", html_table(("layer", "units", "inputs", "weights", "biases"), rows, [False] * 5))

    def __eq__(self, other: object) -> bool:
        """Whether another network has the same layers and units to the last bit; how they were read does not matter."""
        if not isinstance(other, SparseReLUNetwork):
            return NotImplemented
        if (self.sizes, self.final) != (other.sizes, other.final):
            return False
        return all(_same_layer(*pair) for pair in zip(self._all_parts(), other._all_parts(), strict=True))

    def _all_parts(self) -> list[tuple[sp.csr_matrix, Floats, Bools | None]]:
        return [(*layer, self.linear_units(index)) for index, layer in enumerate(self._layers)]

    def __hash__(self) -> int:
        return hash((self.sizes, self.nnz))


def _layer(index: int, pair: Any) -> Layer:
    name = f"layers[{index}]"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} is a {type(pair).__name__}; expected a pair (weight, bias), bias None for zeros")
    weight, bias = pair
    if sp.issparse(weight):
        if weight.dtype.kind not in "biuf":
            raise TypeError(f"{name} weight has dtype {weight.dtype}; expected real numbers")
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(f"{name} weight has shape {weight.shape}; expected (out, in), at least 1 by 1")
        matrix = sp.csr_matrix(weight, dtype=np.float64, copy=True)
        as_floats(matrix.data, f"{name} weight", 1, "stored entries")
    else:
        matrix = sp.csr_matrix(as_matrix(weight, f"{name} weight"))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    values = np.zeros(matrix.shape[0]) if bias is None else as_floats(bias, f"{name} bias", 1, "a vector (out,)").copy()
    if values.shape != (matrix.shape[0],):
        raise ValueError(f"{name} bias has shape {values.shape}; expected ({matrix.shape[0]},), one per output")
    return matrix, values


def _layer_words(weight: sp.csr_matrix, bias: Floats) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (*weight.shape, weight.nnz, np.count_nonzero(bias)))


def _same_layer(one: tuple[sp.csr_matrix, Floats, Bools | None], other: Any) -> bool:
    """Whether two layers of one shape are equal, in weights, biases and which units are linear."""
    mine, theirs = (np.zeros(len(one[1]), dtype=bool) if part[2] is None else part[2] for part in (one, other))
    return (one[0] != other[0]).nnz == 0 and np.array_equal(one[1], other[1]) and np.array_equal(mine, theirs)


def _as_final(final: Any, n_outputs: int) -> str | None:
    if final is None:
        return None
    name = as_known(final, "final", FINALS)
    if name not in ("sigmoid", "tanh") and n_outputs == 1:
        raise ValueError(
            f"final is {name!r} for one output, which is constant; expected 'sigmoid' or 'tanh', or more outputs"
        )
    return name


def _as_notes(notes: Any) -> tuple[str, ...]:
    if isinstance(notes, str) or not isinstance(notes, Sequence) or not all(isinstance(note, str) for note in notes):
        raise TypeError(f"notes is {notes!r}; expected a sequence of str")
    return tuple(notes)


def _torch_units(torch: Any, linear: Bools | None, kind: Any) -> Any:
    """Return the torch module of a hidden layer's units."""
    if linear is None:
        return torch.nn.ReLU()
    units = torch.nn.PReLU(len(linear), dtype=kind)
    units.weight.data = torch.tensor(linear, dtype=kind)
    return units.requires_grad_(False)


def _as_float32(values: Floats, index: int) -> NDArray[np.float32]:
    """Return a weight or bias as float32; what would become infinite is refused."""
    most = float(np.finfo(np.float32).max)
    if (peak := float(np.abs(values).max(initial=0.0))) > most:
        raise ValueError(
            f"layers[{index}] has an entry of size {peak:.3g}; expected at most {most:.3g}, as float32 has it"
        )
    return values.astype(np.float32)


def _version() -> str:
    """Return the version of the package; nothing where it is not installed."""
    try:
        return version("convexnn")
    except PackageNotFoundError:
        return ""

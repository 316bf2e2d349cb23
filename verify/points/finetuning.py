"""Finetuning: the weights of a pruned network trained on rows of data, those that are zero kept zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Bools, Floats, as_count, as_nonnegative, as_rows
from convexnn.network import SparseReLUNetwork
from verify.relu_graph import carried_units

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Finetune:
    """How a pruned network is trained, to compare with one that is not.

    Attributes
    ----------
    X : array_like (n, d)
        Rows.
    y : array_like (n,) or (n, k)
        Whole numbers: classes 0 to k - 1, or -1 and 1 with one output, and cross-entropy. Floats: the outputs, and half
        the squared error.
    epochs : int, default 5
        Passes over the rows, at least 1.
    rate : float, default 1e-3
        Step of Adam, 0 to 1.
    batch : int, default 128
        Rows a step, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> import verify
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((64, 3))
    >>> layers = [(rng.standard_normal((6, 3)), np.zeros(6)), (rng.standard_normal((1, 6)), np.zeros(1))]
    >>> network = cx.SparseReLUNetwork(layers)
    >>> y = network.predict(X)
    >>> pruned = verify.prune(network, 0.5)
    >>> trained = verify.prune(network, 0.5, finetune=verify.Finetune(X, y, epochs=20, rate=0.01))
    >>> bool(np.abs(trained.predict(X) - y).mean() < np.abs(pruned.predict(X) - y).mean())
    True
    """

    X: ArrayLike
    y: ArrayLike
    epochs: int = 5
    rate: float = 1e-3
    batch: int = 128


@dataclass(frozen=True, eq=False)
class Training:
    """A :class:`Finetune` that was checked: rows (n, d), targets (n,) of classes or (n, k) of values, and how."""

    rows: Floats
    targets: Floats | NDArray[np.int64]
    epochs: int
    rate: float
    batch: int

    @property
    def classes(self) -> bool:
        """Whether the targets are classes."""
        return self.targets.dtype.kind == "i"


def as_finetune(given: Any, network: SparseReLUNetwork) -> Training:
    """Return what was `given` as `finetune` for a network, checked."""
    if isinstance(given, tuple) and len(given) == 2:
        given = Finetune(*given)
    if not isinstance(given, Finetune):
        raise TypeError(f"finetune is a {type(given).__name__}; expected a Finetune or a pair (X, y)")
    rows = as_rows(given.X, "X", network.n_inputs, "network has inputs")
    targets = _as_targets(given.y, len(rows), network.n_outputs)
    rate = as_nonnegative(given.rate, "rate")
    if rate > 1.0:
        raise ValueError(f"rate is {rate:g}; expected a step of at most 1")
    return Training(rows, targets, as_count(given.epochs, "epochs"), rate, as_count(given.batch, "batch"))


def _as_targets(y: ArrayLike, count: int, outputs: int) -> Floats | NDArray[np.int64]:
    values = np.asarray(y)
    if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise TypeError(f"y has entries of dtype {values.dtype}; expected whole numbers (classes) or finite floats")
    if values.dtype.kind == "f":
        if values.shape not in ((count, outputs), *([(count,)] if outputs == 1 else [])):
            raise ValueError(f"y has shape {values.shape}; expected ({count}, {outputs}), a value per output")
        return values.astype(np.float64).reshape(count, outputs)
    if values.shape != (count,):
        raise ValueError(f"y has shape {values.shape}; expected ({count},), a class per row of X")
    known = (-1, 1) if outputs == 1 else range(outputs)
    if not np.isin(values, list(known)).all():
        words = "-1 or 1" if outputs == 1 else f"0 to {outputs - 1}"
        raise ValueError(f"y has classes {values.min()} to {values.max()}; expected {words}, as the network's outputs")
    return values.astype(np.int64)


def finetuned(network: SparseReLUNetwork, training: Training, rng: np.random.Generator) -> SparseReLUNetwork:
    """Return the network after training: biases and nonzero weights move, the other weights stay zero.

    Rows of linear units that carry a value on stay as they are.

    Notes
    -----
    Adam (Kingma and Ba 2015) in float32 on the CPU, on batches in an order drawn from `rng`.

    Raises
    ------
    ValueError
        The loss is not finite at some step.
    """
    import torch

    from verify.branching.torch_modes import TorchModes

    with TorchModes().applied():
        weights = [torch.tensor(weight.toarray(), dtype=torch.float32) for weight, _ in network.layers]
        biases = [torch.tensor(bias, dtype=torch.float32) for _, bias in network.layers]
        masks = [weight != 0.0 for weight in weights]
        linear = [_flags(network.linear_units(index)) for index in range(len(weights))]
        _hold(weights, biases, [_flags(carried_units(network, index)) for index in range(len(weights))])
        adam = torch.optim.Adam([field.requires_grad_() for field in (*weights, *biases)], lr=training.rate)
        X = torch.tensor(training.rows, dtype=torch.float32)
        y = torch.tensor(training.targets, dtype=torch.int64 if training.classes else torch.float32)
        for _ in range(training.epochs):
            for batch in torch.from_numpy(rng.permutation(len(X))).split(training.batch):
                adam.zero_grad()
                loss = _loss(_outputs(X[batch], weights, biases, masks, linear), y[batch], training.classes)
                if not loss.isfinite():
                    raise ValueError(
                        f"finetune diverged at rate {training.rate:g}; expected a smaller one, or scaled rows"
                    )
                loss.backward()
                adam.step()
        fields = zip(weights, biases, masks, strict=True)
        layers = [((w * mask).detach().double().numpy(), b.detach().double().numpy()) for w, b, mask in fields]
    return network.with_layers(layers)


def _flags(units: Bools | None) -> Tensor | None:
    import torch

    return None if units is None else torch.tensor(units)


def _hold(weights: list[Tensor], biases: list[Tensor], carried: list[Tensor | None]) -> None:
    """Let no slope reach the rows of units that carry a value on: Adam then leaves them as they are."""
    for weight, bias, held in zip(weights, biases, carried, strict=True):
        if held is not None:
            weight.requires_grad_().register_hook(lambda slope, held=held: slope * ~held[:, None])
            bias.requires_grad_().register_hook(lambda slope, held=held: slope * ~held)


def _outputs(
    X: Tensor, weights: list[Tensor], biases: list[Tensor], masks: list[Tensor], linear: list[Tensor | None]
) -> Tensor:
    """Return the outputs (n, k); a weight outside its mask has no part in them, so it has no slope either."""
    for index, (weight, bias, mask) in enumerate(zip(weights, biases, masks, strict=True)):
        X = (_activated(X, linear[index - 1]) if index else X) @ (weight * mask).T + bias
    return X


def _activated(values: Tensor, linear: Tensor | None) -> Tensor:
    return values.relu() if linear is None else values.where(linear, values.relu())


def _loss(outputs: Tensor, targets: Tensor, classes: bool) -> Tensor:
    import torch

    if not classes:
        return 0.5 * (outputs - targets).square().sum(dim=1).mean()
    if outputs.shape[1] == 1:
        return torch.nn.functional.softplus(-targets * outputs[:, 0]).mean()
    return torch.nn.functional.cross_entropy(outputs, targets)

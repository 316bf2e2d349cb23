"""Networks from torch modules, held against the module itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.steps import Affine, Relu, Step, assemble

# Layers that leave the values as they are, once the rows are flat and the module is in eval mode.
NEUTRAL = (nn.Flatten, nn.Dropout, nn.Identity)

# Rows on which the network read is compared with the module, and the largest difference relative to its activations.
N_ROWS = 16
TOLERANCE = 1e-4


def read_module(module: nn.Module) -> SparseReLUNetwork:
    """Return the network of a Linear, ReLU, Flatten, Dropout, Identity, or a Sequential of these.

    Layers that run code of their own (hooks, an overridden ``forward``) are refused. The module is run once, in eval
    mode, which brings weights up to date that are computed in the forward pass (pruning), and must agree.

    Raises
    ------
    ValueError
        A layer of another kind (named, with its position), an entry that is not finite, or a module that computes
        another function than its layers.
    """
    n_inputs = assemble(steps_of(module), "the torch module").n_inputs
    rows = np.random.default_rng(0).standard_normal((N_ROWS, n_inputs)) * np.geomspace(0.1, 10.0, N_ROWS)[:, None]
    expected = _run(module, rows)
    network = assemble(steps_of(module), "the torch module")
    layers = network.activations(rows)
    if expected.shape != layers[-1].shape:
        raise ValueError(f"the torch module returns shape {expected.shape} where its layers give {layers[-1].shape}")
    gap = float(np.abs(expected - layers[-1]).max())
    if not gap <= TOLERANCE * max(float(np.abs(layer).max()) for layer in [rows, *layers]):
        raise ValueError(f"the torch module differs from its layers by {gap:.3g} on random rows")
    return network


def steps_of(module: nn.Module, position: str = "") -> Iterator[Step]:
    """Yield the steps of a module, its layers in order."""
    where = f"layer {position}" if position else "the module"
    _check_stock(module, where)
    if isinstance(module, nn.Sequential):
        for index, child in enumerate(module):
            yield from steps_of(child, f"{position}.{index}" if position else str(index))
    elif isinstance(module, nn.Linear):
        try:
            weight = _array(module.weight)
            yield Affine(sp.csr_matrix(weight), np.zeros(len(weight)) if module.bias is None else _array(module.bias))
        except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
            raise ValueError(f"{where} (Linear) cannot be read: {str(error).splitlines()[0]}") from None
    elif isinstance(module, nn.ReLU):
        yield Relu()
    elif not isinstance(module, NEUTRAL):
        raise ValueError(
            f"{where} is a {type(module).__name__}; expected Linear, ReLU, Flatten, Dropout, Identity or Sequential"
        )


def _check_stock(module: nn.Module, where: str) -> None:
    """Raise ValueError where a supported layer runs code of its own; pruning and weight norms only set weights."""
    kind = next((kind for kind in (nn.Sequential, nn.Linear, nn.ReLU, *NEUTRAL) if isinstance(module, kind)), None)
    if kind is None:
        return
    stock = type(module).forward is kind.forward and type(module).__call__ is nn.Module.__call__
    if not stock or "forward" in vars(module):
        raise ValueError(
            f"{where} ({type(module).__name__}) has a forward of its own; expected that of {kind.__name__}"
        )
    setters = [type(hook).__module__.startswith("torch.nn.utils.") for hook in module._forward_pre_hooks.values()]
    if module._forward_hooks or not all(setters):
        raise ValueError(f"{where} ({type(module).__name__}) has a forward hook; expected none")


def _array(parameter: Tensor) -> Floats:
    values = parameter.detach()
    dense = values if values.layout == torch.strided else values.to_dense()
    return dense.double().cpu().numpy()


def _run(module: nn.Module, rows: Floats) -> Floats:
    """Return the outputs of the module in eval mode; its modes come back as they were."""
    modes = {part: part.training for part in module.modules()}
    first = next(module.parameters())
    try:
        module.eval()
        with torch.no_grad():
            return module(torch.tensor(rows, dtype=first.dtype, device=first.device)).double().cpu().numpy()
    except Exception as error:
        raise ValueError(f"the torch module cannot be run on rows of numbers: {str(error).splitlines()[0]}") from None
    finally:
        for part, training in modes.items():
            part.training = training

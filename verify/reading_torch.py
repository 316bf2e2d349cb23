"""The steps of a torch module."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from torch import nn

from verify.steps import Affine, Relu, Step

# Layers that leave the values as they are, once the rows are flat and the module is in eval mode.
NEUTRAL = (nn.Flatten, nn.Dropout, nn.Identity)


def steps_of(module: nn.Module, position: str = "") -> Iterator[Step]:
    """Yield the steps of a Linear, ReLU, Flatten, Dropout, Identity, or a Sequential of these.

    Raises ValueError that names the layer and its position where it is of another kind.
    """
    if isinstance(module, nn.Sequential):
        for index, child in enumerate(module):
            yield from steps_of(child, f"{position}.{index}" if position else str(index))
    elif isinstance(module, nn.Linear):
        weight = module.weight.detach().double().cpu().numpy()
        bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().double().cpu().numpy()
        yield Affine(sp.csr_matrix(weight), bias)
    elif isinstance(module, nn.ReLU):
        yield Relu()
    elif not isinstance(module, NEUTRAL):
        where = f"layer {position}" if position else "the module"
        raise ValueError(
            f"{where} is a {type(module).__name__}; expected Linear, ReLU, Flatten, Dropout, Identity or Sequential"
        )

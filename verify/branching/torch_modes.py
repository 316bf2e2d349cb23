"""The modes of torch that are global: ours while we work, the caller's while the caller's code runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, eq=False)
class TorchModes:
    """Modes of torch: inference mode, derivatives, automatic casts on the CPU, and the device of new tensors.

    The defaults are those that branching works in, whatever the caller has set.
    """

    inference: bool = False
    grad: bool = True
    autocast: bool = False
    autocast_dtype: torch.dtype = torch.bfloat16
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def now(cls) -> TorchModes:
        """Return the modes that are set."""
        casts = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return cls(torch.is_inference_mode_enabled(), torch.is_grad_enabled(), *casts, torch.get_default_device())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set these modes, and restore those before."""
        cast = torch.autocast("cpu", dtype=self.autocast_dtype, enabled=self.autocast)
        # A device that is set calls Python for every operation: an eighth of the time of branch and bound.
        device = nullcontext() if torch.get_default_device() == self.device else self.device
        with torch.inference_mode(self.inference), torch.set_grad_enabled(self.grad), cast, device:
            yield

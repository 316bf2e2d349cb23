"""Ranks: processes of torch.distributed that hold rows of their own, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.rank_workers import gone_in_a_line, on_first_rank, portable

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The ranks of a group, or this process alone where `group` is None.

    Every method is a collective one: all ranks call it, in the same order, and all get the same answer.

    Raises
    ------
    OSError
        A rank has gone, or did not answer within the time limit of the group.
    """

    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that searches; the others work for it, or wait."""
        if self.group is None:
            return True
        import torch.distributed as dist

        return bool(dist.get_rank(self.group) == 0)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        return self._reduced(values, "SUM")

    def largest(self, values: Floats) -> Floats:
        """Return the largest over the ranks, entry by entry."""
        if self.group is None:
            return values
        return np.asarray(self._reduced(torch.as_tensor(values, device=self._device), "MAX").cpu().numpy())

    def summed(self, values: Floats) -> Floats:
        """Return the sum over the ranks."""
        if self.group is None:
            return values
        return np.asarray(self.total(torch.as_tensor(values, device=self._device)).cpu().numpy())

    def agreed(self, question: Callable[[], bool]) -> bool:
        """Return what the first rank says, which is the only one that is asked."""
        return bool(self.shared(question))

    def shared(self, make: Callable[[], Any]) -> Any:
        """Return what the first rank makes."""
        if self.group is None:
            return make()
        import torch.distributed as dist

        holder = [make() if self.is_first else None]
        with gone_in_a_line():
            dist.broadcast_object_list(holder, group=self.group, group_src=0)
        return holder[0]

    def searched(self, search: Callable[[], Any]) -> Any:
        """Return what the first rank finds, and do meanwhile what it spreads over the ranks."""
        return search() if self.group is None else on_first_rank(self.group, search)

    def together(self, make: Callable[[], T]) -> T:
        """Return what this rank makes; where it cannot be made on some, all raise the error of the first of these."""
        if self.group is None:
            return make()
        import torch.distributed as dist

        made, error = list[T](), None
        try:
            made.append(make())
        except Exception as failure:
            error = portable(failure)
        errors = list[Any]([None]) * dist.get_world_size(self.group)
        with gone_in_a_line():
            dist.all_gather_object(errors, error, group=self.group)
        if failed := [each for each in errors if each is not None]:
            raise failed[0]
        return made[0]

    def counts(self, count: int) -> list[int]:
        """Return the count of each rank."""
        if self.group is None:
            return [count]
        import torch.distributed as dist

        ranks = dist.get_world_size(self.group)
        own = torch.zeros(ranks, dtype=torch.int64, device=self._device)
        own[dist.get_rank(self.group)] = count
        return [int(each) for each in self._reduced(own, "SUM")]

    @property
    def place(self) -> int:
        """The number of this rank, from 0."""
        if self.group is None:
            return 0
        import torch.distributed as dist

        return int(dist.get_rank(self.group))

    @property
    def _device(self) -> torch.device:
        """Where collective operations want their numbers: on a card for nccl."""
        import torch.distributed as dist

        return torch.device("cuda" if dist.get_backend(self.group) == "nccl" else "cpu")

    def _reduced(self, values: Tensor, operation: str) -> Tensor:
        if self.group is None:
            return values
        import torch.distributed as dist

        moved = values.to(self._device, copy=True)
        with gone_in_a_line():
            dist.all_reduce(moved, getattr(dist.ReduceOp, operation), group=self.group)
        return moved.to(values.device)


def ranks_of(group: Any) -> Ranks:
    """Return the ranks of what a user gives as a group, which must be one (ValueError)."""
    import torch.distributed as dist

    # Without this the error is one of torch, about things that the user did not name.
    if not (dist.is_available() and dist.is_initialized() and isinstance(group, dist.ProcessGroup)):
        raise ValueError(
            f"group is {group!r}; expected a group of torch.distributed that this process belongs to, such as "
            "torch.distributed.group.WORLD after init_process_group"
        )
    return Ranks(group)


# This process by itself.
ALONE = Ranks()

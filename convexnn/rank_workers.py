"""Ranks of torch.distributed as workers: the first one asks, and the others do what it gives them.

Messages go from the first rank to another one and back, never between others: ``("work", function, arguments)``,
``("cancel",)`` for what is under way, and ``("end", answer)`` or ``("failed", error)`` as the last; back come
``("done", result)``, ``("failed", error)`` and ``("interrupted",)``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

Message = tuple[Any, ...]
Work = Callable[..., Any]

# Set in whatever does a piece of work: whether it is still wanted.
_CANCELLED: ContextVar[Event | None] = ContextVar("_CANCELLED", default=None)


class RankGoneError(OSError):
    """A rank has gone, or did not answer within the time limit of the group."""


@contextmanager
def gone_in_a_line() -> Iterator[None]:
    """Tell an error of the group in one line, as a :class:`RankGoneError`."""
    try:
        yield
    except RuntimeError as error:
        # gloo begins with a place in its source, and goes on with advice.
        words = re.sub(r"^\[[^\]]*\] *", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
        raise RankGoneError(f"a rank of the group has gone, or does not answer ({words})") from error


def is_cancelled() -> bool:
    """Whether the work that this is a part of is no longer wanted: it should end soon, its result is not read."""
    event = _CANCELLED.get()
    return event is not None and event.is_set()


def on_first_rank(group: Any, make: Callable[[], Any]) -> Any:
    """Return, on every rank, what the first one makes; meanwhile the others do what it gives them.

    All ranks of the group call this. Inside of `make` :func:`convexnn.workers.spread` spreads its work over the ranks,
    the first one included. Of a group that cannot hand objects from one rank to another at any time, as those of nccl,
    the others only wait.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup
        The ranks.
    make : callable
        Called on the first rank, without arguments; what it returns is known to pickle.

    Raises
    ------
    RankGoneError
        A rank has gone.
    Exception
        Whatever `make` raises, on every rank.
    """
    import torch.distributed as dist

    if dist.get_world_size(group) == 1:
        return make()
    return _Pool(group).run(make) if dist.get_rank(group) == 0 else _serve(group)


def active_pool() -> _Pool | None:
    """Return the ranks that wait for work from here, if there are any."""
    return _ACTIVE.get()


@dataclass(eq=False)
class _Pool:
    """The ranks beside the first one, as seen from there."""

    group: Any
    busy: set[int] = field(default_factory=set)
    sending: Lock = field(default_factory=Lock)

    @property
    def others(self) -> range:
        """Their numbers."""
        import torch.distributed as dist

        return range(1, dist.get_world_size(self.group))

    def run(self, make: Callable[[], Any]) -> Any:
        """Return what is made while the others serve, and tell it to them; an error too."""
        token = _ACTIVE.set(self if _hands_on(self.group) else None)
        try:
            answer = make()
        except BaseException as error:
            for other in self.others:
                # One of them may be what has gone.
                with suppress(RankGoneError):
                    _send(self.group, ("failed", portable(error)), other)
            raise
        finally:
            _ACTIVE.reset(token)
        for other in self.others:
            _send(self.group, ("end", answer), other)
        return answer

    def spread(self, work: Work, arguments: Sequence[Message], ordered: bool) -> Generator[tuple[int, Any]]:
        """Yield the index and the result of each piece of work, done by this rank and the others.

        Whoever stops listening cancels what has not begun, and what is under way as soon as it asks.
        """
        waiting, told, cancelled = SimpleQueue[int](), SimpleQueue[Message](), Event()
        for index in range(len(arguments)):
            waiting.put(index)

        def asked() -> Iterator[int]:
            return (index for index in _emptied(waiting) if not cancelled.is_set())

        threads = [Thread(target=self._feed, args=(one, work, arguments, asked(), told)) for one in self.others]
        here = Thread(target=copy_context().run, args=(_work_here, work, arguments, asked(), told, cancelled))
        threads.append(here)
        for thread in threads:
            thread.start()
        try:
            yield from _in_order(told, len(arguments)) if ordered else _as_they_come(told, len(arguments))
        finally:
            with self.sending:
                cancelled.set()
                for other in self.busy:
                    with suppress(RankGoneError):
                        _send(self.group, ("cancel",), other)
            for thread in threads:
                thread.join()

    def _feed(
        self,
        other: int,
        work: Work,
        arguments: Sequence[Message],
        asked: Iterator[int],
        told: SimpleQueue[Message],
    ) -> None:
        """Give another rank one piece of work after the other, and tell what came of each."""
        for index in asked:
            try:
                # What says that work is cancelled never comes before the work, or in the middle of it.
                with self.sending:
                    _send(self.group, ("work", work, arguments[index]), other)
                    self.busy.add(other)
                told.put((index, *_receive(self.group, other)))
            except Exception as error:
                told.put((index, "failed", error))
                return
            finally:
                with self.sending:
                    self.busy.discard(other)


# The ranks that wait for work of the code that runs.
_ACTIVE: ContextVar[_Pool | None] = ContextVar("_ACTIVE", default=None)


def _emptied(waiting: SimpleQueue[int]) -> Iterator[int]:
    """Yield what waits, until nothing does."""
    while True:
        try:
            index = waiting.get_nowait()
        except Empty:
            return
        yield index


def _work_here(
    work: Work, arguments: Sequence[Message], asked: Iterator[int], told: SimpleQueue[Message], cancelled: Event
) -> None:
    """Do one piece of work after the other, and tell what came of each; the context is that of this thread alone."""
    _ACTIVE.set(None)
    for index in asked:
        told.put((index, *_outcome(work, arguments[index], cancelled)))


def _outcome(work: Work, arguments: Message, cancelled: Event) -> Message:
    """Return the message about a piece of work."""
    token = _CANCELLED.set(cancelled)
    try:
        return "done", work(*arguments)
    except KeyboardInterrupt:
        return ("interrupted",)
    except Exception as error:
        return "failed", portable(error)
    finally:
        _CANCELLED.reset(token)


def _as_they_come(told: SimpleQueue[Message], count: int) -> Iterator[tuple[int, Any]]:
    """Yield so many results; raise what a piece of work has raised."""
    for _ in range(count):
        index, kind, *rest = told.get()
        if kind == "interrupted":
            raise KeyboardInterrupt
        if kind == "failed":
            raise rest[0]
        yield index, rest[0]


def _in_order(told: SimpleQueue[Message], count: int) -> Iterator[tuple[int, Any]]:
    """Yield the same in the order of the indices."""
    ready, expected = dict[int, Any](), 0
    for index, result in _as_they_come(told, count):
        ready[index] = result
        while expected in ready:
            yield expected, ready.pop(expected)
            expected += 1


def _serve(group: Any) -> Any:
    """Work for the first rank until it is done, and return its answer."""
    inbox = SimpleQueue[Message]()
    Thread(target=_listen, args=(group, inbox), daemon=True).start()
    while True:
        try:
            kind, *rest = inbox.get()
        except KeyboardInterrupt:
            continue  # the first rank decides; should it be gone, that comes in too
        if kind == "end":
            return rest[0]
        if kind == "failed":
            raise rest[0]
        _send(group, _outcome(*rest), 0)


def _listen(group: Any, inbox: SimpleQueue[Message]) -> None:
    """Put what the first rank says into the inbox, each piece of work with what would cancel it."""
    cancelled = Event()
    while True:
        try:
            kind, *rest = _receive(group, 0)
        except Exception as error:
            cancelled.set()
            inbox.put(("failed", error))
            return
        if kind == "cancel":
            cancelled.set()
        elif kind == "work":
            cancelled = Event()
            inbox.put((kind, *rest, cancelled))
        else:
            inbox.put((kind, *rest))
            return


def _send(group: Any, message: Message, rank: int) -> None:
    import torch.distributed as dist

    with gone_in_a_line():
        dist.send_object_list([message], group=group, group_dst=rank, device=_device(group))


def _receive(group: Any, rank: int) -> Message:
    import torch.distributed as dist

    holder = list[Any]([None])
    with gone_in_a_line():
        dist.recv_object_list(holder, group=group, group_src=rank, device=_device(group))
    return tuple(holder[0])


def _hands_on(group: Any) -> bool:
    """Whether objects may go from rank to rank while other messages are under way: so with gloo."""
    return _device(group).type == "cpu"


def _device(group: Any) -> Any:
    import torch
    import torch.distributed as dist

    return torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")


def portable(error: BaseException) -> BaseException:
    """Return an error as another process can have it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return OSError(str(error))
    return error

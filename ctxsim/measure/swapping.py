"""Copies of KV between the device and host memory while the engine computes: one after the other each way.

On CUDA a stream for each direction copies from and to page-locked memory; on a CPU both sides are its own memory, and a
thread for each direction copies, before those that compute.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ctxsim.engine import HBM, Move
from ctxsim.measure.copy_threads import Threads, copy_threads
from ctxsim.measure.plain_copy import copy_plain
from ctxsim.units import parse

POLL_S = parse("100 us", "seconds")
"""How long to sleep between two looks at what is under way when nothing can be computed."""

MILLI_S = parse("1 ms", "seconds")

_CUDA: Any = torch.cuda
"""Parts of it have no types in some versions."""

Now = Callable[[], float]
Pieces = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Targets and sources."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that has ended, with its times on the engine's clock."""

    move: Move
    descriptors: int
    ordered_s: float
    start_s: float
    end_s: float


class Copier(Protocol):
    """Carries out copies beside what is computed."""

    def order(self, move: Move, pieces: Pieces) -> None:
        """The copy queues up behind those of its direction."""
        ...

    def ended(self) -> list[Copied]:
        """The copies that have ended since the last call, in order of their ends."""
        ...

    def wait(self) -> None:
        """Returns when one of those under way has ended, or sooner."""
        ...

    def __len__(self) -> int:
        """Copies that have been ordered, and not told of by ``ended``."""
        ...


class ThreadCopier:
    """Copies by two threads: in, out."""

    def __init__(self, now: Now, threads: Threads) -> None:
        self._now = now
        self._threads = threads
        self._under_way: list[Future[Copied]] = []

    def __len__(self) -> int:
        """See Copier."""
        return len(self._under_way)

    def order(self, move: Move, pieces: Pieces) -> None:
        """See Copier."""
        ordered_s = self._now()
        thread = self._threads[move.source == HBM]
        self._under_way.append(thread.submit(self._copy, move, pieces, ordered_s))

    def ended(self) -> list[Copied]:
        """See Copier."""
        done = [future for future in self._under_way if future.done()]
        self._under_way = [future for future in self._under_way if future not in done]
        return sorted((future.result() for future in done), key=lambda copied: copied.end_s)

    def wait(self) -> None:
        """See Copier."""
        wait(self._under_way, timeout=POLL_S, return_when=FIRST_COMPLETED)

    def _copy(self, move: Move, pieces: Pieces, ordered_s: float) -> Copied:
        start_s = self._now()
        for target, source in pieces:
            copy_plain(target, source)
        return Copied(move, len(pieces), ordered_s, start_s, self._now())


class StreamCopier:
    """Copies on two CUDA streams, timed by the device."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._streams = (_CUDA.Stream(), _CUDA.Stream())
        self._under_way: tuple[deque[Any], deque[Any]] = (deque(), deque())

    def __len__(self) -> int:
        """See Copier."""
        return sum(len(queue) for queue in self._under_way)

    def order(self, move: Move, pieces: Pieces) -> None:
        """See Copier. What was computed up to now is waited for."""
        direction = int(move.source == HBM)
        stream, events = self._streams[direction], [_CUDA.Event(enable_timing=True) for _ in range(3)]
        events[0].record()
        ordered_s = self._now()
        stream.wait_event(events[0])
        with _CUDA.stream(stream):
            events[1].record()
            for target, source in pieces:
                target.copy_(source, non_blocking=True)
            events[2].record()
        self._under_way[direction].append((move, len(pieces), ordered_s, events))

    def ended(self) -> list[Copied]:
        """See Copier."""
        done = []
        for queue in self._under_way:
            while queue and queue[0][3][2].query():
                move, descriptors, ordered_s, (ordered, start, end) = queue.popleft()
                start_s, end_s = (ordered_s + ordered.elapsed_time(event) * MILLI_S for event in (start, end))
                done.append(Copied(move, descriptors, ordered_s, start_s, end_s))
        return sorted(done, key=lambda copied: copied.end_s)

    def wait(self) -> None:
        """See Copier."""
        time.sleep(POLL_S)


def page_lock(store: torch.Tensor) -> None:
    """Locks the pages of host memory, for copies beside the host's work.

    Registered as it is: torch's own pinned memory is rounded up to a power of two.
    """
    if store.nbytes:
        _CUDA.check_error(_CUDA.cudart().cudaHostRegister(store.data_ptr(), store.nbytes, 0))


@contextmanager
def copier_of(device: torch.device, now: Now) -> Iterator[Copier]:
    """The copier of that kind of device."""
    if device.type == "cuda":
        yield StreamCopier(now)
        return
    with copy_threads(2) as threads:
        yield ThreadCopier(now, threads)

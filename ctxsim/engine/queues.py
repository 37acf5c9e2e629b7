"""Requests that wait to be served, in the order in which a scheduler takes them."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import ClassVar, Protocol

from ctxsim.engine.request import Request


class Queue(Protocol):
    """Waiting requests; ``by_work``: their order depends on how much of each is left to compute."""

    by_work: ClassVar[bool]

    def __len__(self) -> int:
        """How many wait."""
        ...

    def add(self, request: Request) -> None:
        """A request has arrived."""
        ...

    def put_back(self, request: Request) -> None:
        """A request was preempted: it waits again, before those that were never served."""
        ...

    def first(self) -> Request:
        """The next to be served; there must be one."""
        ...

    def pop(self) -> Request:
        """Takes the next out."""
        ...


class Fifo(deque[Request]):
    """In order of arrival."""

    by_work: ClassVar[bool] = False
    add = deque.append
    put_back = deque.appendleft
    pop = deque.popleft

    def first(self) -> Request:
        """See Queue."""
        return self[0]


class ShortestFirst:
    """The fewest tokens to compute first, as far as was known when it was queued, preempted or new."""

    by_work: ClassVar[bool] = True

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Request]] = []

    def __len__(self) -> int:
        """See Queue."""
        return len(self._heap)

    def add(self, request: Request) -> None:
        """See Queue."""
        heappush(self._heap, (request.queued_tokens, request.index, request))

    put_back = add

    def first(self) -> Request:
        """See Queue."""
        return self._heap[0][2]

    def pop(self) -> Request:
        """See Queue."""
        return heappop(self._heap)[2]

"""The tiers that KV can lie in, copies between them, and the order in which extents of a tier are given up."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from ctxsim.engine.extents import Extent
from ctxsim.engine.request import Request

HBM, HOST, DISK = 0, 1, 2
TIER_NAMES = ("hbm", "host", "disk")


OnHeld = Callable[[int, int, float], None]
"""Called with a request, a tier and bytes: so much more, or less, lies there that the request used last."""


def nobody(payer: int, tier: int, more_bytes: float) -> None:
    """Takes no notice of what is held."""


class Move:
    """A copy of an extent from one tier to another, as the engine orders it.

    write_through: a copy that leaves HBM as it is. request: whom it is for (None: an eviction). waiters: requests
    that cannot go on before it ends.
    """

    __slots__ = ("extent", "moved_bytes", "request", "source", "target", "tokens", "waiters", "write_through")

    def __init__(
        self, extent: Extent, source: int, target: int, request: Request | None = None, write_through: bool = False
    ) -> None:
        self.extent = extent
        self.source = source
        self.target = target
        self.moved_bytes = extent.kept_bytes
        self.tokens = extent.end - extent.start
        self.request = request
        self.write_through = write_through
        self.waiters: list[Request] = []


class LruOrder:
    """Extents of one tier that may be given up, the least recently used first, tails before what they follow.

    Each extent has one entry at most (its bit in ``queued``), cleaned lazily: ``candidate`` says whether it may be
    given up now. One that may not is forgotten, and must be pushed again when it may.
    """

    def __init__(self, tier: int, candidate: Callable[[Extent], bool]) -> None:
        self._bit = 1 << tier
        self._candidate = candidate
        self._entries: list[tuple[int, int, int, Extent]] = []
        self._pushed = 0

    def push(self, extent: Extent) -> None:
        """The extent may be given up, in the order of its last use; does nothing where it is queued already."""
        if not extent.queued & self._bit:
            extent.queued |= self._bit
            self._pushed += 1
            heappush(self._entries, (extent.used_at, -extent.start, self._pushed, extent))

    def oldest(self) -> Extent | None:
        """The first to be given up, or None; it stays queued."""
        while self._entries:
            used_at, _, _, extent = self._entries[0]
            wanted = self._candidate(extent)
            if wanted and used_at == extent.used_at:
                return extent
            heappop(self._entries)
            extent.queued &= ~self._bit
            if wanted:
                self.push(extent)
        return None

    def candidates(self) -> list[Extent]:
        """All that may be given up, in a fixed order."""
        kept = [entry for entry in self._entries if self._candidate(entry[3])]
        if len(kept) < len(self._entries):
            for entry in self._entries:
                entry[3].queued &= ~self._bit
            for entry in kept:
                entry[3].queued |= self._bit
            heapify(kept)
            self._entries = kept
        return [entry[3] for entry in kept]

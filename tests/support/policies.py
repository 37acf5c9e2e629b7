"""Residency policies and KV layouts to try a cache with."""

from __future__ import annotations

from collections.abc import Sequence

from ctxsim.engine.extents import Extent
from ctxsim.engine.residency import Keep, Recompute, Residency, Swap, Victim
from ctxsim.geometry import KvLayout, Span


class Fickle(Swap):
    """Gives up whichever extent comes first by a number that hypothesis draws, in one way or the other."""

    holds = weighs = True

    def __init__(self) -> None:
        self.whim = 0

    def choose(self, candidates: Sequence[Extent], forced: bool, can_offload: bool) -> Victim | None:
        """Any of them; none now and then, where it may refuse."""
        if not candidates or (not forced and self.whim % 5 == 0):
            return None
        return Victim(candidates[self.whim % len(candidates)], can_offload and self.whim % 2 == 0)

    def fetches(self, extent: Extent) -> bool:
        """Two of three."""
        return (self.whim + extent.start) % 3 > 0


POLICIES: dict[str, type[Residency]] = {"recompute": Recompute, "keep": Keep, "swap": Swap, "fickle": Fickle}
LAYOUTS = [
    KvLayout([(Span("full"), 1.0)], block_size=4),
    KvLayout([(Span("full"), 2.5)], block_size=1),
    KvLayout([(Span("full"), 1.0), (Span("sliding", 10), 2.0)], block_size=4),
    KvLayout([(Span("full"), 1.0)], state_bytes=3.0, block_size=4),
]

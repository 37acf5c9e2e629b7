"""What a KV cache claims to keep, read off its tree extent by extent, and whether it can be there at all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from ctxsim.engine import DISK, HBM, HOST, KvCache, Move, Request
from ctxsim.engine.extents import Extent
from ctxsim.geometry import KvLayout

Place = tuple[Hashable, ...]
"""A piece of a prefix, one quantum long: whose it is, and the pieces before it."""


def extents_of(cache: KvCache) -> Iterator[Extent]:
    """Every extent that can be reached, parents first."""
    left = list(cache.holdings.tree.root.children.values())
    while left:
        extent = left.pop()
        left += extent.children.values()
        yield extent


def kept_pieces(cache: KvCache) -> dict[Place, set[int]]:
    """The tiers in which each piece lies whole: not where a copy is still writing it."""
    pieces = {}
    for extent in extents_of(cache):
        tiers = {tier for tier in (HBM, HOST, DISK) if extent.lies_in(tier)}
        if extent.move is not None:
            tiers.discard(extent.move.target)
        for place in places_of(cache, extent):
            pieces[place] = tiers
    return pieces


def places_of(cache: KvCache, extent: Extent) -> list[Place]:
    """The pieces of an extent."""
    quantum = cache.holdings.tree.quantum
    names = _names(extent)
    per_piece = len(names) * quantum // extent.end if extent.hashes is not None else 1
    last, first = extent.end // quantum, extent.start // quantum
    if extent.hashes is None:
        return [(extent.key, i) for i in range(first, last)]
    return [tuple(names[: (i + 1) * per_piece]) for i in range(first, last)]


def _names(extent: Extent) -> list[int]:
    """The hashes of a prefix from its beginning."""
    return [int(name) for part in extent.path() for name in (part.hashes if part.hashes is not None else ())]


@dataclass
class Shadow:
    """Which content each piece has, and where it has been seen: nothing may be anywhere that was not put there.

    content: of each piece that is kept. where: the tiers in which it was last step.
    """

    content: dict[Place, Hashable] = field(default_factory=dict)
    where: dict[Place, set[int]] = field(default_factory=dict)
    ordered: dict[Move, list[Place]] = field(default_factory=dict)

    def look(self, cache: KvCache, written: dict[Place, Hashable], arrived: Move | None = None) -> None:
        """Compares what is kept with what was: new are only pieces ``written`` in HBM, and those of a copy that ended."""
        copied = set(self.ordered.pop(arrived, [])) if arrived is not None else set()
        pieces = kept_pieces(cache)
        for place, tiers in pieces.items():
            for tier in tiers - self.where.get(place, set()):
                if tier == HBM and place in written:
                    self.content[place] = written[place]
                else:
                    assert arrived is not None, f"{place} came to tier {tier} from nowhere"
                    assert (arrived.target, place in copied) == (tier, True), f"{place} came to tier {tier}"
        self.where = pieces

    def order(self, cache: KvCache, move: Move) -> None:
        """A copy is ordered: its source has what it copies."""
        places = places_of(cache, move.extent)
        for place in places:
            assert move.source in self.where.get(place, set()), f"{place} is not in tier {move.source}"
        self.ordered[move] = places

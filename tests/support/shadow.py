"""What a KV cache claims to keep, read off its tree piece by piece, and whether it can be there at all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from ctxsim.engine import DISK, HBM, HOST, KvCache, Move
from ctxsim.engine.extents import Extent

Place = tuple[Hashable, ...]
"""A piece of a prefix, one quantum long: its session and number, or the hashes of all up to it."""


def extents_of(cache: KvCache) -> list[Extent]:
    """Every extent that can be reached, parents first."""
    found: list[Extent] = []
    left = list(cache.holdings.tree.root.children.values())
    while left:
        extent = left.pop()
        found.append(extent)
        left += extent.children.values()
    return found


def places_of(cache: KvCache, extent: Extent) -> list[Place]:
    """The pieces of an extent."""
    quantum = cache.holdings.tree.quantum
    numbers = range(extent.start // quantum, extent.end // quantum)
    if extent.hashes is None:
        return [(extent.key, number) for number in numbers]
    names = [int(name) for part in extent.path() for name in part.hashes]  # type: ignore[union-attr]
    return [tuple(names[: (number + 1) * len(names) * quantum // extent.end]) for number in numbers]


def kept_pieces(cache: KvCache) -> dict[Place, set[int]]:
    """The tiers in which each piece lies whole: not where a copy is still writing it."""
    pieces = {}
    for extent in extents_of(cache):
        tiers = {tier for tier in (HBM, HOST, DISK) if extent.lies_in(tier)}
        if extent.move is not None:
            tiers.discard(extent.move.target)
        pieces |= dict.fromkeys(places_of(cache, extent), tiers)
    return pieces


class Shadow:
    """Where each piece of KV is known to be, and what it is: nothing may be anywhere that was not put there."""

    def __init__(self) -> None:
        self.content: dict[Place, Hashable] = {}
        self._where: dict[Place, set[int]] = {}
        self._copied: dict[Move, list[Place]] = {}

    def step(
        self, cache: KvCache, ordered: Sequence[Move] = (), written: Mapping[Place, Hashable] | None = None,
        arrived: Move | None = None,
    ) -> None:  # fmt: skip
        """Something was done: ``written`` pieces may be in HBM now, and those of a copy that ``arrived``; no others."""
        written = written or {}
        for move in ordered:
            self._copied[move] = places_of(cache, move.extent)
            for place in self._copied[move]:
                there = self._where.get(place, set()) | ({HBM} if place in written else set())
                assert move.source in there, f"{place} is copied from tier {move.source}, and is in {there}"
        copied = self._copied.pop(arrived, []) if arrived is not None else []
        pieces = kept_pieces(cache)
        for place, tier in self._new(pieces):
            if tier == HBM and place in written:
                self.content[place] = written[place]
            else:
                assert arrived is not None, f"{place} is in tier {tier} all at once"
                assert (tier, place in copied) == (arrived.target, True), f"{place} came to tier {tier}"
        self._where = pieces

    def _new(self, pieces: Mapping[Place, set[int]]) -> Iterator[tuple[Place, int]]:
        for place, tiers in pieces.items():
            for tier in tiers - self._where.get(place, set()):
                yield place, tier


def check_shape(cache: KvCache) -> None:
    """Extents follow one another without gaps, whole pieces each, with the bytes and hashes of their tokens."""
    tree, layout = cache.holdings.tree, cache._layout
    for extent in extents_of(cache):
        parent = extent.parent
        assert parent is not None
        assert parent.children[extent.key] is extent
        assert extent.start == parent.end < extent.end
        assert extent.start % tree.quantum == extent.end % tree.quantum == 0
        assert extent.kept_bytes == layout.extent_bytes(extent.start, extent.end)
        assert extent.tiers, "what lies nowhere is gone"
        assert parent.tiers or parent is tree.root, "a prefix without its beginning"
        assert parent.users >= extent.users or parent is tree.root, "who holds a prefix holds its beginning"
        if extent.hashes is not None:
            assert extent.key == extent.hashes[0]
            assert len(extent.hashes) * cache._hash_tokens == extent.end - extent.start


def check_accounts(cache: KvCache, moves: Sequence[Move], inclusive: bool) -> None:
    """Every sum that is kept is what a look at all extents, and all copies under way, adds up to."""
    holdings, host, disk = cache.holdings, cache.holdings.stores.host, cache.holdings.stores.disk
    # What lost its beginning while it was copied cannot be reached; it is gone when the copy ends.
    extents = {*extents_of(cache), *(move.extent for move in moves)}

    in_hbm = [e for e in extents if e.lies_in(HBM)]
    idle = [e for e in in_hbm if not e.users]
    assert holdings.hbm_bytes == sum(e.kept_bytes for e in in_hbm)
    assert holdings.idle_bytes == sum(e.kept_bytes for e in idle)
    assert holdings.moving_bytes == sum(e.kept_bytes for e in idle if e.move is not None and e.move.source == HBM)
    arriving = [e for e in in_hbm if e.move is not None and e.move.target == HBM]
    assert holdings.arriving_bytes == sum(e.kept_bytes for e in arriving)
    assert all(e.users for e in arriving), "fetched for nobody"
    coming = sum(move.extent.kept_bytes for move in moves if move.target == HOST)
    handed_on = [e for e in extents if not inclusive and e.users and not e.lies_in(HBM)]
    assert host.used_bytes == coming + _sum_in(HOST, extents) - _sum_in(HOST, handed_on)
    assert disk.used_bytes == _sum_in(DISK, extents) - _sum_in(DISK, [e for e in handed_on if not e.lies_in(HOST)])


def _sum_in(tier: int, extents: Sequence[Extent] | set[Extent]) -> float:
    return sum(extent.kept_bytes for extent in extents if extent.lies_in(tier))


def check_orders(cache: KvCache) -> None:
    """The order in which each tier is given up: who may go, the least recently used first, tails before the rest."""
    holdings = cache.holdings
    extents = extents_of(cache)
    may_go = [e for e in extents if e.lies_in(HBM) and not (e.users or e.move) and not _kept_behind(e)]
    assert {*holdings.lru.candidates()} == {*may_go}
    assert holdings.lru.oldest() is _least(may_go)
    for store in (holdings.stores.host, holdings.stores.disk):
        tier = store.tier
        free = [e for e in extents if e.lies_in(tier) and e.move is None and (not e.users or e.lies_in(HBM))]
        may_go = [e for e in free if not any(child.lies_in(tier) for child in e.children.values())]
        assert {*store.lru.candidates()} == {*may_go}
        assert store.lru.oldest() is _least(may_go)


def _kept_behind(extent: Extent) -> bool:
    return any(child.lies_in(HBM) and child.move is None for child in extent.children.values())


def _least(extents: Sequence[Extent]) -> Extent | None:
    return min(extents, key=lambda e: (e.used_at, -e.start), default=None)

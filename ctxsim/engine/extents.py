"""KV kept as extents: runs of whole blocks of one prefix, in a tree that shares what prompts have in common."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ctxsim.engine.request import Request
from ctxsim.geometry import KvLayout

if TYPE_CHECKING:
    from ctxsim.engine.tiers import Move

Hashes = NDArray[np.int64]


class Extent:
    """Tokens [start, end) of one prefix: whole blocks that lie in the same tiers, whoever uses them.

    children: what follows, by the first hash, or by ~session where prompts carry none (hashes are not negative).
    users: requests that hold it. tiers: bit t is set where tier t has it; move: the copy under way. used_at: order of
    last use; idle_since_s: when its last user let go. kept_bytes: its share of the blocks of a sequence. growing: its
    prompt is still being computed; doomed: to be dropped as soon as nobody holds or copies it. queued: bit t is set
    where tier t has it in its order of use. payer: the request that used it last, which pays for what it holds.
    counted: bit t is set where room of tier t below HBM is taken for it.
    """

    __slots__ = (
        "children",
        "counted",
        "doomed",
        "end",
        "growing",
        "hashes",
        "idle_since_s",
        "kept_bytes",
        "key",
        "move",
        "parent",
        "payer",
        "queued",
        "start",
        "tiers",
        "used_at",
        "users",
    )

    def __init__(self, parent: Extent | None, key: int, start: int, end: int, hashes: Hashes | None = None) -> None:
        self.parent = parent
        self.key = key
        self.children: dict[int, Extent] = {}
        self.start = start
        self.end = end
        self.hashes = hashes
        self.kept_bytes = 0.0
        self.users = 0
        self.tiers = 0
        self.move: Move | None = None
        self.used_at = 0
        self.idle_since_s = 0.0
        self.doomed = False
        self.growing = False
        self.queued = 0
        self.payer = -1
        self.counted = 0

    def grown(self) -> None:
        """The prompt that it was the last extent of is computed, with all that came before."""
        self.growing = False
        before = self.parent
        while before is not None and before.growing:
            before.growing = False
            before = before.parent

    def lies_in(self, tier: int) -> bool:
        """Whether that tier has it."""
        return bool(self.tiers >> tier & 1)

    def ends_in(self, tier: int) -> bool:
        """Whether nothing that follows it lies in that tier: prefixes are given up from their tails."""
        return not any(child.tiers >> tier & 1 for child in self.children.values())

    def path(self) -> list[Extent]:
        """The extents from the beginning of the prefix to this one."""
        extents: list[Extent] = []
        at = self
        while at.parent is not None:
            extents.append(at)
            at = at.parent
        return extents[::-1]


class PrefixTree:
    """All prefixes of one replica whose KV lies in some tier.

    A prompt without hashes continues its session's extents; one with hashes whatever prompt began with the same
    blocks. Extents of models whose layers keep windows or states cannot be cut: the state inside is gone.
    hash_tokens: prompt tokens that one hash stands for; quantum: tokens after which a prefix can end, whole blocks that
    whole hashes tell of.
    """

    def __init__(self, layout: KvLayout, hash_tokens: int = 0) -> None:
        self.root = Extent(None, 0, 0, 0)
        self._layout = layout
        self._hash_tokens = hash_tokens
        self.quantum = lcm(layout.block_size, hash_tokens or 1)

    def extents(self) -> Iterator[Extent]:
        """All of them, each before what follows it."""
        ahead = [self.root]
        while ahead:
            extent = ahead.pop()
            if extent.parent is not None:
                yield extent
            ahead.extend(extent.children.values())

    def find(self, request: Request) -> tuple[Extent, int]:
        """The last extent of the longest kept prefix of the prompt, and how many of its tokens can be used.

        At least one token is left to compute, and whole blocks are used. An extent is cut where the prompt leaves it.
        """
        size = self._layout.block_size
        limit = (request.prefill_tokens - 1) // size * size
        if request.hashes is None:
            tail = self._follow_session(request, min(limit, request.known_tokens // size * size))
        else:
            tail = self._follow_hashes(request.hashes)
        return tail, min(tail.end, limit)

    def kept_tokens(self, request: Request) -> int:
        """Leading tokens of the prompt that are kept, without touching anything; not what is still being computed."""
        hashes, at, kept, size = request.hashes, self.root, 0, self._layout.block_size
        while kept == at.end:
            if hashes is None:
                child = at.children.get(~request.session)
                shared = request.known_tokens // size * size
            else:
                rest = hashes[at.end // self._hash_tokens :]
                child = at.children.get(int(rest[0])) if len(rest) else None
                shared = 0 if child is None else self._border(child, _common(child.hashes, rest))
            if child is None or child.growing or child.doomed or not self._reaches(child, shared):
                break
            at, kept = child, min(child.end, shared)
        return min(kept, (request.prefill_tokens - 1) // size * size)

    def _reaches(self, extent: Extent, border: int) -> bool:
        """Whether a prefix that ends there can use any of the extent: all of it, or what is cut off before."""
        return border >= extent.end or (border > extent.start and self._divisible(extent))

    def _follow_session(self, request: Request, limit: int) -> Extent:
        at = self.root
        while (child := at.children.get(~request.session)) is not None and not child.doomed:
            if child.end > limit:
                return self.cut(child, limit) if child.start < limit and self._divisible(child) else at
            at = child
        return at

    def _follow_hashes(self, hashes: Hashes) -> Extent:
        at, rest = self.root, hashes
        while len(rest) and (child := at.children.get(int(rest[0]))) is not None:
            common = _common(child.hashes, rest)
            border = self._border(child, common)
            if border < child.end:
                return self.cut(child, border) if border > child.start and self._divisible(child) else at
            at, rest = child, rest[common:]
        return at

    def _border(self, extent: Extent, hashes: int) -> int:
        """Where a prefix ends that has so many hashes of the extent, and no more, in common with it."""
        return extent.start + hashes * self._hash_tokens // self.quantum * self.quantum

    def _divisible(self, extent: Extent) -> bool:
        return self._layout.divisible and extent.move is None

    def grow(self, request: Request, tail: Extent, end: int, tier: int) -> Extent:
        """The request's prefix is kept in a tier up to ``end``; returns its last extent.

        An extent that only this request uses is lengthened, else a new one follows it; as long as its prompt is being
        computed only one that it has begun itself. Where another request has kept the same tokens meanwhile, these stay
        the request's own: the tail comes back as it was.
        """
        if request.hashes is None:
            key, hashes = ~request.session, None
        else:
            fresh = request.hashes[tail.end // self._hash_tokens : end // self._hash_tokens]
            key, hashes = int(fresh[0]), fresh
        if key in tail.children:
            return tail
        mine = tail.users == 1 and (request.hashes is None or tail.growing)
        if mine and tail.tiers == 1 << tier and tail.move is None and not (tail.children or tail.doomed):
            self._stretch(request, tail, end)
            return tail
        child = Extent(tail, key, tail.end, end, hashes)
        child.kept_bytes = self._layout.extent_bytes(child.start, child.end)
        child.tiers = 1 << tier
        child.doomed = tail.doomed
        tail.children[key] = child
        return child

    def _stretch(self, request: Request, tail: Extent, end: int) -> None:
        if request.hashes is not None:
            tail.hashes = request.hashes[tail.start // self._hash_tokens : end // self._hash_tokens]
        tail.end = end
        tail.kept_bytes = self._layout.extent_bytes(tail.start, end)

    def cut(self, extent: Extent, at: int) -> Extent:
        """The extent becomes two with the border at token ``at``; returns the first, the second is the old object."""
        parent = extent.parent
        assert parent is not None
        head = Extent(parent, extent.key, extent.start, at)
        if extent.hashes is not None:
            blocks = (at - extent.start) // self._hash_tokens
            head.hashes, extent.hashes = extent.hashes[:blocks], extent.hashes[blocks:]
            extent.key = int(extent.hashes[0])
        head.users, head.tiers = extent.users, extent.tiers
        head.payer, head.counted = extent.payer, extent.counted
        head.used_at, head.idle_since_s, head.doomed = extent.used_at, extent.idle_since_s, extent.doomed
        head.kept_bytes = self._layout.extent_bytes(head.start, at)
        parent.children[head.key] = head
        head.children[extent.key] = extent
        extent.parent, extent.start = head, at
        extent.kept_bytes = self._layout.extent_bytes(at, extent.end)
        return head

    def join(self, extent: Extent) -> Extent:
        """Takes an extent up into the one before it where nothing tells them apart; returns what holds its tokens."""
        before = extent.parent
        if before is None or before.parent is None or len(before.children) > 1 or not _alike(before, extent):
            return extent
        if extent.hashes is not None and before.hashes is not None:
            before.hashes = np.concatenate((before.hashes, extent.hashes))
        before.end, before.children = extent.end, extent.children
        for child in before.children.values():
            child.parent = before
        before.kept_bytes = self._layout.extent_bytes(before.start, before.end)
        extent.parent, extent.tiers = None, 0
        return before

    def remove(self, extent: Extent) -> None:
        """Nothing keeps the extent any more."""
        assert extent.parent is not None
        extent.parent.children.pop(extent.key, None)
        extent.parent = None


def _alike(one: Extent, other: Extent) -> bool:
    return (
        one.tiers == other.tiers
        and one.used_at == other.used_at
        and one.users == other.users == 0
        and one.move is other.move is None
        and one.doomed == other.doomed
    )


def _common(kept: Hashes | None, asked: Hashes) -> int:
    """How many leading hashes are equal."""
    assert kept is not None
    n = min(len(kept), len(asked))
    equal = kept[:n] == asked[:n]
    return n if equal.all() else int(np.argmin(equal))

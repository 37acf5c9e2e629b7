"""The KV of one replica that outlives requests: what prompts find of it, and what gives way to what."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from ctxsim.engine.extents import Extent
from ctxsim.engine.holdings import Holdings
from ctxsim.engine.request import Request
from ctxsim.engine.residency import Recompute, Residency, Victim
from ctxsim.engine.stores import Tiers
from ctxsim.engine.tiers import HBM, HOST, OnHeld, nobody
from ctxsim.geometry import KvLayout

ROUNDING_BYTES = 2.0**-20
"""What sums of block sizes may be off by."""


class Room(Enum):
    """Whether bytes could be freed: they are free, copies under way will free them, or nothing gives way."""

    FREE = 0
    COMING = 1
    REFUSED = 2


class KvCache:
    """Prefixes kept on one replica.

    A request claims the longest kept prefix of its prompt, is admitted with it, and leaves its own KV behind. What
    nobody holds is idle, and gives way when its room is wanted, as the policy says. Copies are ordered as Moves
    (``holdings.orders``, for a simulator or an engine to carry out) and end with ``holdings.finish``.
    """

    def __init__(
        self, layout: KvLayout, policy: Residency | None = None, tiers: Tiers | None = None, hash_tokens: int = 0,
        now_s: Callable[[], float] = lambda: 0.0, on_held: OnHeld = nobody,
    ) -> None:  # fmt: skip
        self.policy: Residency = policy or Recompute()
        self._offloads = tiers is not None and self.policy.offloads and tiers.host_bytes > 0
        below = tiers if tiers is not None and self._offloads else Tiers()
        self.holdings = Holdings(layout, below, hash_tokens, now_s, on_held)
        self._layout = layout
        self._quantum = self.holdings.tree.quantum
        self._hash_tokens = hash_tokens
        self._inclusive = below.inclusive
        self._drops_freely = not self.policy.weighs and (not self._offloads or self._inclusive)

    @property
    def droppable_bytes(self) -> float:
        """Idle bytes that can be dropped at any time and in any amount, without a copy and oldest first."""
        return self.holdings.idle_bytes - self.holdings.moving_bytes if self._drops_freely else 0.0

    def claim(self, request: Request) -> None:
        """The request holds the longest kept prefix of its prompt that is worth fetching."""
        request.home = self
        tree = self.holdings.tree
        if not tree.root.children:
            request.tail = tree.root
            return
        tail, _ = tree.find(request)
        request.tail = self._worth_fetching(tail) if self.policy.weighs else tail
        self.holdings.hold(request.tail)

    def unclaim(self, request: Request) -> None:
        """The request lets go of a claim that came to nothing."""
        assert request.tail is not None
        self.holdings.let_go(request.tail, used=False)
        request.tail = request.home = None

    def missing_bytes(self, request: Request) -> float:
        """HBM that the prompt needs beyond what its claim holds there."""
        assert request.tail is not None
        footprint_bytes = self._layout.footprint_bytes(request.prefill_tokens)
        return footprint_bytes - sum(extent.kept_bytes for extent in request.tail.path() if extent.lies_in(HBM))

    def has_in_hbm(self, request: Request) -> bool:
        """Whether a prompt without hashes has KV of its session in HBM, of use to it or not."""
        return any(extent.lies_in(HBM) for extent in self._beyond(self.holdings.tree.root, request.session))

    def drop_stale(self, request: Request) -> None:
        """What its session has idle in HBM beyond its claim makes room first: its prompt goes on otherwise."""
        assert request.tail is not None
        if request.hashes is None:
            for extent in reversed(self._beyond(request.tail, request.session)):
                if extent.lies_in(HBM) and not extent.users and extent.move is None:
                    self.holdings.drop(extent)
                    self.holdings.version += 1

    def admit(self, request: Request) -> float:
        """The claim is used: what lies below HBM is fetched; returns the bytes of blocks that are the request's own.

        Its computed tokens are those of the claim, at hand once ``pending`` copies have ended.
        """
        assert request.tail is not None
        size = self._layout.block_size
        usable = min(request.tail.end, (request.prefill_tokens - 1) // size * size)
        for extent in request.tail.path():
            tier = self.holdings.bring(extent, request)
            if not request.preemptions:
                request.hit_tokens[tier] += max(0, min(extent.end, usable) - extent.start)
        request.resume(usable)
        if request.hashes is None and (stale := request.tail.children.get(~request.session)) is not None:
            self.holdings.discard(stale)
        return self.own_bytes(request, request.prefill_tokens)

    def share(self, request: Request, tokens: int) -> float:
        """Others can use the whole blocks of the request's first ``tokens``; returns what of its own it gave for it."""
        assert request.tail is not None
        if request.hashes is not None:
            tokens = min(tokens, len(request.hashes) * self._hash_tokens)
        end = tokens // self._quantum * self._quantum
        growing = request.computed_tokens < request.prefill_tokens
        if end <= request.tail.end:
            if not growing:
                request.tail.grown()
            return 0.0
        own_bytes = self.own_bytes(request, end)
        tail = self.holdings.tree.grow(request, request.tail, end, HBM)
        if tail.end < end:
            return 0.0
        if tail is not request.tail:
            tail.users, tail.payer = 1, request.index
            request.tail = tail
        tail.growing = True
        if not growing:
            tail.grown()
        self.holdings.version += 1
        self.holdings.hbm_bytes += own_bytes
        self.holdings.used = True
        return own_bytes

    def release(self, request: Request, held_tokens: int, kept_tokens: int) -> float:
        """The request is done; returns the bytes of its own blocks for ``held_tokens``, which are free or idle now.

        kept_tokens: how much of its context may be wanted again.
        """
        own_bytes = self.own_bytes(request, held_tokens)
        if kept_tokens:
            self.share(request, kept_tokens)
        assert request.tail is not None
        tail = request.tail
        request.tail = request.home = None
        tail.grown()
        if tail.parent is None:
            self.holdings.version += 1
            return own_bytes
        self.holdings.charge(tail, request.index)
        self.holdings.let_go(tail, used=True)
        self._write_through(tail)
        self.holdings.settle(tail)
        return own_bytes

    def forget(self, session: int) -> None:
        """The session will not come back."""
        extent = self.holdings.tree.root.children.get(~session)
        if extent is not None:
            self.holdings.discard(extent)

    def offloads_running(self, request: Request, tokens: int) -> bool:
        """Whether a preempted request's KV of ``tokens`` is to be swapped out."""
        return self._offloads and self.policy.offloads_running(tokens, self._layout.extent_bytes(0, tokens))

    def own_bytes(self, request: Request, tokens: int) -> float:
        """Bytes of the blocks of a request's ``tokens`` that are not those of extents it holds."""
        assert request.tail is not None
        return self._layout.extent_bytes(request.tail.end, tokens)

    def make_room(self, wanted_bytes: float, forced: bool) -> Room:
        """Frees that much HBM beyond what is free, or begins to; ``forced``: a policy must not refuse."""
        if wanted_bytes > self.holdings.idle_bytes:
            return Room.REFUSED
        if self.policy.holds and not forced and not self.policy.weighs:
            return Room.REFUSED
        if not self._drops_freely:
            return self._evict(wanted_bytes, forced)
        if wanted_bytes > self.droppable_bytes:
            return Room.COMING
        self.drop_oldest(wanted_bytes)
        return Room.FREE

    def drop_oldest(self, wanted_bytes: float) -> None:
        """Drops idle extents without a copy, the least recently used first, the last one only as far as needed."""
        while wanted_bytes > ROUNDING_BYTES:
            extent = self.holdings.lru.oldest()
            assert extent is not None, "more is dropped than is idle"
            wanted_bytes -= self._drop_tail(extent, wanted_bytes)

    def _drop_tail(self, extent: Extent, wanted_bytes: float) -> float:
        """Drops the tail of an idle extent as far as needed, all of it where it cannot be cut; returns the bytes that
        were freed, those of what is of no use without it included."""
        if extent.kept_bytes > wanted_bytes and self._layout.divisible:
            blocks = int(-(-wanted_bytes // self._layout.extent_bytes(0, self._quantum)))
            border = extent.end - blocks * self._quantum
            if border > extent.start:
                self.holdings.tree.cut(extent, border)
        idle_bytes = self.holdings.idle_bytes
        self.holdings.drop(extent)
        return idle_bytes - self.holdings.idle_bytes

    def offload_idle(self, session: int) -> None:
        """What the session has left in HBM goes to host memory, whatever the order of use, as far as there is room."""
        for extent in self._beyond(self.holdings.tree.root, session):
            if extent.lies_in(HBM) and not extent.users and extent.move is None and not extent.lies_in(HOST):
                self.holdings.offload(extent)

    def _beyond(self, extent: Extent, session: int) -> list[Extent]:
        """The extents of a session after that one."""
        beyond: list[Extent] = []
        while (following := extent.children.get(~session)) is not None:
            beyond.append(following)
            extent = following
        return beyond

    def _evict(self, wanted_bytes: float, forced: bool) -> Room:
        """Gives up extents in the policy's order until copies under way and what was dropped are enough.

        What is copied is copied whole, what is dropped only as far as needed; what host memory has already is dropped.
        """
        holdings = self.holdings
        while holdings.moving_bytes < wanted_bytes:
            victim = self._victim(forced)
            if victim is None:
                return Room.COMING if holdings.moving_bytes else Room.REFUSED
            copies = victim.offload and not victim.extent.lies_in(HOST)
            if not (copies and holdings.offload(victim.extent)):
                wanted_bytes -= self._drop_tail(victim.extent, wanted_bytes - holdings.moving_bytes)
        return Room.COMING if wanted_bytes > 0 else Room.FREE

    def _victim(self, forced: bool) -> Victim | None:
        lru = self.holdings.lru
        if self.policy.weighs:
            return self.policy.choose(lru.candidates(), forced, self._offloads)
        oldest = lru.oldest()
        return None if oldest is None else Victim(oldest, self._offloads)

    def _worth_fetching(self, tail: Extent) -> Extent:
        """The last extent before the first that is cheaper to compute again than to fetch."""
        for extent in tail.path():
            if not extent.lies_in(HBM) and not self.policy.fetches(extent):
                assert extent.parent is not None
                return extent.parent
        return tail

    def _write_through(self, tail: Extent) -> None:
        """Under inclusive tiers whatever host memory does not have yet is copied to it."""
        if self._inclusive:
            for extent in tail.path():
                if extent.lies_in(HBM) and not extent.lies_in(HOST) and extent.move is None and not extent.users:
                    self.holdings.offload(extent, write_through=True)

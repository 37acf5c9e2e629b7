"""Blocks and tiers under arbitrary orders of events: every byte is where the accounts say."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from ctxsim.engine import DISK, HBM, HOST, KvCache, Move, Request, Room, Tiers
from ctxsim.engine.extents import Extent
from ctxsim.engine.residency import Keep, Recompute, Swap
from ctxsim.geometry import KvLayout, Span

BLOCK = 4
CAPACITY_BYTES = 40 * BLOCK
POLICIES = {"swap": Swap, "recompute": Recompute, "keep": Keep}


class Tierings(RuleBasedStateMachine):
    """One replica's cache, its requests one after another or side by side, its copies ending in any order."""

    running = Bundle("running")

    @initialize(
        policy=st.sampled_from(sorted(POLICIES)),
        host=st.integers(0, 60),
        disk=st.integers(0, 30),
        inclusive=st.booleans(),
    )
    def begin(self, policy: str, host: int, disk: int, inclusive: bool) -> None:
        self.layout = KvLayout([(Span("full"), 1.0)], 0.0, BLOCK)
        tiers = Tiers(host * BLOCK, disk * BLOCK if host else 0, inclusive)
        self.cache = KvCache(self.layout, POLICIES[policy](), tiers)
        self.own: dict[Request, float] = {}
        self.context: dict[int, int] = {}
        self.moves: list[Move] = []
        self.index = 0

    @property
    def free_bytes(self) -> float:
        return CAPACITY_BYTES - self.cache.holdings.hbm_bytes - sum(self.own.values())

    def collect(self) -> None:
        self.moves += self.cache.holdings.orders
        self.cache.holdings.orders.clear()

    @rule(target=running, session=st.integers(0, 5), new=st.integers(1, 20), forced=st.booleans())
    def ask(self, session: int, new: int, forced: bool) -> object:
        """A turn comes: it is admitted where there is or can be made room, else it lets go of its claim."""
        known = self.context.get(session, 0)
        prompt = known + new
        busy = any(request.session == session for request in self.own)
        if busy or self.layout.footprint_bytes(prompt + 8) > CAPACITY_BYTES:
            return multiple()
        request = Request(self.index, prompt, 8, session, known, last=False)
        self.index += 1
        self.cache.claim(request)
        missing = self.cache.missing_bytes(request) - self.free_bytes
        room = Room.FREE if missing <= 0 else self.cache.make_room(missing, forced)
        if room is not Room.FREE:
            self.cache.unclaim(request)
            self.collect()
            return multiple()
        self.own[request] = self.cache.admit(request)
        assert self.free_bytes >= 0
        self.collect()
        return request

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def end_a_copy(self, data: st.DataObject) -> None:
        move = self.moves.pop(data.draw(st.integers(0, len(self.moves) - 1)))
        ready = self.cache.holdings.finish(move)
        assert all(request.pending == 0 for request in ready)
        self.collect()

    @rule(request=consumes(running), more=st.integers(0, 7), over=st.booleans())
    def finish(self, request: Request, more: int, over: bool) -> None:
        """An answer is done: what it took for it was free, and its session may be over."""
        if request.pending:
            return self.put_off(request)
        held = request.prompt_tokens + more
        grown = self.layout.footprint_bytes(held) - self.layout.footprint_bytes(request.prompt_tokens)
        if grown > self.free_bytes:
            held = request.prompt_tokens
        self.own.pop(request)
        self.cache.release(request, held, 0 if over else held)
        if over:
            self.cache.forget(request.session)
        self.context[request.session] = 0 if over else held
        return self.collect()

    def put_off(self, request: Request) -> None:
        """What still waits for copies ends once they have."""
        while request.pending:
            self.cache.holdings.finish(self.moves.pop(0))
            self.collect()
        self.own.pop(request)
        self.cache.release(request, request.prompt_tokens, request.prompt_tokens)
        self.context[request.session] = request.prompt_tokens
        self.collect()

    @rule(session=st.integers(0, 5))
    def forget(self, session: int) -> None:
        self.cache.forget(session)

    def extents(self) -> list[Extent]:
        found, todo = [], list(self.cache.holdings.tree.root.children.values())
        while todo:
            extent = todo.pop()
            found.append(extent)
            todo += extent.children.values()
        return found

    @invariant()
    def accounts_are_right(self) -> None:
        if not hasattr(self, "cache"):
            return
        holdings, extents = self.cache.holdings, self.extents()
        in_hbm = [e for e in extents if e.lies_in(HBM)]
        idle = [e for e in in_hbm if not e.users]
        assert holdings.hbm_bytes == sum(e.kept_bytes for e in in_hbm)
        assert holdings.idle_bytes == sum(e.kept_bytes for e in idle)
        assert holdings.moving_bytes == sum(e.kept_bytes for e in idle if e.move is not None)
        assert holdings.arriving_bytes == sum(
            e.kept_bytes for e in in_hbm if e.move is not None and e.move.target == HBM
        )
        assert self.free_bytes >= 0
        coming = sum(m.moved_bytes for m in self.moves if m.target == HOST and m.source == HBM)
        host = holdings.stores.host
        assert host.used_bytes == coming + sum(e.kept_bytes for e in extents if e.lies_in(HOST))
        assert holdings.stores.disk.used_bytes == sum(e.kept_bytes for e in extents if e.lies_in(DISK))

    @invariant()
    def prefixes_are_whole(self) -> None:
        if not hasattr(self, "cache"):
            return
        for extent in self.extents():
            assert extent.parent is not None
            assert extent.start == extent.parent.end
            assert (extent.end - extent.start) % BLOCK == 0
            assert extent.end > extent.start
            assert extent.tiers
            assert extent.kept_bytes == self.layout.extent_bytes(extent.start, extent.end)
            assert extent.users <= extent.parent.users or extent.parent.parent is None


TestTierings = Tierings.TestCase
TestTierings.settings = settings(max_examples=150, stateful_step_count=40)

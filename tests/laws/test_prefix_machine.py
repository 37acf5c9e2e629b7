"""Prompts that share blocks, under arbitrary orders of events, beside a table of what is stored: block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, settings
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
CAPACITY_BYTES = 12 * BLOCK
SEATS = 3
POLICIES = {"swap": Swap, "recompute": Recompute, "keep": Keep}
# Few hashes, so that prompts have much in common and part anywhere.
PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)

# The hashes from the beginning of a prompt: stands for its last block.
Prefix = tuple[int, ...]


def prefixes(hashes: Prefix, after: int = 0) -> list[Prefix]:
    return [hashes[:n] for n in range(after + 1, len(hashes) + 1)]


class Copying:
    """A copy under way, of the blocks after the first ``start`` of a prefix; none where nobody can find them."""

    def __init__(self, move: Move) -> None:
        self.move = move
        extent = move.extent
        hashes = [h for part in extent.path() for h in ([] if part.hashes is None else part.hashes.tolist())]
        self.start = extent.start // BLOCK
        self.prefix: Prefix = tuple(hashes) if len(hashes) * BLOCK == extent.end else ()

    @property
    def blocks(self) -> list[Prefix]:
        return prefixes(self.prefix, self.start)

    @property
    def current(self) -> bool:
        """Whether it is not overtaken by a fetch from its source."""
        return self.move.extent.move is self.move


class Table:
    """What is stored. tiers: bits of each block; used_at: order of last use; depth: blocks that each request holds."""

    def __init__(self, inclusive: bool) -> None:
        self.tiers: dict[Prefix, int] = {}
        self.used_at: dict[Prefix, int] = {}
        self.depth: dict[Request, int] = {}
        self.copies: list[Copying] = []
        self.uses = 0
        self.inclusive = inclusive

    def found(self, hashes: Prefix) -> int:
        """Blocks of the longest stored prefix; what is being copied is taken whole or not at all."""
        depth = 0
        while depth < len(hashes) and hashes[: depth + 1] in self.tiers:
            depth += 1
        for copy in self.copies:
            if copy.current and copy.start < depth < len(copy.prefix) and copy.prefix[:depth] == hashes[:depth]:
                return copy.start
        return depth

    def tier(self, block: Prefix) -> int:
        """Where a request finds it: what is on its way counts for where it comes from."""
        target = {copy.move.target: copy.move.source for copy in self.copies if copy.current and block in copy.blocks}
        if self.tiers[block] >> HBM & 1:
            return target.get(HBM, HBM)
        return HOST if self.tiers[block] >> HOST & 1 else target.get(DISK, DISK)

    def held(self, block: Prefix) -> bool:
        n = len(block)
        return any(depth >= n and hashes_of(request)[:n] == block for request, depth in self.depth.items())

    def fetch(self, blocks: list[Prefix]) -> None:
        for block in blocks:
            if not self.tiers[block] >> HBM & 1:
                self.tiers[block] = 1 << HBM | (self.tiers[block] & 1 << HOST if self.inclusive else 0)

    def compute(self, request: Request) -> int:
        """Its computed blocks are there for others, unless another has kept the next of them; returns how many."""
        hashes, held = hashes_of(request), self.depth[request]
        done = min(request.computed_tokens // BLOCK, len(hashes))
        if done <= held or hashes[: held + 1] in self.tiers:
            return 0
        for block in prefixes(hashes[:done], held):
            self.tiers[block], self.used_at[block] = 1 << HBM, 0
        self.depth[request] = done
        return done - held

    def release(self, request: Request) -> None:
        self.uses += 1
        for block in prefixes(hashes_of(request)[: self.depth.pop(request)]):
            self.used_at[block] = self.uses

    def end(self, copy: Copying) -> None:
        """A copy has ended; what is in use again has not left HBM."""
        for block in copy.blocks:
            if copy.move.write_through:
                self.tiers[block] |= 1 << HOST
            elif copy.move.source == HBM and not self.held(block):
                self.tiers[block] = 1 << HOST

    def move_on(self, copies: list[Copying]) -> None:
        """These were ordered: what goes to disk has left host memory."""
        self.copies += copies
        for copy in copies:
            if copy.move.target == DISK:
                self.tiers.update(dict.fromkeys(copy.blocks, 1 << DISK))

    def lose(self, block: Prefix) -> None:
        """It lies nowhere; a copy of it ends for nothing."""
        del self.tiers[block]
        for copy in self.copies:
            copy.prefix = () if block in copy.blocks else copy.prefix

    def idle(self) -> list[Prefix]:
        return [block for block, bits in self.tiers.items() if bits >> HBM & 1 and not self.held(block)]

    def drop_oldest(self, blocks: int) -> None:
        """So many blocks, each time the least recently used that nothing follows; without any tier below."""
        for _ in range(blocks):
            leaves = [b for b in self.idle() if not any(other[:-1] == b for other in self.tiers)]
            del self.tiers[min(leaves, key=lambda b: (self.used_at[b], -len(b)))]


def hashes_of(request: Request) -> Prefix:
    assert request.hashes is not None
    return tuple(request.hashes.tolist())


class Prefixes(RuleBasedStateMachine):
    """One replica's cache and prompts with hashes, side by side, copies ending in any order."""

    running = Bundle("running")

    @initialize(
        policy=st.sampled_from(["swap", "swap", "swap", "recompute", "keep"]), host=st.integers(0, 16),
        disk=st.integers(0, 12),
        inclusive=st.booleans(),
    )  # fmt: skip
    def begin(self, policy: str, host: int, disk: int, inclusive: bool) -> None:
        tiers = Tiers(host * BLOCK, disk * BLOCK if host else 0, inclusive)
        layout = KvLayout([(Span("full"), 1.0)], 0.0, BLOCK)
        self.cache = KvCache(layout, POLICIES[policy](), tiers, BLOCK)
        self.holdings = self.cache.holdings
        self.below = policy == "swap" and host > 0
        self.keeps = policy == "keep"
        self.table = Table(inclusive)
        self.own: dict[Request, float] = {}
        self.index = 0

    @property
    def free_bytes(self) -> float:
        return CAPACITY_BYTES - self.holdings.hbm_bytes - sum(self.own.values())

    def collect(self) -> None:
        """Takes over what was ordered."""
        self.table.move_on([Copying(move) for move in self.holdings.orders])
        self.holdings.orders.clear()

    @rule(target=running, hashes=PROMPTS, more=st.integers(0, BLOCK - 1), forced=st.booleans())
    def ask(self, hashes: Prefix, more: int, forced: bool) -> object:
        """A prompt comes, of whole blocks and perhaps some tokens more: it claims what is stored of it."""
        if len(self.own) == SEATS:
            return multiple()
        request = self.ask_for(hashes, more, forced)
        return multiple() if request is None else request

    @rule(hashes=PROMPTS, more=st.integers(0, BLOCK - 1))
    def serve(self, hashes: Prefix, more: int) -> None:
        """A prompt comes, and is computed to its end before anything else happens but its copies."""
        if (request := self.ask_for(hashes, more, forced=True)) is not None:
            self.release(request, over=False, preempted=False)

    def ask_for(self, hashes: Prefix, more: int, forced: bool) -> Request | None:
        """The request if it was admitted, else it has let go of its claim."""
        request = Request(self.index, len(hashes) * BLOCK + more, 8, hashes=np.array(hashes, dtype=np.int64))
        self.index += 1
        self.cache.claim(request)
        depth = self.table.depth[request] = self.table.found(hashes)
        assert request.tail is not None
        assert request.tail.end == depth * BLOCK
        missing_bytes = self.cache.missing_bytes(request) - self.free_bytes
        if missing_bytes > 0 and self.make_room(missing_bytes, forced) is not Room.FREE:
            self.cache.unclaim(request)
            del self.table.depth[request]
            return None
        self.admit(request)
        return request

    def make_room(self, missing_bytes: float, forced: bool) -> Room:
        """Says what it must, and drops what it must where there is only one right choice."""
        blocks, before_bytes = -int(-missing_bytes // BLOCK), self.holdings.hbm_bytes
        enough = blocks <= len(self.table.idle())
        room = self.cache.make_room(missing_bytes, forced)
        self.collect()
        if not self.below:
            refused = not enough or (self.keeps and not forced)
            assert room is (Room.REFUSED if refused else Room.FREE)
            if not refused:
                self.table.drop_oldest(blocks)
        else:
            self.give_up(in_hbm=True)
        freed_blocks = (before_bytes - self.holdings.hbm_bytes) / BLOCK
        assert freed_blocks == blocks if room is Room.FREE else freed_blocks <= blocks
        assert room is not Room.COMING or self.holdings.moving_bytes > 0
        return room

    def admit(self, request: Request) -> None:
        hashes, depth = hashes_of(request), self.table.depth[request]
        usable = min(depth, (request.prompt_tokens - 1) // BLOCK)
        hits = [0, 0, 0]
        for block in prefixes(hashes[:usable]):
            hits[self.table.tier(block)] += BLOCK
        self.own[request] = self.cache.admit(request)
        assert request.hit_tokens == hits
        assert request.computed_tokens == usable * BLOCK
        self.table.fetch(prefixes(hashes[:depth]))
        self.collect()

    def give_up(self, in_hbm: bool = False) -> None:
        """Takes over what host memory, the disk and, where it may, HBM have given up; nobody held it there.

        What follows a block that is nowhere any more can be found by nobody, and goes with it from every tier.
        """
        found = self.stored()
        for block, bits in list(self.table.tiers.items()):
            left = found.get(block, 0)
            assert left & ~bits == 0, "nothing came from nowhere"
            if lost := bits & ~left:
                unreachable = len(block) > 1 and not found.get(block[:-1])
                assert in_hbm or unreachable or not lost >> HBM & 1
                assert left >> HBM & 1 or not self.table.held(block)
                self.table.tiers[block] = left
            if not left:
                self.table.lose(block)

    @rule(request=running, tokens=st.integers(1, 3 * BLOCK))
    def compute(self, request: Request, tokens: int) -> None:
        """A chunk: its whole blocks can be used by others from now on."""
        assume(request in self.own and not request.pending)
        request.computed_tokens = min(request.prompt_tokens, request.computed_tokens + tokens)
        shared_bytes = self.cache.share(request, request.computed_tokens)
        self.own[request] -= shared_bytes
        assert shared_bytes == self.table.compute(request) * BLOCK

    @rule(request=consumes(running), over=st.booleans(), preempted=st.booleans())
    def release(self, request: Request, over: bool, preempted: bool) -> None:
        """An answer is done, or it is preempted before all of its prompt is computed."""
        while request.pending:
            self.end(self.table.copies[0])
        if not preempted:
            self.compute(request, request.prompt_tokens)
        own_bytes = self.own.pop(request)
        assert self.cache.release(request, request.prompt_tokens, 0 if over or preempted else 10**6) == own_bytes
        self.table.release(request)
        self.collect()
        self.give_up()

    @precondition(lambda self: self.table.copies)
    @rule(data=st.data())
    def end_a_copy(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.table.copies)))

    def end(self, copy: Copying) -> None:
        self.table.copies.remove(copy)
        self.table.end(copy)
        assert all(request.pending == 0 for request in self.holdings.finish(copy.move))
        self.collect()

    @rule()
    def end_all_copies(self) -> None:
        while self.table.copies:
            self.end(self.table.copies[0])

    @rule(hashes=PROMPTS, more=st.integers(0, BLOCK - 1))
    def look(self, hashes: Prefix, more: int) -> None:
        """A router counts on nothing that is not stored, and on all of it while nothing is computed or copied."""
        request = Request(0, len(hashes) * BLOCK + more, 1, hashes=np.array(hashes, dtype=np.int64))
        depth = next((n for n in range(len(hashes)) if hashes[: n + 1] not in self.table.tiers), len(hashes))
        kept, usable = self.holdings.tree.kept_tokens(request), min(depth, (request.prompt_tokens - 1) // BLOCK) * BLOCK
        assert kept <= usable
        assert kept == usable or self.table.depth or self.table.copies

    def extents(self) -> list[tuple[Prefix, Extent]]:
        """All that can be found, and the hashes that lead to it."""
        found: list[tuple[Prefix, Extent]] = []
        todo: list[tuple[Prefix, Extent]] = [((), self.holdings.tree.root)]
        while todo:
            prefix, parent = todo.pop()
            for extent in parent.children.values():
                assert extent.parent is parent
                assert extent.start == parent.end == len(prefix) * BLOCK
                assert extent.hashes is not None
                todo.append(((*prefix, *extent.hashes.tolist()), extent))
                found.append(todo[-1])
        return found

    def stored(self) -> dict[Prefix, int]:
        return {
            block: extent.tiers
            for prefix, extent in self.extents()
            for block in prefixes(prefix, extent.start // BLOCK)
        }

    @invariant()
    def the_tree_is_as_the_table_says(self) -> None:
        if hasattr(self, "table"):
            assert self.stored() == self.table.tiers
            for prefix, extent in self.extents():
                holders = [r for r, depth in self.table.depth.items() if hashes_of(r)[:depth][: len(prefix)] == prefix]
                assert extent.users == len(holders)
                assert extent.tiers
                assert extent.kept_bytes == extent.end - extent.start

    @invariant()
    def accounts_are_right(self) -> None:
        if not hasattr(self, "table"):
            return
        holdings, moves = self.holdings, [copy.move for copy in self.table.copies]
        # What lost its beginning while it was copied is found by nobody, and lies there until the copy ends.
        extents = {extent for _, extent in self.extents()}
        extents |= {e for move in moves for e in (move.extent, *move.extent.path()) if e.tiers}
        in_hbm, in_host, on_disk = ([e for e in extents if e.lies_in(tier)] for tier in (HBM, HOST, DISK))
        idle = [e for e in in_hbm if not e.users]
        assert holdings.hbm_bytes == sum(e.kept_bytes for e in in_hbm)
        assert holdings.idle_bytes == sum(e.kept_bytes for e in idle)
        assert holdings.moving_bytes == sum(e.kept_bytes for e in idle if e.move is not None)
        arriving = [e for e in in_hbm if e.move is not None and e.move.target == HBM]
        assert holdings.arriving_bytes == sum(e.kept_bytes for e in arriving)
        assert self.free_bytes >= 0
        coming_bytes = sum(m.moved_bytes for m in moves if (m.source, m.target) == (HBM, HOST))
        assert holdings.stores.host.used_bytes == coming_bytes + sum(e.kept_bytes for e in in_host)
        assert holdings.stores.disk.used_bytes == sum(e.kept_bytes for e in on_disk)


TestPrefixes = Prefixes.TestCase
TestPrefixes.settings = settings(max_examples=100, stateful_step_count=40)

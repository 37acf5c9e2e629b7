"""The KV cache alone under whatever may be done to it, beside a plain account of every piece of KV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.policies import LAYOUTS, POLICIES, Fickle
from support.shadow import Place, Shadow, check_accounts, check_orders, check_shape, extents_of

from ctxsim.engine import HBM, KvCache, Move, Request, Room, Tiers
from ctxsim.geometry import KvLayout

SESSIONS = 3


class KvMachine(RuleBasedStateMachine):
    """Turns of sessions, or prompts with common beginnings, are claimed, served, preempted; copies end in any order.

    ``tokens`` of a request: what it is made of; KV found for it must have been computed of the same.
    """

    @initialize(
        policy=st.sampled_from(["recompute", "keep", "swap", "swap", "fickle", "fickle"]),
        layout=st.sampled_from(LAYOUTS),
        host_bytes=st.sampled_from([0.0, 20.0, 60.0, 60.0, 100.0, 1000.0]),
        disk_bytes=st.sampled_from([0.0, 40.0, 100.0, 1000.0]),
        inclusive=st.booleans(),
        hash_tokens=st.sampled_from([0, 0, 4, 8, 2, 6]),
    )
    def build(
        self, policy: str, layout: KvLayout, host_bytes: float, disk_bytes: float, inclusive: bool, hash_tokens: int
    ) -> None:
        self.policy, self.layout, self.hash_tokens = POLICIES[policy](), layout, hash_tokens
        tiers = Tiers(host_bytes, disk_bytes, inclusive)
        self.cache = KvCache(layout, self.policy, tiers, hash_tokens)
        self.inclusive = self.cache._inclusive
        self.shadow = Shadow()
        self.tokens: dict[Request, list[Hashable]] = {}
        self.waiting: list[Request] = []
        self.claimed: list[Request] = []
        self.running: list[Request] = []
        self.moves: list[Move] = []
        self.overfull_bytes = 0.0
        self.said: dict[int, list[Hashable]] = {}
        self.over: set[int] = set()
        self.names: dict[tuple[int, ...], int] = {}
        self.numbers = Counter[str]()

    # What comes.

    @precondition(lambda self: not self.hash_tokens)
    @rule(session=st.integers(0, SESSIONS - 1), kept=st.floats(0, 1), more=st.integers(1, 20), output=st.integers(0, 9))
    def next_turn(self, session: int, kept: float, more: int, output: int) -> None:
        """It goes on from some point of what was said so far."""
        if session not in self.over:
            self._ask_next(session, kept, more, output)

    def _ask_next(self, session: int, kept: float, more: int, output: int) -> None:
        said = self.said.get(session, [])
        known = min(len(said), round(kept * 1.5 * len(said)))
        prompt = [*said[:known], *self._fresh(more)]
        self._ask(Request(self._number("request"), len(prompt), output, session, known, last=False), prompt)
        self.said[session] = self.tokens[self.waiting[-1]][: len(prompt) + max(output - 1, 0)]

    @precondition(lambda self: self.hash_tokens)
    @rule(way=st.lists(st.integers(0, 1), max_size=8), rest=st.integers(1, 7), output=st.integers(0, 9))
    def prompt_of_blocks(self, way: list[int], rest: int, output: int) -> None:
        ways = [tuple(way[: i + 1]) for i in range(len(way))]
        hashes = [self.names.setdefault(w, len(self.names)) for w in ways]
        prompt: list[Hashable] = [(w, i) for w in ways for i in range(self.hash_tokens)]
        prompt += self._fresh(rest)
        number = self._number("request")
        request = Request(number, len(prompt), output, number, 0, False, np.array(hashes, np.int64))
        self._ask(request, prompt)

    def _ask(self, request: Request, prompt: list[Hashable]) -> None:
        self.tokens[request] = [*prompt, *self._fresh(request.output_tokens)]
        self.waiting.append(request)

    @precondition(lambda self: not self.hash_tokens)
    @rule(session=st.integers(0, SESSIONS - 1), kept=st.floats(0, 1), more=st.integers(1, 20), whim=st.integers(0, 20))
    def turn_from_beginning_to_end(self, session: int, kept: float, more: int, whim: int) -> None:
        if session not in self.over and not any(r.session == session for r in (*self.waiting, *self.claimed)):
            self._ask_next(session, kept, more, 1)
            self._serve(self.waiting[-1], whim)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), whim=st.integers(0, 20))
    def serve(self, data: st.DataObject, whim: int) -> None:
        if eldest := self._eldest():
            self._serve(data.draw(st.sampled_from(eldest)), whim)

    def _serve(self, request: Request, whim: int) -> None:
        """All at once: what happens to most requests, and leaves something behind for others."""
        self._claim(request, whim)
        self.claimed.remove(request)
        self._admit(request)
        for move in [move for move in self.moves if request in move.waiters]:
            self._end_copy(move)
        while request.computed_tokens < request.prefill_tokens:
            self._compute(request, 8)
        self.running.remove(request)
        self._release(request, request.largest_context, request.largest_context)

    # What is done with it.

    @precondition(lambda self: self._eldest())
    @rule(data=st.data(), whim=st.integers(0, 20))
    def claim(self, data: st.DataObject, whim: int) -> None:
        """Turns of a session are taken in their order."""
        self._claim(data.draw(st.sampled_from(self._eldest())), whim)

    def _claim(self, request: Request, whim: int) -> None:
        self._be(whim)
        self.waiting.remove(request)
        self.claimed.append(request)
        self.cache.claim(request)
        assert request.tail is not None
        assert request.tail.end <= request.prefill_tokens
        self._step()

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def unclaim(self, data: st.DataObject) -> None:
        request = self._take(data, self.claimed)
        used_bytes = self._below()
        self.cache.unclaim(request)
        self.overfull_bytes += self._below() - used_bytes
        self.waiting.insert(0, request)
        self._step()

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        """What is found is what was computed of the same tokens; all blocks of the prompt are its own or claimed."""
        self._admit(self._take(data, self.claimed))

    def _admit(self, request: Request) -> None:
        first, lost = not request.preemptions, request.recomputed_tokens
        was_lost = request.lost_tokens
        own_bytes = self.cache.admit(request)
        assert request.tail is not None
        path = request.tail.path()
        assert own_bytes + sum(e.kept_bytes for e in path) == self.layout.footprint_bytes(request.prefill_tokens)
        assert all(extent.lies_in(HBM) for extent in path)
        assert request.computed_tokens < request.prefill_tokens
        for place, content in self._pieces(request, request.computed_tokens).items():
            assert self.shadow.content[place] == content, "KV of other tokens"
        if first:
            assert sum(request.hit_tokens) == request.computed_tokens
        assert request.recomputed_tokens - lost == max(0, was_lost - request.computed_tokens)
        assert (request.pending > 0) == any(e.move is not None and e.move.target == HBM for e in path)
        self.running.append(request)
        self._step()

    @precondition(lambda self: self._computing())
    @rule(data=st.data(), tokens=st.integers(1, 12))
    def compute(self, data: st.DataObject, tokens: int) -> None:
        """A chunk of a prompt; others can use whole blocks of it at once where they are named by hashes."""
        self._compute(data.draw(st.sampled_from(self._computing())), tokens)

    def _compute(self, request: Request, tokens: int) -> None:
        request.computed_tokens = min(request.prefill_tokens, request.computed_tokens + tokens)
        if request.hashes is not None:
            own_bytes, hbm_bytes = self.cache.own_bytes(request, request.prefill_tokens), self.cache.holdings.hbm_bytes
            given_bytes = self.cache.share(request, request.computed_tokens)
            assert given_bytes == self.cache.holdings.hbm_bytes - hbm_bytes
            assert given_bytes == own_bytes - self.cache.own_bytes(request, request.prefill_tokens)
        self._step(request)

    @precondition(lambda self: self._computed())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self._computed()))
        self.running.remove(request)
        self._release(request, request.largest_context, request.largest_context)

    @precondition(lambda self: self._started())
    @rule(data=st.data(), swap=st.booleans(), generated=st.integers(0, 9))
    def preempt(self, data: st.DataObject, swap: bool, generated: int) -> None:
        """Half way through its prompt, or with some of its outputs; as EngineCore does."""
        request = data.draw(st.sampled_from(self._started()))
        self.running.remove(request)
        stored, held = request.computed_tokens, request.prefill_tokens
        if stored == held:
            request.generated_tokens = min(request.output_tokens, max(1, request.generated_tokens + generated))
            stored = held = request.prompt_tokens + max(0, request.generated_tokens - 1)
        swap = swap and request.hashes is None and self.cache._offloads
        self._release(request, held, stored if swap else 0, step=False)
        if swap:
            request.known_tokens = max(request.known_tokens, stored)
            self.cache.offload_idle(request.session)
        self._step(request, stored)
        request.preempt(stored)
        self.waiting.insert(0, request)

    def _release(self, request: Request, held: int, kept: int, step: bool = True) -> None:
        hbm_bytes, own_bytes = self.cache.holdings.hbm_bytes, self.cache.own_bytes(request, held)
        assert self.cache.release(request, held, kept) == own_bytes
        assert hbm_bytes <= self.cache.holdings.hbm_bytes <= hbm_bytes + own_bytes
        assert request.tail is request.home is None
        if step:
            self._step(request, kept)

    # What gives way.

    @rule(share=st.floats(0, 1.2), forced=st.booleans(), whim=st.integers(0, 20))
    def make_room(self, share: float, forced: bool, whim: int) -> None:
        """What is free or coming is enough; a refusal with nothing on its way means that nothing may go."""
        self._be(whim)
        holdings = self.cache.holdings
        wanted_bytes = float(round(share * holdings.idle_bytes))
        idle_bytes, hbm_bytes = holdings.idle_bytes, holdings.hbm_bytes
        room = self.cache.make_room(wanted_bytes, forced)
        freed_bytes = hbm_bytes - holdings.hbm_bytes
        assert freed_bytes == idle_bytes - holdings.idle_bytes >= 0
        if room is Room.FREE:
            assert freed_bytes >= wanted_bytes
        elif room is Room.COMING:
            assert holdings.moving_bytes > 0
        elif forced and wanted_bytes <= idle_bytes:
            assert not holdings.moving_bytes
            assert not holdings.lru.candidates()
        if room is not Room.FREE and not isinstance(self.policy, Fickle):
            assert freed_bytes < max(wanted_bytes, 1)
        self._step()

    @precondition(lambda self: self.cache.droppable_bytes)
    @rule(share=st.floats(0, 1))
    def drop_oldest(self, share: float) -> None:
        """All that is said to be droppable is, in whatever portions."""
        holdings = self.cache.holdings
        wanted_bytes, hbm_bytes = share * self.cache.droppable_bytes, holdings.hbm_bytes
        moving = {e for e in extents_of(self.cache) if e.move is not None}
        self.cache.drop_oldest(wanted_bytes)
        assert hbm_bytes - holdings.hbm_bytes >= wanted_bytes - 1e-6
        assert all(extent.lies_in(HBM) for extent in moving if extent.move and extent.move.source == HBM)
        self._step()

    @precondition(lambda self: not self.hash_tokens)
    @rule(session=st.integers(0, SESSIONS - 1))
    def forget(self, session: int) -> None:
        if not any(request.session == session for request in (*self.waiting, *self.claimed)):
            self.over.add(session)
            self.cache.forget(session)
            self._step()
            for extent in extents_of(self.cache):
                if extent.key == ~session:
                    assert extent.doomed
                    assert extent.users or extent.move or extent.children

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def end_copy(self, data: st.DataObject) -> None:
        self._end_copy(data.draw(st.sampled_from(self.moves)))

    def _end_copy(self, move: Move) -> None:
        self.moves.remove(move)
        waiting = {request: request.pending for request in move.waiters}
        ready = self.cache.holdings.finish(move)
        assert move.extent.move is None
        assert all(request.pending == pending - 1 for request, pending in waiting.items())
        assert {*ready} == {request for request in waiting if not request.pending}
        self._step(arrived=move)

    # What must hold.

    @invariant()
    def accounts_and_orders(self) -> None:
        if not hasattr(self, "cache"):
            return
        check_shape(self.cache)
        check_accounts(self.cache, self.moves, self.inclusive)
        check_orders(self.cache)
        for store in (self.cache.holdings.stores.host, self.cache.holdings.stores.disk):
            assert -1e-9 < store.used_bytes <= store.capacity_bytes + self.overfull_bytes
        held = Counter(id(e) for r in (*self.claimed, *self.running) if r.tail is not None for e in r.tail.path())
        assert all(extent.users == held[id(extent)] for extent in extents_of(self.cache))

    def teardown(self) -> None:
        """When all is done and every copy has ended, everything can be given up, and nothing is left behind."""
        if not hasattr(self, "cache"):
            return
        while self.claimed:
            self.cache.unclaim(self.claimed.pop())
        while self.moves:
            self.cache.holdings.finish(self.moves.pop(0))
        while self.running:
            request = self.running.pop()
            request.computed_tokens = request.prefill_tokens
            self.cache.release(request, request.prefill_tokens, 0)
        self.moves += self.cache.holdings.orders
        for move in self.moves:
            self.cache.holdings.finish(move)
        for extent in list(self.cache.holdings.tree.root.children.values()):
            self.cache.holdings.discard(extent)
        holdings = self.cache.holdings
        assert extents_of(self.cache) == []
        assert holdings.hbm_bytes == holdings.idle_bytes == holdings.moving_bytes == holdings.arriving_bytes == 0
        assert holdings.stores.host.used_bytes == holdings.stores.disk.used_bytes == 0

    # How it is told.

    def _step(self, request: Request | None = None, tokens: int | None = None, arrived: Move | None = None) -> None:
        """Copies that were ordered are under way; what appears anew is of a request's own tokens, or of a copy."""
        ordered = self.cache.holdings.orders[:]
        self.cache.holdings.orders.clear()
        self.moves += ordered
        written = (
            {} if request is None else self._pieces(request, request.computed_tokens if tokens is None else tokens)
        )
        self.shadow.step(self.cache, ordered, written, arrived)

    def _pieces(self, request: Request, tokens: int) -> dict[Place, Hashable]:
        """The pieces of the request's first tokens and what they are made of."""
        quantum, of = self.cache.holdings.tree.quantum, self.tokens[request]
        pieces: dict[Place, Hashable] = {}
        for end in range(quantum, tokens + 1, quantum):
            if request.hashes is None:
                pieces[~request.session, end // quantum - 1] = tuple(of[end - quantum : end])
            elif end <= len(request.hashes) * self.hash_tokens:
                pieces[tuple(request.hashes[: end // self.hash_tokens].tolist())] = tuple(of[:end])
        return pieces

    def _eldest(self) -> list[Request]:
        busy = {request.session for request in self.claimed}
        eldest: dict[int, Request] = {}
        for request in self.waiting:
            eldest.setdefault(request.session, request)
        return [request for session, request in eldest.items() if session not in busy]

    def _computing(self) -> list[Request]:
        return [r for r in self.running if not r.pending and r.computed_tokens < r.prefill_tokens]

    def _computed(self) -> list[Request]:
        return [r for r in self.running if not r.pending and r.computed_tokens == r.prefill_tokens]

    def _started(self) -> list[Request]:
        return [r for r in self.running if not r.pending]

    def _take(self, data: st.DataObject, requests: list[Request]) -> Request:
        return requests.pop(data.draw(st.integers(0, len(requests) - 1)))

    def _fresh(self, number: int) -> list[Hashable]:
        return [self._number("token") for _ in range(number)]

    def _number(self, kind: str) -> int:
        self.numbers[kind] += 1
        return self.numbers[kind]

    def _be(self, whim: int) -> None:
        if isinstance(self.policy, Fickle):
            self.policy.whim = whim

    def _below(self) -> float:
        stores = self.cache.holdings.stores
        return stores.host.used_bytes + stores.disk.used_bytes


TestKvMachine = KvMachine.TestCase
TestKvMachine.settings = settings(max_examples=100, stateful_step_count=60)

"""The memory behind the engine's accounts: where the KV of each session lies on the device and in host memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from ctxsim.cost import CostModel
from ctxsim.cost.memory import store_bytes
from ctxsim.engine import (
    HBM,
    HOST,
    RESIDENCIES,
    SCHEDULERS,
    EngineCore,
    IncrementalBatch,
    KvCache,
    Limits,
    Plan,
    Quotes,
    Request,
    Tiers,
)
from ctxsim.engine.extents import Extent
from ctxsim.engine.tiers import Move
from ctxsim.geometry import KvLayout, Span
from ctxsim.measure.arena import Arena
from ctxsim.measure.host_blocks import HostBlocks, Stretch
from ctxsim.measure.swapping import Copied, Copier
from ctxsim.spec.scenario import Scenario

MOST_CLAIMS = 2
"""Requests that can hold a prefix before they are admitted: the first that waits, and the first newcomer held back."""

_UNPRICED = cast(Quotes, None)
"""Policies that ask for quotes are not served (serving_support.POLICIES)."""


@dataclass(frozen=True)
class Room:
    """What KV there is room for: bytes of a token in all layers, and tokens on the device and in host memory.

    transit_tokens: host memory beside that, for what is on its way: sessions that are asked for hand on their room
    when they are claimed, and wait for room on the device then.
    """

    token_bytes: float
    device_tokens: int
    host_tokens: int
    transit_tokens: int


def room_of(scenario: Scenario, cost: CostModel, token_bytes: float) -> Room:
    """The room that a simulation has, in tokens; a value may take more bytes than the scenario says.

    Layers with windows keep all tokens here, and are counted so.
    """
    size, host_bytes = scenario.serving.block_size, store_bytes(scenario)[0]
    # Both accounts are in blocks: their bytes there and here have the same ratio.
    device, host = (int(held // cost.layout.block_bytes) * size for held in (cost.memory.kv_capacity_bytes, host_bytes))
    longest = min(-(-scenario.max_model_len // size) * size, device)
    return Room(token_bytes, device, host, MOST_CLAIMS * longest if host else 0)


def engine_core(scenario: Scenario, cost: CostModel, room: Room, now_s: Callable[[], float]) -> EngineCore:
    """The engine's decisions for that room, as a simulated replica has them."""
    serving = scenario.serving
    layout = KvLayout([(Span("full"), room.token_bytes)], block_size=serving.block_size)
    host_bytes = room.host_tokens * room.token_bytes
    cache = KvCache(layout, RESIDENCIES[serving.residency](_UNPRICED), Tiers(host_bytes), now_s=now_s)
    capacity_bytes = room.device_tokens * room.token_bytes
    limits = Limits(serving.max_num_seqs, serving.max_num_batched_tokens, capacity_bytes)
    decodes = IncrementalBatch(cost.spans, layout)
    return EngineCore(limits, layout, decodes, cache, SCHEDULERS[serving.scheduler]().queue())


class ServedKv:
    """An engine's KV: ``device`` and ``host`` hold what the accounts of ``core`` say, ``copier`` moves it.

    length: tokens that a running session has or is about to have. on_copied: told of every copy that has ended, with
    the requests that waited for nothing else.
    """

    def __init__(
        self, core: EngineCore, stores: tuple[torch.Tensor, torch.Tensor], copier: Copier, length: Callable[[int], int],
        on_copied: Callable[[Copied, list[Request]], None],
    ) -> None:  # fmt: skip
        size = core.layout.block_size
        self.device = Arena(stores[0], size, self._needed_on_device, self._drain)
        self.host = HostBlocks(stores[1], size, self._needed_in_host, self._drain)
        self._core = core
        self._copier = copier
        self._computing: set[int] = set()
        self._length = length
        self._on_copied = on_copied

    @property
    def copying(self) -> bool:
        """Whether a copy is under way."""
        return len(self._copier) > 0

    def wait(self) -> None:
        """Returns when one of the copies under way has ended, or sooner."""
        self._copier.wait()

    def place(self, requests: Sequence[Request]) -> list[int]:
        """Sees to it that each of them has a place for all of its session; returns where each begins."""
        self._computing = {request.session for request in requests}
        for session in self._computing:
            self.device.place(session, self._length(session))
        # Making room for one may have moved another.
        return [self.device.place(request.session, self._length(request.session)) for request in requests]

    def send_copies(self, plan: Plan) -> None:
        """The copies that planning has ordered set out; what is fetched first, for it leaves room behind."""
        self.place(plan.admitted)
        orders = sorted(self._core.holdings.orders, key=lambda move: move.source == HBM)
        self._core.holdings.orders.clear()
        for move in orders:
            self._send(move)

    def end_copies(self) -> None:
        """Copies that have ended take effect."""
        for copied in self._copier.ended():
            self._on_copied(copied, self._core.finish_move(copied.move))

    def _send(self, move: Move) -> None:
        session, stretch = ~move.extent.key, (move.extent.start, move.extent.end)
        if move.source == HBM:
            self.host.take(session, stretch)
        pieces = []
        for (start, end), host in self.host.runs(session, stretch):
            device = self.device.rows(session, start, end)
            target, source = (host, device) if move.source == HBM else (device, host)
            pieces += list(zip(target.unbind(0), source.unbind(0), strict=True))
        self._copier.order(move, pieces)

    def _drain(self) -> None:
        """Waits for all copies under way."""
        while len(self._copier):
            self._copier.wait()
            self.end_copies()

    def _needed_on_device(self) -> dict[int, int]:
        """Tokens of each session from its first on that lie on the device, or are coming or being computed there."""
        needed = {session: max(end for _, end in kept) for session, kept in self._stretches(_on_device).items()}
        core = self._core
        for request in core.running:
            session = request.session
            # The last token of a sequence that decodes has no KV before its next pass.
            stored = request in core.prefilling or request in core.fetching or session in self._computing
            needed[session] = max(needed.get(session, 0), self._length(session) - (not stored))
        return needed

    def _needed_in_host(self) -> dict[int, list[Stretch]]:
        """What lies in host memory, or is on its way there or from there."""
        return self._stretches(_in_host)

    def _stretches(self, lies_there: Callable[[Extent], bool]) -> dict[int, list[Stretch]]:
        """The extents that lie there, by session."""
        stretches: dict[int, list[Stretch]] = {}
        for key, child in self._core.holdings.tree.root.children.items():
            at: Extent | None = child
            while at is not None:
                if lies_there(at):
                    stretches.setdefault(~key, []).append((at.start, at.end))
                at = at.children.get(key)
        return stretches


def _on_device(extent: Extent) -> bool:
    return extent.lies_in(HBM)


def _in_host(extent: Extent) -> bool:
    return extent.lies_in(HOST) or (extent.move is not None and HOST in (extent.move.source, extent.move.target))

"""Host memory and disk: what HBM has no room for, the least recently used given up first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ctxsim.engine.extents import Extent
from ctxsim.engine.tiers import DISK, HBM, HOST, LruOrder, Move, OnHeld, nobody


@dataclass(frozen=True, slots=True)
class Tiers:
    """What lies below the HBM of one replica.

    inclusive: what is computed is written through to host memory, so that it can be dropped from HBM at any time; else
    (exclusive) it is written back when it is evicted, and leaves host memory when it is fetched.
    """

    host_bytes: float = 0.0
    disk_bytes: float = 0.0
    inclusive: bool = False


class Store:
    """One tier's room, and the order in which it is given up. lost_bytes: given up with no other copy left."""

    def __init__(self, tier: int, capacity_bytes: float, on_held: OnHeld) -> None:
        self.tier = tier
        self._on_held = on_held
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0.0
        self.lru = LruOrder(tier, self._candidate)

    def _candidate(self, extent: Extent) -> bool:
        """Whether it may be given up: it is here, what follows it is not, no copy is under way, nobody waits for it."""
        return (
            extent.lies_in(self.tier)
            and extent.move is None
            and extent.ends_in(self.tier)
            and (not extent.users or extent.lies_in(HBM))
        )

    def count(self, extent: Extent, sign: int) -> None:
        """Room here is taken for the extent (1), or is another's from now on (-1)."""
        self.used_bytes += sign * extent.kept_bytes
        extent.counted ^= 1 << self.tier
        self._on_held(extent.payer, self.tier, sign * extent.kept_bytes)

    def charge(self, extent: Extent, payer: int) -> None:
        """What the extent takes here is another request's to pay from now on."""
        if extent.counted >> self.tier & 1:
            self._on_held(extent.payer, self.tier, -extent.kept_bytes)
            self._on_held(payer, self.tier, extent.kept_bytes)

    def put(self, extent: Extent) -> None:
        """The extent lies here from now on, in room that was taken for it."""
        extent.tiers |= 1 << self.tier
        self.lru.push(extent)

    def leave(self, extent: Extent) -> None:
        """The extent lies here no longer; its room is another matter."""
        extent.tiers &= ~(1 << self.tier)
        parent = extent.parent
        if parent is not None and self._candidate(parent):
            self.lru.push(parent)

    def take(self, extent: Extent) -> None:
        """The extent and its room are given up."""
        self.count(extent, -1)
        self.leave(extent)


class Stores:
    """The tiers below HBM. Room is handed on when a copy is ordered: what leaves passes through buffers.

    orders: where copies are ordered. on_lost: called with an extent that lies nowhere any more. on_held: see tiers.
    """

    def __init__(
        self, tiers: Tiers, orders: list[Move], on_lost: Callable[[Extent], None], on_held: OnHeld = nobody
    ) -> None:
        self.host = Store(HOST, tiers.host_bytes, on_held)
        self.disk = Store(DISK, tiers.disk_bytes, on_held)
        self.lost_bytes = 0.0
        self._orders = orders
        self._on_lost = on_lost

    def offload(self, extent: Extent, write_through: bool) -> bool:
        """Orders a copy to host memory; False where there is no room to be had."""
        if not self._make_room(self.host, extent.kept_bytes):
            return False
        self.host.count(extent, 1)
        extent.move = Move(extent, HBM, HOST, write_through=write_through)
        self._orders.append(extent.move)
        return True

    def hand_on(self, extent: Extent) -> None:
        """The extent is about to be fetched for good: its room is another's already."""
        self._where(extent).count(extent, -1)

    def take_back(self, extent: Extent) -> None:
        """The extent is not fetched after all; until something else is given up the store may hold more than it can."""
        self._where(extent).count(extent, 1)

    def source_of(self, extent: Extent) -> int:
        """The tier below HBM to fetch it from."""
        return self._where(extent).tier

    def fetch(self, extent: Extent, stays: bool) -> None:
        """The extent is copied to HBM: for good, its room handed on before, or it ``stays`` in host memory as well."""
        if not stays:
            self._where(extent).leave(extent)
        elif not extent.lies_in(HOST):
            self.disk.take(extent)

    def queue(self, extent: Extent) -> None:
        """The extent may be given up again where it lies."""
        for store in (self.host, self.disk):
            if extent.lies_in(store.tier):
                store.lru.push(extent)

    def drop(self, extent: Extent) -> None:
        """The extent is of no use any more."""
        for store in (self.host, self.disk):
            if extent.lies_in(store.tier):
                store.take(extent)

    def _where(self, extent: Extent) -> Store:
        return self.host if extent.lies_in(HOST) else self.disk

    def _make_room(self, store: Store, wanted_bytes: float) -> bool:
        if wanted_bytes > store.capacity_bytes:
            return False
        while store.used_bytes + wanted_bytes > store.capacity_bytes:
            extent = store.lru.oldest()
            if extent is None:
                return False
            self._give_up(store, extent)
        return True

    def _give_up(self, store: Store, extent: Extent) -> None:
        """From host memory to disk, where there is one; else away."""
        store.take(extent)
        if store is self.host and not extent.lies_in(HBM) and self._make_room(self.disk, extent.kept_bytes):
            self.disk.count(extent, 1)
            extent.tiers |= 1 << DISK
            extent.move = Move(extent, HOST, DISK)
            self._orders.append(extent.move)
        elif not extent.tiers:
            self.lost_bytes += extent.kept_bytes
            self._on_lost(extent)

"""All extents of one replica in all tiers: what is held, idle, moving, and how each byte comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ctxsim.engine.extents import Extent, PrefixTree
from ctxsim.engine.request import Request
from ctxsim.engine.stores import Stores, Tiers
from ctxsim.engine.tiers import HBM, HOST, LruOrder, Move, OnHeld, nobody
from ctxsim.geometry import KvLayout


class Holdings:
    """The accounts of extents.

    What no request holds is idle. hbm_bytes: HBM of all extents, those on their way in included; idle_bytes: of
    the idle ones; moving_bytes: of these, what copies are reading; arriving_bytes: of the held ones, what copies
    are writing. orders: copies to carry out. version: changes with whatever may have made room. used: whether anything
    was ever kept. now_s: when it is, kept with what falls idle. on_held: told of all that no request being served can
    use, in every tier.
    """

    def __init__(
        self, layout: KvLayout, tiers: Tiers, hash_tokens: int, now_s: Callable[[], float], on_held: OnHeld = nobody
    ) -> None:
        self.tree = PrefixTree(layout, hash_tokens)
        self.lru = LruOrder(HBM, _is_idle_in_hbm)
        self.orders: list[Move] = []
        self.stores = Stores(tiers, self.orders, self._vanish, on_held)
        self.hbm_bytes = 0.0
        self.idle_bytes = 0.0
        self.moving_bytes = 0.0
        self.arriving_bytes = 0.0
        self.version = 0
        self.used = False
        self._inclusive = tiers.inclusive
        self._now_s = now_s
        self._on_held = on_held
        self._uses = 0

    @property
    def unused_bytes(self) -> float:
        """HBM of what no request being served can use: idle, or still on its way in."""
        return self.idle_bytes + self.arriving_bytes

    def hold(self, tail: Extent) -> None:
        """One request more holds the prefix that ends here; what comes from an exclusive tier hands on its room."""
        for extent in tail.path():
            if not extent.users and extent.lies_in(HBM):
                self._count_idle(extent, -1)
            extent.users += 1
            if not self._inclusive and not extent.lies_in(HBM) and extent.users == 1:
                self.stores.hand_on(extent)

    def let_go(self, tail: Extent, used: bool) -> None:
        """One request less holds the prefix that ends here; ``used``: it counts as a use."""
        self.version += used
        self._uses += used
        for extent in tail.path():
            extent.users -= 1
            if used:
                extent.used_at, extent.idle_since_s = self._uses, self._now_s()
            if extent.users:
                continue
            if extent.lies_in(HBM):
                self._count_idle(extent, 1)
            elif not self._inclusive:
                self.stores.take_back(extent)
            self._queue(extent)
        if tail.doomed:
            self.discard(tail.path()[0])

    def charge(self, tail: Extent, payer: int) -> None:
        """The prefix that ends here, which the request holds, is its to pay once it lets go."""
        for extent in tail.path():
            if extent.payer != payer:
                self.stores.host.charge(extent, payer)
                self.stores.disk.charge(extent, payer)
                extent.payer = payer

    def bring(self, extent: Extent, request: Request) -> int:
        """Sees to it that a held extent comes to HBM; returns the tier it was found in."""
        if extent.lies_in(HBM):
            if extent.move is None or extent.move.source == HBM:
                return HBM
            move = extent.move
        else:
            # What is on its way to disk still lies in host memory.
            source = self.stores.source_of(extent) if extent.move is None else HOST
            move = Move(extent, source, HBM, request)
            self.stores.fetch(extent, stays=self._inclusive)
            extent.tiers |= 1 << HBM
            extent.move = move
            self.hbm_bytes += extent.kept_bytes
            self._count_arriving(extent, 1)
            self.orders.append(move)
        move.waiters.append(request)
        request.pending += 1
        return move.source

    def offload(self, extent: Extent, write_through: bool = False) -> bool:
        """Orders a copy of an idle extent to host memory; False where there is no room to be had."""
        if not self.stores.offload(extent, write_through):
            return False
        self.moving_bytes += extent.kept_bytes
        if extent.parent is not None:
            self._queue(extent.parent)
        return True

    def drop(self, extent: Extent) -> None:
        """An idle extent leaves HBM."""
        self._count_idle(extent, -1)
        self.hbm_bytes -= extent.kept_bytes
        extent.tiers &= ~(1 << HBM)
        parent = extent.parent
        if extent.tiers:
            # What followed it may have gone before: the same whether it went block by block or at once.
            for child in list(extent.children.values()):
                self.settle(child)
        else:
            self._vanish(extent)
        if parent is not None:
            self._queue(parent)

    def finish(self, move: Move) -> list[Request]:
        """A copy has ended; returns the requests that wait for nothing else."""
        extent = move.extent
        self.version += 1
        if move.source == HBM:
            self._leave_hbm(move)
        elif move.target == HBM:
            self._count_arriving(extent, -1)
        if extent.move is move:
            extent.move = None
        ready = []
        for request in move.waiters:
            request.pending -= 1
            if not request.pending:
                ready.append(request)
        if extent.doomed and not extent.users:
            self.discard(extent)
        elif extent.tiers:
            self.settle(extent)
        return ready

    def settle(self, extent: Extent) -> None:
        """Joins an extent with the one before it where they are alike, and queues what may be given up."""
        self._queue(self.tree.join(extent))

    def discard(self, extent: Extent) -> None:
        """The extent and what follows it are of no use: gone now, or as soon as they are let go."""
        for child in list(extent.children.values()):
            self.discard(child)
        if extent.parent is None:
            # It was waiting for the last of them to go, and went with it.
            return
        if extent.users or extent.move is not None or extent.children:
            extent.doomed = True
            # Until then it gives way as any other does.
            self._queue(extent)
            return
        if extent.lies_in(HBM):
            self.version += 1
            self._count_idle(extent, -1)
            self.hbm_bytes -= extent.kept_bytes
            extent.tiers &= ~(1 << HBM)
        self.stores.drop(extent)
        self._unlink(extent)

    def close(self, moves: Iterable[Move]) -> None:
        """Nothing is asked any more: whoever is told of what is held is told that it ends.

        moves: those under way: what they copy may follow what is nowhere any more.
        """
        moving = (extent for move in moves for extent in move.extent.path())
        for extent in dict.fromkeys((*self.tree.extents(), *moving)):
            if extent.lies_in(HBM) and not extent.users:
                self._on_held(extent.payer, HBM, -extent.kept_bytes)
            if extent.move is not None and extent.move.target == HBM:
                self._on_held(extent.payer, HBM, -extent.kept_bytes)
            for store in (self.stores.host, self.stores.disk):
                if extent.counted >> store.tier & 1:
                    self._on_held(extent.payer, store.tier, -extent.kept_bytes)

    def _leave_hbm(self, move: Move) -> None:
        """A copy out of HBM has ended: the room is free, unless it was a write-through or is in use again."""
        extent = move.extent
        if not extent.users:
            self.moving_bytes -= extent.kept_bytes
        if move.write_through or not extent.users:
            self.stores.host.put(extent)
        else:
            self.stores.host.count(extent, -1)
        if not move.write_through and not extent.users:
            extent.move = None
            self.drop(extent)

    def _count_idle(self, extent: Extent, sign: int) -> None:
        self.idle_bytes += sign * extent.kept_bytes
        self._on_held(extent.payer, HBM, sign * extent.kept_bytes)
        if extent.move is not None:
            self.moving_bytes += sign * extent.kept_bytes

    def _count_arriving(self, extent: Extent, sign: int) -> None:
        self.arriving_bytes += sign * extent.kept_bytes
        self._on_held(extent.payer, HBM, sign * extent.kept_bytes)

    def _queue(self, extent: Extent) -> None:
        """Whatever tier the extent may be given up in is told."""
        if extent.parent is None:
            return
        if extent.lies_in(HBM) and _is_idle_in_hbm(extent):
            self.lru.push(extent)
        self.stores.queue(extent)

    def _vanish(self, extent: Extent) -> None:
        """The extent lies nowhere any more, and what followed it is of no use."""
        for child in list(extent.children.values()):
            self.discard(child)
        if extent.parent is not None:
            self._unlink(extent)

    def _unlink(self, extent: Extent) -> None:
        parent = extent.parent
        self.tree.remove(extent)
        if parent is None:
            return
        if parent.doomed:
            self.discard(parent)
        else:
            self._queue(parent)


def _is_idle_in_hbm(extent: Extent) -> bool:
    """Whether it may be given up in HBM: nobody holds it, no copy is under way, and nothing there follows it that is
    not on its way out."""
    if extent.users or extent.move is not None or not extent.lies_in(HBM):
        return False
    return not any(child.lies_in(HBM) and child.move is None for child in extent.children.values())

"""What becomes of the KV of sessions that are not being served when the room it takes is wanted.

The least recently used go first under Keep, Recompute and Swap. Cheapest and Clairvoyant weigh, for each session, what
it costs to hold it until its next use, to swap it out and in again, and to compute it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple, Protocol

from ctxsim.engine.extents import Extent
from ctxsim.engine.quotes import Quotes
from ctxsim.engine.tiers import DISK, HBM, HOST


class Victim(NamedTuple):
    """An extent to give up in HBM, and whether to copy it to host memory first."""

    extent: Extent
    offload: bool


class Residency(Protocol):
    """One policy. holds: it may keep newcomers waiting. offloads: it uses host memory. weighs: it chooses by cost."""

    holds: bool
    offloads: bool
    weighs: bool

    def choose(self, candidates: Sequence[Extent], forced: bool, can_offload: bool) -> Victim | None:
        """What to give up next, None to wait rather; asked only where the policy weighs.

        forced: something served already needs the room, so that waiting is no choice.
        """
        ...

    def fetches(self, extent: Extent) -> bool:
        """Whether to copy an extent back from below HBM rather than compute it again."""
        ...

    def offloads_running(self, tokens: int, kept_bytes: float) -> bool:
        """Whether a preempted request's KV is swapped out rather than dropped."""
        ...


class Recompute:
    """Drops the least recently used, and computes it again when it is asked for (vLLM's prefix cache)."""

    holds = offloads = weighs = False

    def choose(self, candidates: Sequence[Extent], forced: bool, can_offload: bool) -> Victim | None:
        """See Residency."""
        raise NotImplementedError("the order of use decides")

    def fetches(self, extent: Extent) -> bool:
        """See Residency."""
        return True

    def offloads_running(self, tokens: int, kept_bytes: float) -> bool:
        """See Residency."""
        return False


class Keep(Recompute):
    """Keeps every session in HBM until it ends; newcomers wait. Only what is served already can displace another."""

    holds = True


class Swap(Recompute):
    """Swaps the least recently used out to host memory, and in again when it is asked for."""

    offloads = True

    def offloads_running(self, tokens: int, kept_bytes: float) -> bool:
        """See Residency."""
        return True


class Cheapest:
    """Does what is expected to cost least, session by session.

    Holding a session costs its share of the replica for as long as it is expected to be idle; swapping it the HBM
    it occupies on the way out and in, and host memory between; dropping it the replica while it is computed again.
    The session goes first whose loss is least for what holding it would have cost; a newcomer waits where the
    loss is greater than that.
    """

    holds = offloads = weighs = True

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes

    def choose(self, candidates: Sequence[Extent], forced: bool, can_offload: bool) -> Victim | None:
        """See Residency."""
        best, least = None, inf
        for extent in candidates:
            loss, offload = self._loss(extent, can_offload)
            if best is None or (loss, extent.used_at) < (least, best.extent.used_at):
                best, least = Victim(extent, offload), loss
        return best if forced or least < 1 else None

    def _loss(self, extent: Extent, can_offload: bool) -> tuple[float, bool]:
        """What it costs to give the extent up over what it costs to hold it, and whether it had better be swapped."""
        idle_s = self.remaining_s(extent)
        if idle_s == inf:
            # Nobody will miss it.
            return 0.0, False
        swap_usd = self._swap_usd(extent, idle_s) if can_offload else inf
        drop_usd = self._quotes.recompute_usd(extent.start, extent.end - extent.start)
        hold_usd = self._quotes.hold_usd(HBM, extent.kept_bytes, idle_s)
        return min(swap_usd, drop_usd) / hold_usd if hold_usd else inf, swap_usd < drop_usd

    def remaining_s(self, extent: Extent) -> float:
        """How much longer the extent is expected to be idle."""
        return self._quotes.expected_idle_s(session_of(extent), self._quotes.now_s() - extent.idle_since_s)

    def _swap_usd(self, extent: Extent, idle_s: float) -> float:
        quotes, tokens = self._quotes, extent.end - extent.start
        out_usd = 0.0 if extent.lies_in(HOST) else quotes.copy_usd(HBM, HOST, extent.kept_bytes, tokens)
        back_usd = quotes.copy_usd(HOST, HBM, extent.kept_bytes, tokens)
        return out_usd + quotes.hold_usd(HOST, extent.kept_bytes, idle_s) + back_usd

    def fetches(self, extent: Extent) -> bool:
        """See Residency."""
        source = HOST if extent.lies_in(HOST) else DISK
        tokens = extent.end - extent.start
        fetch_usd = self._quotes.copy_usd(source, HBM, extent.kept_bytes, tokens)
        return fetch_usd < self._quotes.recompute_usd(extent.start, tokens)

    def offloads_running(self, tokens: int, kept_bytes: float) -> bool:
        """See Residency."""
        quotes = self._quotes
        swap_usd = quotes.copy_usd(HBM, HOST, kept_bytes, tokens) + quotes.copy_usd(HOST, HBM, kept_bytes, tokens)
        return swap_usd < quotes.recompute_usd(0, tokens)


class Clairvoyant(Cheapest):
    """As Cheapest, but knows when each session will ask again."""

    def remaining_s(self, extent: Extent) -> float:
        """See Cheapest."""
        return max(0.0, self._quotes.next_use_s(session_of(extent)) - self._quotes.now_s())


def session_of(extent: Extent) -> int:
    """The session whose extent it is, where prompts carry no hashes."""
    return ~extent.key


RESIDENCIES: dict[str, Callable[[Quotes], Residency]] = {
    "keep": lambda quotes: Keep(),
    "swap": lambda quotes: Swap(),
    "recompute": lambda quotes: Recompute(),
    "cheapest": Cheapest,
    "clairvoyant": Clairvoyant,
}

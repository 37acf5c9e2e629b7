"""What a replica's time and memory go to where nothing is computed, and what the gaps between turns cost.

Every gap of a session is paid for: HBM while its KV lies there idle or is on its way (its share of the KV pool, at the
replica's price), host memory and disk while it lies there, and the replica for as long as it takes to compute again
what was lost. The contention-free bound is what the same gaps would have cost, had each been alone on its replica and
known beforehand: the least of holding it in HBM, of swapping it out and in, and of computing it again.

Who pays is known to the request: what it used last in a tier is its own to pay for, and the copies it orders, or that
carry away what it used last. Each change of what is held is charged at a clock of its tier (seconds without work for
HBM, all seconds below), less at its beginning and more at its end; copies share a clock of what they cost among those
under way.

The bill (metrics.money) is divided by the same byte-seconds at the same prices. Below HBM the cost of gaps is a part of
the bill. In HBM it is more: a gap pays for its share of the pool at all times, since it keeps others out, while a busy
replica is paid for by whom it computes for, and holding has the gap's share of idle times alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from ctxsim.cost.gaps import GapPrices
from ctxsim.engine import DISK, HBM, HOST, Move
from ctxsim.metrics import Upkeep
from ctxsim.sim.charges import SWITCHING, Charges
from ctxsim.sim.journal import ServedRequest

Held = tuple[float, float, float]
"""Bytes in HBM (idle or on their way), in host memory and on disk."""


@dataclass(slots=True)
class GapCosts:
    """USD of all gaps, by what they were paid for, and the least that they could have cost."""

    hold_hbm_usd: float = 0.0
    hold_host_usd: float = 0.0
    hold_disk_usd: float = 0.0
    recompute_usd: float = 0.0
    bound_usd: float = 0.0
    gaps: int = 0


PAID_FOR = ("hold_hbm_usd", "hold_host_usd", "hold_disk_usd", "recompute_usd")


class Rest(NamedTuple):
    """A time in which nothing was computed and what was held stayed as it was; ``waited``: somebody for a copy."""

    since_s: float
    until_s: float
    held: Held
    waited: bool


_Change = tuple[int, int, float, float]
"""A request, a tier, bytes more, and the tier's clock then."""


class Ledger:
    """The gap costs of one replica, as they come, and its time in which nothing was computed (see metrics.Upkeep).

    charges: where what requests pay is added up; usd_per_s: the replica's price.
    """

    def __init__(self, prices: GapPrices, charges: Charges, usd_per_s: float) -> None:
        self.costs = GapCosts()
        self.held_byte_s = [0.0, 0.0, 0.0]
        self.idle_byte_s = 0.0
        self.idle_s = 0.0
        self.copy_wait_s = 0.0
        self._rests: list[Rest] = []
        self._prices = prices
        self._at_s = 0.0
        self._held: Held = (0.0, 0.0, 0.0)
        self._charges = charges
        self._usd_per_s = usd_per_s
        self._usd_per_byte_s = tuple(prices.hold_usd(tier, 1.0, 1.0) for tier in (HBM, HOST, DISK))
        self._below: list[tuple[int, int, float]] = []
        self._told_s = 0.0
        self._late: list[_Change] = []
        self._end_s = inf
        self._copies: dict[Move, tuple[int, float]] = {}
        self._per_copy_s = 0.0

    def keeps(self, payer: int, tier: int, more_bytes: float) -> None:
        """The request has so much more, or less, lying there that nobody being served uses."""
        if tier == HBM:
            self._change(payer, tier, more_bytes, self.idle_s)
        else:
            self._below.append((payer, tier, more_bytes))

    def ran(self, at_s: float, slowed_s: float) -> None:
        """A run is over, but for what its end brings: what changed meanwhile changed evenly."""
        if self._below:
            self._tell(at_s)
        self._told_s = at_s
        self._late.clear()
        if slowed_s:
            self._per_copy_s += slowed_s / len(self._copies)

    def sent(self, move: Move) -> None:
        """A copy in or out of HBM is under way, for whoever asked for it, or used last what it takes away."""
        payer = move.extent.payer if move.request is None else move.request.index
        self._copies[move] = payer, self._per_copy_s

    def ended(self, move: Move) -> None:
        """A copy has taken effect."""
        payer, since_s = self._copies.pop(move)
        self._charges.add(SWITCHING, payer, self._usd_per_s * (self._per_copy_s - since_s))

    def tally(self, at_s: float, held: Held) -> None:
        """So much is held from ``at_s`` on; between two calls it changes evenly, but what comes where nothing was held
        comes at once: only the end of a run leaves it."""
        if self._below:
            self._tell(at_s)
        self._told_s = at_s
        seconds = at_s - self._at_s
        before = self._held
        if seconds > 0 and any(before):
            byte_s = self.held_byte_s
            byte_s[HBM] += (before[HBM] + held[HBM]) / 2 * seconds
            byte_s[HOST] += (before[HOST] + held[HOST]) / 2 * seconds
            byte_s[DISK] += (before[DISK] + held[DISK]) / 2 * seconds
        self._at_s = at_s
        self._held = held

    def rested(self, rest: Rest) -> None:
        """Nothing was computed for so long."""
        if self._rests and self._rests[-1].until_s < rest.since_s:
            self._rests.clear()
            self._late.clear()
        self._rests.append(rest)
        self.tally(rest.until_s, rest.held)
        self._count(rest, rest.until_s - rest.since_s)

    def end(self, end_s: float) -> None:
        """The last request of all ended then: rests after that do not count, nor what changed in them."""
        self._end_s = end_s
        for rest in self._rests:
            after_s = rest.until_s - max(end_s, rest.since_s)
            if after_s > 0:
                self._count(rest, -after_s)
                for tier in (HBM, HOST, DISK):
                    self.held_byte_s[tier] -= after_s * rest.held[tier]
        for payer, tier, more_bytes, clock_s in self._late:
            late_s = clock_s - (min(clock_s, self.idle_s) if tier == HBM else min(clock_s, end_s))
            self._charges.add(tier, payer, self._usd_per_byte_s[tier] * more_bytes * late_s)
        self._told_s = end_s

    def settle(self) -> None:
        """All that is held is given up, and copies that are still under way are of no use."""
        if self._below:
            self._tell(self._end_s)
        for move in list(self._copies):
            self.ended(move)

    def _tell(self, at_s: float) -> None:
        """What changed below HBM since the last call is taken to have changed half way."""
        evenly = at_s > self._told_s and any(self._held)
        half_s = min((self._told_s + at_s) / 2 if evenly else at_s, self._end_s)
        for payer, tier, more_bytes in self._below:
            self._change(payer, tier, more_bytes, half_s)
        self._below.clear()

    def _change(self, payer: int, tier: int, more_bytes: float, clock_s: float) -> None:
        """At that time of the tier's clock: what it costs from then on will have been added at the end."""
        self._late.append((payer, tier, more_bytes, clock_s))
        self._charges.add(tier, payer, -self._usd_per_byte_s[tier] * more_bytes * clock_s)

    def _count(self, rest: Rest, seconds: float) -> None:
        if rest.waited:
            self.copy_wait_s += seconds
            self._per_copy_s += seconds / len(self._copies)
        else:
            self.idle_s += seconds
            self.idle_byte_s += seconds * rest.held[HBM]

    def upkeep(self) -> Upkeep:
        """What the bill is divided by, up to now."""
        hbm, host, disk = self.held_byte_s
        return Upkeep(self.idle_s, self.copy_wait_s, self.idle_byte_s, (hbm, host, disk))

    def admitted(self, request: ServedRequest, kept_bytes: float) -> None:
        """A turn begins to be served; ``kept_bytes``: of all of it that is reusable."""
        known = request.demand.reusable_tokens
        found = request.computed_tokens
        if not known or request.preemptions:
            return
        question = request.prompt_tokens - known
        self.costs.recompute_usd += self._prices.recompute_usd(found, max(0, known - found), question)
        if request.gap_s is not None:
            self.costs.gaps += 1
            self.costs.bound_usd += self._prices.ways(known, kept_bytes, request.gap_s, question).least_usd

    def close(self) -> GapCosts:
        """The costs up to now."""
        prices, byte_s = self._prices, self.held_byte_s
        self.costs.hold_hbm_usd = prices.hold_usd(HBM, byte_s[HBM], 1.0)
        self.costs.hold_host_usd = prices.hold_usd(HOST, byte_s[HOST], 1.0)
        self.costs.hold_disk_usd = prices.hold_usd(DISK, byte_s[DISK], 1.0)
        return self.costs


def total(parts: Sequence[GapCosts]) -> dict[str, float | int | None]:
    """The costs of several replicas together. regret_usd: what they are above the bound; null without known gaps."""
    paid = {name: sum(getattr(part, name) for part in parts) for name in PAID_FOR}
    cost_usd = sum(paid.values())
    gaps = sum(part.gaps for part in parts)
    bound_usd = sum(part.bound_usd for part in parts) if gaps else None
    return {
        "gaps": gaps,
        "total_usd": cost_usd,
        **paid,
        "bound_usd": bound_usd,
        "regret_usd": None if bound_usd is None else cost_usd - bound_usd,
    }

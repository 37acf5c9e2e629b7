"""What it costs to bring a session's KV across the gap between two of its turns: held, swapped, or computed again.

Prices are those of one replica. Its accelerators pay for KV in HBM byte for byte (its share of the pool, for as long as
it lies there or is on its way) and for all of the replica while a prompt is computed again; host memory and disk have
prices of their own. Nothing else is on the replica or its links: this is the contention-free cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ctxsim.cost.course import alone_s
from ctxsim.cost.model import CostModel
from ctxsim.cost.money import replica_usd_per_s
from ctxsim.cost.topology import HBM, HOST, Fabric
from ctxsim.cost.transfers import CopySetup
from ctxsim.spec.scenario import Scenario

MOST_REMEMBERED = 4096
"""Computations whose seconds a replica's prices remember."""


@dataclass(frozen=True, slots=True)
class Ways:
    """USD of one gap in each way; swap_usd: None where there is no host memory to swap to."""

    hold_usd: float
    swap_usd: float | None
    recompute_usd: float

    @property
    def least_usd(self) -> float:
        """The cheapest way's cost, of a gap whose length is known beforehand."""
        return min(usd for usd in (self.hold_usd, self.swap_usd, self.recompute_usd) if usd is not None)

    @property
    def least(self) -> str:
        """The cheapest way: hold, swap or recompute (the first of equals)."""
        ways = {"hold": self.hold_usd, "swap": self.swap_usd, "recompute": self.recompute_usd}
        return next(way for way, usd in ways.items() if usd == self.least_usd)


class GapPrices:
    """Prices and times of one replica of a scenario's first group."""

    def __init__(self, scenario: Scenario, cost: CostModel, replica: int = 0) -> None:
        serving = scenario.serving
        self._scenario = scenario
        self._cost = cost
        self._fabric = Fabric.of(scenario)
        self._bytes_per_s: dict[tuple[int, int], float] = {}
        self._setup = CopySetup(scenario)
        self._replica = replica
        self._usd_per_s = replica_usd_per_s(scenario)
        self._alone_s: dict[tuple[int, int], float] = {}
        self._can_swap = serving.host_kv_capacity > 0
        self._inclusive = serving.host_tier == "inclusive"

    def recompute_usd(self, past_tokens: int, new_tokens: int) -> float:
        """The whole replica, while ``new_tokens`` are computed after ``past_tokens`` that are there."""
        seconds = self._alone_s.get((past_tokens, new_tokens))
        if seconds is None:
            seconds = self._compute_s(past_tokens, new_tokens)
        return self._usd_per_s * seconds

    def _compute_s(self, past_tokens: int, new_tokens: int) -> float:
        """Worked out, and remembered: users of equal lengths ask for the same few again and again."""
        per_iteration = self._scenario.serving.max_num_batched_tokens
        seconds = alone_s(self._cost.law, self._cost.spans, new_tokens, past_tokens, per_iteration)
        if len(self._alone_s) >= MOST_REMEMBERED:
            self._alone_s.clear()
        self._alone_s[past_tokens, new_tokens] = seconds
        return seconds

    def copy_s(self, source: int, target: int, moved_bytes: float, tokens: int) -> float:
        """Seconds of a copy that has its link to itself."""
        blocks = -(-tokens // self._scenario.serving.block_size)
        bytes_per_s = self._bytes_per_s.get((source, target))
        if bytes_per_s is None:
            bytes_per_s = float(self._fabric.lone_bytes_per_s(self._replica, source, target))
            self._bytes_per_s[source, target] = bytes_per_s
        return self._setup.seconds(source, blocks) + moved_bytes / bytes_per_s

    def copies_s(self, moved_bytes: float, tokens: int, tier: int = HOST) -> float:
        """Seconds of the copies of one gap that HBM takes part in: out and, from the tier where the KV lay, in; in
        alone under inclusive tiers, which copied out before."""
        back_s = self.copy_s(tier, HBM, moved_bytes, tokens)
        return back_s if self._inclusive else back_s + self.copy_s(HBM, HOST, moved_bytes, tokens)

    def hold_usd(self, tier: int, held_bytes: float, seconds: float) -> float:
        """Bytes that lie in a tier for so long."""
        price = self._scenario.price
        if tier == HBM:
            return float(held_bytes / self._cost.memory.kv_capacity_bytes * self._usd_per_s * seconds)
        of_tier = price.host_memory_usd_per_byte_s if tier == HOST else price.disk_usd_per_byte_s
        return float(held_bytes * of_tier * seconds)

    def kept_until_s(self, tier: int, tokens: int, kept_bytes: float) -> float:
        """The gap up to which it costs less to keep KV in a tier than to compute it again; infinite where keeping it
        costs nothing, 0 where the copies alone cost more.

        gap = copies_s + (recompute_usd - HBM's price a second x copies_s) / the tier's price a second, HBM's without
        copies: it holds HBM while it is copied, and the tier for the rest.
        """
        usd_per_s = self.hold_usd(tier, kept_bytes, 1.0)
        copies_s = 0.0 if tier == HBM else self.copies_s(kept_bytes, tokens, tier)
        left_usd = self.recompute_usd(0, tokens) - self.hold_usd(HBM, kept_bytes, copies_s)
        if left_usd < 0:
            return 0.0
        return copies_s + left_usd / usd_per_s if usd_per_s else inf

    def ways(self, tokens: int, kept_bytes: float, gap_s: float) -> Ways:
        """The cost of a gap: ``tokens`` of context, ``kept_bytes`` of whole blocks.

        hold: in HBM for the gap. swap: in HBM while it is copied, in host memory for the rest. recompute: all tokens.
        """
        swap_usd = None
        if self._can_swap:
            copies_s = self.copies_s(kept_bytes, tokens)
            away_s = max(0.0, gap_s - copies_s)
            swap_usd = self.hold_usd(HBM, kept_bytes, copies_s) + self.hold_usd(HOST, kept_bytes, away_s)
        return Ways(self.hold_usd(HBM, kept_bytes, gap_s), swap_usd, self.recompute_usd(0, tokens))

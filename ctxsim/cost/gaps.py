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


@dataclass(frozen=True, slots=True)
class Stay:
    """One session's KV in one tier for a gap: HBM is held while it is copied (out_s, back_s), the tier for the rest.

    hbm_usd_per_s, usd_per_s: of the KV in HBM, and in the tier. A user who does not come back (return_ratio: the share
    of those who do) is waited for just as long, but nothing is copied back.
    """

    hbm_usd_per_s: float
    usd_per_s: float
    out_s: float
    back_s: float

    def copies_s(self, return_ratio: float = 1.0) -> float:
        """The mean time of the copies of one gap."""
        return return_ratio * self.back_s + self.out_s

    def usd(self, gap_s: float, return_ratio: float = 1.0) -> float:
        """What a gap costs in the mean."""
        back_s, gone_s = max(0.0, gap_s - self.copies_s()), max(0.0, gap_s - self.out_s)
        away_s = return_ratio * back_s + (1 - return_ratio) * gone_s
        return self.hbm_usd_per_s * self.copies_s(return_ratio) + self.usd_per_s * away_s

    def until_s(self, again_usd: float, return_ratio: float = 1.0) -> float:
        """The gap up to which that costs less than to compute the KV again, if the user comes back; infinite where the
        tier costs nothing, 0 where the copies alone cost more.

        gap = copies_s + (return_ratio x again_usd - hbm_usd_per_s x copies_s) / usd_per_s, if that is time to copy it
        out and back; before that, the tier holds the KV of those alone who do not come back.
        """
        copies_s = self.copies_s(return_ratio)
        left_usd = return_ratio * again_usd - self.hbm_usd_per_s * copies_s
        if left_usd < 0:
            return 0.0
        if not self.usd_per_s:
            return inf
        away_s, never = left_usd / self.usd_per_s, 1 - return_ratio
        return copies_s + away_s if away_s >= never * self.back_s else self.out_s + away_s / never


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

    def recompute_usd(self, past_tokens: int, new_tokens: int, question_tokens: int = 0) -> float:
        """The whole replica, for as long as ``new_tokens`` after ``past_tokens`` that are there make a prompt longer.

        The prompt's last ``question_tokens`` are computed in any case, in one iteration with the last that are computed
        again where they fit: seconds(past, new + question) - seconds(past + new, question), with none of them
        seconds(past, new). So a few tokens more beside a question cost next to nothing, and not a read of all weights.
        """
        seconds = self._seconds(past_tokens, new_tokens + question_tokens)
        if question_tokens:
            seconds -= self._seconds(past_tokens + new_tokens, question_tokens)
        return self._usd_per_s * max(0.0, seconds)

    def _seconds(self, past_tokens: int, new_tokens: int) -> float:
        """While ``new_tokens`` are computed after ``past_tokens``, alone."""
        seconds = self._alone_s.get((past_tokens, new_tokens))
        return self._compute_s(past_tokens, new_tokens) if seconds is None else seconds

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

    def hold_usd(self, tier: int, held_bytes: float, seconds: float) -> float:
        """Bytes that lie in a tier for so long."""
        price = self._scenario.price
        if tier == HBM:
            return float(held_bytes / self._cost.memory.kv_capacity_bytes * self._usd_per_s * seconds)
        of_tier = price.host_memory_usd_per_byte_s if tier == HOST else price.disk_usd_per_byte_s
        return float(held_bytes * of_tier * seconds)

    def stay(self, tier: int, tokens: int, kept_bytes: float) -> Stay:
        """The KV of one session in a tier; under inclusive tiers it was copied out before, where it lies beside HBM."""
        hbm_usd_per_s, usd_per_s = (self.hold_usd(where, kept_bytes, 1.0) for where in (HBM, tier))
        if tier == HBM:
            return Stay(hbm_usd_per_s, usd_per_s, 0.0, 0.0)
        out_s = 0.0 if self._inclusive else self.copy_s(HBM, HOST, kept_bytes, tokens)
        return Stay(hbm_usd_per_s, usd_per_s, out_s, self.copy_s(tier, HBM, kept_bytes, tokens))

    def kept_until_s(self, tier: int, tokens: int, kept_bytes: float, question_tokens: int = 0) -> float:
        """The gap up to which it costs less to keep KV in a tier than to compute it again (see Stay.until_s)."""
        return self.stay(tier, tokens, kept_bytes).until_s(self.recompute_usd(0, tokens, question_tokens))

    def ways(self, tokens: int, kept_bytes: float, gap_s: float, question_tokens: int = 0) -> Ways:
        """The cost of a gap: ``tokens`` of context, ``kept_bytes`` of whole blocks, before a question of so many.

        hold: in HBM for the gap. swap: in HBM while it is copied, in host memory for the rest. recompute: all tokens.
        """
        hold_usd = self.stay(HBM, tokens, kept_bytes).usd(gap_s)
        swap_usd = self.stay(HOST, tokens, kept_bytes).usd(gap_s) if self._can_swap else None
        return Ways(hold_usd, swap_usd, self.recompute_usd(0, tokens, question_tokens))

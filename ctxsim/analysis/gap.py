"""One gap between two turns of a session, alone on its replica: what each way across it costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices, Ways
from ctxsim.cost.topology import HBM, HOST

TIERS = ("hbm", "host", "disk")
"""Their names, in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The first gap of a session. tokens: of its context, whose whole blocks are kept_bytes. idle_s: how long it is.

    hold_usd_per_s, host_usd_per_s: of its share of the KV pool, and of host memory. copies_s: out and in; None where
    there is no host memory to swap to. cheaper_until_s: by tier, the gap up to which to keep KV there costs less than
    to compute it again (see GapPrices.kept_until_s).
    """

    tokens: int
    kept_bytes: float
    idle_s: float
    ways: Ways
    hold_usd_per_s: float
    host_usd_per_s: float
    copies_s: float | None
    cheaper_until_s: dict[str, float]

    @property
    def break_even_idle_s(self) -> dict[str, float | None]:
        """The idle time from which each way costs less than holding; None where it never does.

        Swapping holds KV in HBM while it is copied, so it pays as soon as there is time to copy it out and in, if host
        memory costs less than HBM.
        """
        swap_s = self.copies_s if self.host_usd_per_s < self.hold_usd_per_s else None
        recompute_s = self.cheaper_until_s["hbm"]
        return {"swap": swap_s, "recompute": recompute_s if isfinite(recompute_s) else None}

    @property
    def kept_until_s(self) -> dict[str, float | None]:
        """How long KV is best kept in each tier: until the next way costs less; None where none ever does.

        From HBM the next way is the first to pay of swapping and computing again, from host memory and disk computing
        again. 0: that costs less at once. Host memory and disk count whether or not the scenario sets any aside.
        """
        first_s = min((s for s in self.break_even_idle_s.values() if s is not None), default=inf)
        limits = self.cheaper_until_s | {"hbm": first_s}
        return {tier: limit_s if isfinite(limit_s) else None for tier, limit_s in limits.items()}

    def keys(self) -> dict[str, Any]:
        """The keys of ``analyze``'s ``gap``."""
        ways = self.ways
        return {
            "tokens": self.tokens,
            "kept_bytes": self.kept_bytes,
            "idle_s": self.idle_s,
            "hold_usd": ways.hold_usd,
            "swap_usd": ways.swap_usd,
            "recompute_usd": ways.recompute_usd,
            "least": ways.least,
            "break_even_idle_s": self.break_even_idle_s,
            "kept_until_s": self.kept_until_s,
        }


def typical_gap(cost: CostModel, session: TypicalSession) -> Gap | None:
    """The first gap of the typical session; None where it has none, or where there is no KV pool to hold it in."""
    if session.rounds == 1 or cost.memory.kv_capacity_bytes <= 0:
        return None
    prices = GapPrices(cost.scenario, cost)
    tokens, size = session.known_tokens, cost.layout.block_size
    kept_bytes = cost.layout.extent_bytes(0, tokens // size * size)
    question = session.asked_tokens
    ways = prices.ways(tokens, kept_bytes, session.think_s, question)
    copies_s = None if ways.swap_usd is None else prices.stay(HOST, tokens, kept_bytes).copies_s()
    hbm_usd_per_s, host_usd_per_s = (prices.hold_usd(tier, kept_bytes, 1.0) for tier in (HBM, HOST))
    until_s = {name: prices.kept_until_s(tier, tokens, kept_bytes, question) for tier, name in enumerate(TIERS)}
    return Gap(tokens, kept_bytes, session.think_s, ways, hbm_usd_per_s, host_usd_per_s, copies_s, until_s)

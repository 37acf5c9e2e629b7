"""One idle session's KV: what each choice costs, which costs least, and at which idle time that changes.

The prices are those of cost.gaps, which ``analyze``'s gap, the policies and the ledger of a simulation ask too. Nothing
else is on the replica or its links: where there is, an engine notices only between iterations that a copy has ended, so
that gaps not much longer than both copies and an iteration are better kept than the map says. ``return_ratio`` is the
chance that the user comes back: KV is kept for the idle time either way, but copied back, or computed again, for those
who do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite

from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.gaps import GapPrices, Stay
from ctxsim.cost.topology import DISK, HBM, HOST

CHOICES = ("keep", "swap", "disk", "recompute", "drop")
"""Hold it in HBM, in host memory, on disk; drop it and compute it again; drop it because the user may not be back.

The last two do the same. ``drop`` is where some tier would be worth its price if the user were sure to come back.
"""

TIERS = {"keep": HBM, "swap": HOST, "disk": DISK}


@dataclass(frozen=True)
class Limits:
    """Idle times (seconds) at which the cheaper of two choices changes, for one context; None: it never does.

    keep_until_swap_s: keep costs less than swap up to there. A limit of 0: the other costs less at once.
    """

    context_tokens: int
    kept_bytes: float
    return_ratio: float
    recompute_s: float
    recompute_usd: float
    copies_s: float | None
    keep_until_swap_s: float | None
    keep_until_recompute_s: float | None
    swap_until_recompute_s: float | None
    swap_until_disk_s: float | None
    disk_until_recompute_s: float | None
    return_ratio_to_keep_any: float


@dataclass(frozen=True)
class Held:
    """The KV of ``tokens`` of context in each tier that the scenario has, and what it takes to compute it again."""

    tokens: int
    kept_bytes: float
    stays: Mapping[str, Stay]
    recompute_s: float
    recompute_usd: float

    @classmethod
    def of(cls, cost: CostModel, prices: GapPrices, session: TypicalSession, tokens: int) -> Held:
        """The whole blocks of a context, before a question as those of the scenario's session."""
        serving, size = cost.scenario.serving, cost.layout.block_size
        kept_bytes = cost.layout.extent_bytes(0, tokens // size * size)
        there = {"keep": True, "swap": serving.host_kv_capacity > 0, "disk": serving.disk_kv_capacity > 0}
        stays = {name: prices.stay(TIERS[name], tokens, kept_bytes) for name, has in there.items() if has}
        again_usd, usd_per_s = prices.recompute_usd(0, tokens, session.asked_tokens), replica_usd_per_s(cost.scenario)
        return cls(tokens, kept_bytes, stays, again_usd / usd_per_s if usd_per_s else 0.0, again_usd)

    def usd(self, idle_s: float, return_ratio: float = 1.0) -> dict[str, float]:
        """What each choice costs in the mean; recompute and drop are one, called ``recompute`` here."""
        kept = {name: stay.usd(idle_s, return_ratio) for name, stay in self.stays.items()}
        return kept | {"recompute": return_ratio * self.recompute_usd}

    def least(self, idle_s: float, return_ratio: float = 1.0) -> str:
        """The cheapest choice, the first of equals."""
        cheapest = _least(self.usd(idle_s, return_ratio))
        if cheapest == "recompute" and _least(self.usd(idle_s)) != "recompute":
            return "drop"
        return cheapest

    def limits(self, idle_s: float, return_ratio: float = 1.0) -> Limits:
        """Where the choices cost the same; idle_s: at which the least chance of a return is asked for."""
        again = {name: stay.until_s(self.recompute_usd, return_ratio) for name, stay in self.stays.items()}
        swap = self.stays.get("swap")
        return Limits(
            context_tokens=self.tokens,
            kept_bytes=self.kept_bytes,
            return_ratio=return_ratio,
            recompute_s=self.recompute_s,
            recompute_usd=self.recompute_usd,
            copies_s=None if swap is None else swap.copies_s(return_ratio),
            keep_until_swap_s=self._until("keep", "swap", return_ratio),
            keep_until_recompute_s=_finite(again["keep"]),
            swap_until_recompute_s=_finite(again.get("swap", inf)),
            swap_until_disk_s=self._until("swap", "disk", return_ratio),
            disk_until_recompute_s=_finite(again.get("disk", inf)),
            return_ratio_to_keep_any=self.return_ratio_to_keep_any(idle_s),
        )

    def return_ratio_to_keep_any(self, idle_s: float) -> float:
        """The chance of a return below which dropping costs less than every tier for so long; 1: it does anyhow.

        p x again_usd = usd(idle, p), which is a straight line in p.
        """
        shares = []
        for stay in self.stays.values():
            never_usd, sure_usd = stay.usd(idle_s, 0.0), stay.usd(idle_s, 1.0)
            saved_usd = self.recompute_usd - (sure_usd - never_usd)
            shares.append(never_usd / saved_usd if saved_usd > 0 else inf)
        return min(1.0, *shares)

    def _until(self, near: str, far: str, return_ratio: float) -> float | None:
        """The idle time up to which the nearer tier costs less; None where one is missing, or it always does."""
        if near not in self.stays or far not in self.stays:
            return None
        return _crossing_s(self.stays[near], self.stays[far], return_ratio)


def _crossing_s(near: Stay, far: Stay, return_ratio: float) -> float | None:
    """Where two stays cost the same; None where the farther tier is no cheaper a second.

    Both are straight lines between the times at which their copies can have ended.
    """
    slope_usd_per_s = near.usd_per_s - far.usd_per_s
    if slope_usd_per_s <= 0:
        return None

    def saved_usd(idle_s: float) -> float:
        return near.usd(idle_s, return_ratio) - far.usd(idle_s, return_ratio)

    knots = sorted({0.0, *(end_s for stay in (near, far) for end_s in (stay.out_s, stay.copies_s()))})
    if saved_usd(knots[-1]) <= 0:
        return knots[-1] - saved_usd(knots[-1]) / slope_usd_per_s
    high = next(place for place, idle_s in enumerate(knots) if saved_usd(idle_s) > 0)
    if not high:
        return 0.0
    low_s, high_s = knots[high - 1], knots[high]
    return low_s - saved_usd(low_s) * (high_s - low_s) / (saved_usd(high_s) - saved_usd(low_s))


def _least(usd: Mapping[str, float]) -> str:
    return min(usd, key=lambda name: usd[name])


def _finite(seconds: float) -> float | None:
    return seconds if isfinite(seconds) else None

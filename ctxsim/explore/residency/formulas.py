"""The boundaries of a residency map as formulas, with the numbers of one context put in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ctxsim.explore.residency.choices import Held
from ctxsim.units import SECONDS_PER_HOUR, show


@dataclass(frozen=True)
class Formula:
    """What it is about, the formula in symbols, and with numbers."""

    what: str
    formula: str
    numbers: str


SYMBOLS = (
    "p: chance that the user comes back; H, h, d: price of this KV in HBM (its share of the pool x the replica's "
    "price), host memory and on disk; out, back: its copies; c = out + p x back; R: price of computing it again"
)


def formulas(held: Held, return_ratio: float = 1.0) -> Iterator[Formula]:
    """Those of the tiers that the scenario has."""
    p, limits = return_ratio, held.limits(0.0, return_ratio)
    keep, again = held.stays["keep"], f"{p:g} x {held.recompute_usd:.4g} USD"
    hbm = _hourly(keep.usd_per_s)
    yield Formula(
        "keep costs less than recompute while idle <", "p R / H",
        f"{again} / {hbm} = {_time(limits.keep_until_recompute_s)}",
    )  # fmt: skip
    if swap := held.stays.get("swap"):
        host, copies = _hourly(swap.usd_per_s), _time(limits.copies_s)
        yield Formula(
            "keep costs less than swap while idle <", "out + p back",
            f"{_time(swap.out_s)} + {p:g} x {_time(swap.back_s)} = {_time(limits.keep_until_swap_s)}",
        )  # fmt: skip
        yield Formula(
            "swap costs less than recompute while idle <", "c + (p R - H c) / h",
            f"{copies} + ({again} - {hbm} x {copies}) / {host} = {_time(limits.swap_until_recompute_s)}",
        )  # fmt: skip
    if disk := held.stays.get("disk"):
        stored, copies = _hourly(disk.usd_per_s), _time(disk.copies_s(p))
        yield Formula(
            "swap costs less than disk while idle <", "((H - d) c_disk - (H - h) c) / (h - d)",
            _time(limits.swap_until_disk_s),
        )  # fmt: skip
        yield Formula(
            "disk costs less than recompute while idle <", "c_disk + (p R - H c_disk) / d",
            f"{copies} + ({again} - {hbm} x {copies}) / {stored} = {_time(limits.disk_until_recompute_s)}",
        )  # fmt: skip


def _hourly(usd_per_s: float) -> str:
    return f"{usd_per_s * SECONDS_PER_HOUR:.4g} USD/hour"


def _time(seconds: float | None) -> str:
    return "for ever" if seconds is None else show(seconds, "seconds")

"""Values for a reader: the unit at the end of a key's name decides how its value is written."""

from __future__ import annotations

import re
from typing import Any

from ctxsim.units import show

_DIMENSIONS = (
    (re.compile(r"_bytes_per_s$"), "bytes_per_s"),
    (re.compile(r"_flop_per_s$"), "flop_per_s"),
    (re.compile(r"(^|_)bytes(_per_(token|session|sequence)|_at)?$"), "bytes"),
    (re.compile(r"(?<!_per)_s$"), "seconds"),
    (re.compile(r"_w$"), "watts"),
)
_AMOUNT_PER_TIME = re.compile(r"_per_(?P<period>s|hour)(_|$)")


def human(key: str, value: Any) -> str:
    """The value of a key with its unit: ``human("prefill_s", 14.8359)`` is "14.84 s"; what is missing is "-"."""
    name = key.partition(".")[0]
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    dimension = next((d for pattern, d in _DIMENSIONS if pattern.search(name)), None)
    if dimension is not None:
        return show(value, dimension)
    return _other(name, value)


def _other(name: str, value: float) -> str:
    """Amounts that `units` has no dimension for: FLOP, money, counts, shares."""
    if name.endswith("_flop"):
        return flop(value)
    if name.endswith("_flop_per_byte"):
        return f"{value:.4g} FLOP/B"
    if "_usd_" in f"{name}_":
        return f"{value:.4g} USD"
    if name.endswith("_ratio"):
        return f"{value:.2%}"
    period = _AMOUNT_PER_TIME.search(name)
    if period is not None:
        return f"{number(value)} /{period['period']}"
    return number(value)


def flop(value: float) -> str:
    """An amount of operations, with the prefixes of their rate: "4.629 PFLOP"."""
    return show(value, "flop_per_s").removesuffix("/s")


def number(value: float) -> str:
    """Whole numbers with separators, others to four digits."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"

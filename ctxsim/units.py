"""Quantities as text: "80 GiB" becomes 85899345920.0 and back. The only file where 1e9 or 1024 may stand.

Decimal and binary prefixes are different units (GB is 1e9, GiB is 2**30 bytes), and so are bits and bytes
(``Gb/s`` is an eighth of ``GB/s``): every unit is spelled exactly, and a near miss is refused with the nearest
that would do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
SECONDS_PER_HOUR = 3600.0
MILLION = 1e6
_GROUPED_FROM = 1_000
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, SECONDS_PER_HOUR, 86400.0
_BITS_PER_BYTE = 8
KWH_J = 3.6e6

_BYTES = {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items()}
_BITS_PER_S = {f"{p}b/s": f / _BITS_PER_BYTE for p, f in _DECIMAL.items()}
_FLOP_PREFIX = _DECIMAL | {"E": 1e18}
_PERIODS_S = {"s": 1.0, "hour": _HOUR_S, "day": _DAY_S}


class UnitError(ValueError):
    """A text that is no quantity of the wanted dimension; the message says what would do."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One kind of quantity: what it is called, its units as multiples of the SI unit, and how it is shown."""

    words: str
    example: str
    si_unit: str
    units: Mapping[str, float]
    shown: tuple[str, ...]


DIMENSIONS: Mapping[str, Dimension] = {
    "bytes": Dimension("an amount of bytes", "80 GiB", "B", _BYTES, ("B", "kB", "MB", "GB", "TB", "PB")),
    "bytes_per_s": Dimension(
        "a rate in bytes or bits per second",
        "2 TB/s",
        "B/s",
        {f"{unit}/s": f for unit, f in _BYTES.items()} | _BITS_PER_S,
        ("B/s", "kB/s", "MB/s", "GB/s", "TB/s"),
    ),
    "flop_per_s": Dimension(
        "a rate of operations",
        "312 TFLOP/s",
        "FLOP/s",
        {f"{p}{op}/s": f for op in ("FLOP", "OP") for p, f in _FLOP_PREFIX.items()},
        ("FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"),
    ),
    "seconds": Dimension(
        "a duration",
        "60 s",
        "s",
        {
            "ns": 1e-9,
            "us": 1e-6,
            "ms": 1e-3,
            "s": 1.0,
            "min": _MINUTE_S,
            "hour": _HOUR_S,
            "hours": _HOUR_S,
            "day": _DAY_S,
            "days": _DAY_S,
        },
        ("ns", "us", "ms", "s"),
    ),
    "per_s": Dimension(
        "a rate of arrivals",
        "0.2 /s",
        "/s",
        {"/s": 1.0, "/min": 1 / _MINUTE_S, "/hour": 1 / _HOUR_S, "/day": 1 / _DAY_S},
        ("/hour", "/s"),
    ),
    "usd_per_s": Dimension(
        "a price per time",
        "2.50 USD/hour",
        "USD/s",
        {f"USD/{period}": 1 / s for period, s in _PERIODS_S.items()},
        ("USD/hour",),
    ),
    "usd_per_byte_s": Dimension(
        "a price per amount and time",
        "0.004 USD/GiB/hour",
        "USD/B/s",
        {f"USD/{unit}/{period}": 1 / f / s for unit, f in _BYTES.items() for period, s in _PERIODS_S.items()},
        ("USD/GiB/hour",),
    ),
    "usd_per_joule": Dimension(
        "a price of energy",
        "0.12 USD/kWh",
        "USD/J",
        {"USD/J": 1.0, "USD/kWh": 1 / KWH_J, "USD/MWh": 1 / (1000 * KWH_J)},
        ("USD/kWh",),
    ),
    "watts": Dimension("a power", "400 W", "W", {"mW": 1e-3, "W": 1.0, "kW": 1e3, "MW": 1e6}, ("W", "kW", "MW")),
    "joules": Dimension(
        "an energy", "3 kWh", "J", {"mJ": 1e-3, "J": 1.0, "kJ": 1e3, "MJ": 1e6, "kWh": KWH_J}, ("J", "kJ", "kWh")
    ),
}
"""Every dimension by name; the name is the SI unit as it stands at the end of a field's name."""

_QUANTITY = re.compile(
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>[^\d_].*)?", re.ASCII | re.DOTALL
)
_TOKEN_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "Ki": _BINARY["Ki"], "Mi": _BINARY["Mi"]}
_TOKENS = re.compile(r"(?P<number>\d+\.?\d*)\s*(?P<prefix>(?:Ki|Mi|[kKmM])?)", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.?(nan|inf(inity)?)\b", re.IGNORECASE)


def parse(text: str, dimension: str) -> float:
    """The quantity in its SI unit: ``parse("80 GiB", "bytes")`` is 85899345920.0.

    Raises UnitError where the number is missing, negative or not finite, or the unit is missing or not one of
    the dimension's.
    """
    kind = DIMENSIONS[dimension]
    stripped = text.strip()
    if not stripped:
        raise UnitError(f'expected {kind.words}, found nothing; write e.g. "{kind.example}"')
    match = _QUANTITY.fullmatch(stripped)
    if match is None:
        raise UnitError(_not_a_quantity(stripped, kind))
    number, unit = float(match["number"]), (match["unit"] or "").strip()
    if not unit:
        raise UnitError(
            f'expected {kind.words} with its unit, found {stripped} without one; write e.g. "{kind.example}"'
        )
    if unit not in kind.units:
        raise UnitError(_wrong_unit(unit, kind))
    return _checked(number * kind.units[unit], stripped, kind)


def tokens(text: str) -> int:
    """A number of tokens: ``tokens("4k")`` is 4,000, ``"1m"`` a million, ``"128Ki"`` 131,072, ``"4096"`` itself.

    Raises UnitError for anything else, and for what is no whole number above zero.
    """
    match = _TOKENS.fullmatch(text.strip())
    number = float(match["number"]) * _TOKEN_PREFIXES[match["prefix"]] if match is not None else 0.0
    if not (1 <= number < math.inf and number.is_integer()):
        raise UnitError(f'expected a whole number of tokens, found {_quoted(text)}; write e.g. "50000", "4k" or "1m"')
    return int(number)


def exact(value: float, dimension: str) -> str:
    """The quantity as text that parses back to the very same float: ``exact(1e9, "bytes")`` is "1000000000 B"."""
    return f"{repr(value).removesuffix('.0')} {DIMENSIONS[dimension].si_unit}"


def show(value: float, dimension: str) -> str:
    """The quantity for a reader, four digits and a fitting unit: ``show(12.288e9, "bytes")`` is "12.29 GB"."""
    kind = DIMENSIONS[dimension]
    by_size = sorted(kind.shown, key=lambda unit: kind.units[unit])
    fitting = [unit for unit in by_size if abs(value) >= kind.units[unit]]
    fallback = kind.si_unit if value == 0 and kind.si_unit in kind.shown else by_size[0]
    unit = fitting[-1] if fitting else fallback
    return f"{_four_digits(value / kind.units[unit])} {unit}"


def _four_digits(number: float) -> str:
    """Four significant digits, all digits of a large number, an exponent only where it would take seven."""
    return f"{number:.4g}" if abs(number) < _GROUPED_FROM or abs(number) >= MILLION else f"{number:,.0f}"


def _checked(value: float, text: str, kind: Dimension) -> float:
    if not math.isfinite(value):
        raise UnitError(f'expected {kind.words} of finite size, found {_quoted(text)}; write e.g. "{kind.example}"')
    if value < 0:
        raise UnitError(f'expected {kind.words} of at least zero, found {_quoted(text)}; write e.g. "{kind.example}"')
    return value


def _not_a_quantity(text: str, kind: Dimension) -> str:
    wanted = "of finite size" if _NOT_FINITE.match(text) else "as a number with its unit"
    return f'expected {kind.words} {wanted}, found {_quoted(text)}; write e.g. "{kind.example}"'


def _wrong_unit(unit: str, kind: Dimension) -> str:
    """What the unit was mistaken for, and the nearest unit of the dimension that would do."""
    suggestion = _suggestion(unit, kind)
    for other in DIMENSIONS.values():
        if unit in other.units:
            return f'expected {kind.words}, found "{unit}", which is {other.words}{suggestion}'
    return f"expected {kind.words}, found the unknown unit {_quoted(unit)}{suggestion}"


def _suggestion(unit: str, kind: Dimension) -> str:
    """The units that the spelling may have meant: the same letters first, then the same letters in any case."""
    respelled = _respell(unit)
    for spelling in (respelled, f"{respelled}/s"):
        if spelling in kind.units and spelling != unit:
            return f'; did you mean "{spelling}"?'
    same = [known for known in kind.units if known.lower() in (respelled.lower(), f"{respelled}/s".lower())]
    if same:
        return "; did you mean " + " or ".join(f'"{known}"' for known in same) + "?"
    close = get_close_matches(unit, kind.units, n=1)
    return f'; did you mean "{close[0]}"?' if close else f'; write e.g. "{kind.example}"'


def _respell(unit: str) -> str:
    """The unit in this module's grammar: ``GBps`` and ``GB/sec`` become ``GB/s``, ``TFLOPS`` becomes ``TFLOP/s``."""
    spelled = re.sub(r"(FLOP|OP)s?(?=/|$)", r"\1", unit, flags=re.IGNORECASE)
    spelled = re.sub(r"(?<=\w)(ps|/secs?|/seconds?)$", "/s", spelled, flags=re.IGNORECASE)
    spelled = re.sub(r"(^|/)(h|hrs?|hours)$", r"\1hour", spelled, flags=re.IGNORECASE)
    spelled = re.sub(r"(^|/)(mins|minutes?)$", r"\1min", spelled, flags=re.IGNORECASE)
    spelled = re.sub(r"^(secs?|seconds?)$", "s", spelled, flags=re.IGNORECASE)
    return re.sub(r"^\$(?=/)", "USD", spelled)


def _quoted(text: str) -> str:
    """The text in double quotes, cut to a readable length and with unprintable characters escaped."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    return f'"{shown if shown.isprintable() else repr(shown)[1:-1]}"'

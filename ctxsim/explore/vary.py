"""What is varied: ``KEY=a,b,c``, ``KEY=lo:hi:n``, ``KEY=log:lo:hi:n``; several keys together as ``K1;K2=a;x,b;y``.

Ends of a range may carry a unit (``1 TB/s:4 TB/s:4``), the same at both; between whole numbers values are rounded to
whole numbers, and said once. An axis of a Sobol sequence is ``KEY=lo:hi`` or ``KEY=log:lo:hi``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ctxsim.errors import Fault, MissingExtraError, SpecError, shorten
from ctxsim.spec.document import plain_scalar

Setting = tuple[tuple[str, object], ...]
"""Keys and values of one point, in the order in which they were named."""

_END = re.compile(r"\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>[^:]*?)\s*")
_DIGITS = 12
_BRACKETS = {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}
_MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class Span:
    """A range between two numbers with one unit; evenly spaced, or in equal ratios where ``log``."""

    low: float
    high: float
    unit: str
    log: bool
    whole: bool

    def at(self, share: float) -> object:
        """The value that share of the way from low to high: a number, or text with its unit."""
        value = self.low * (self.high / self.low) ** share if self.log else self._even(share)
        number = round(value) if self.whole else float(f"{value:.{_DIGITS}g}")
        return f"{number:.{_DIGITS}g} {self.unit}" if self.unit else number

    def _even(self, share: float) -> float:
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class Axis:
    """Keys that vary together, and the values that they take; ``span`` alone where a Sobol sequence chooses."""

    keys: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]
    span: Span | None = None


def parse_axis(text: str) -> Axis:
    """The axis that the text describes; raises SpecError where it is none."""
    keys_text, equals, values_text = text.partition("=")
    keys = tuple(key.strip() for key in keys_text.split(";"))
    if not equals or not values_text.strip() or not all(keys):
        raise _fault(text, "expected KEY=VALUES; write e.g. --vary serving.kv_dtype=bf16,fp8")
    if len(set(keys)) < len(keys):
        raise _fault(text, "expected each key once; name it once")
    if ":" in values_text and len(keys) == 1 and (axis := _range(text, keys[0], values_text)) is not None:
        return axis
    rows = [tuple(plain_scalar(value) for value in split(part, ";")) for part in split(values_text, ",")]
    for row in rows:
        if len(row) != len(keys):
            found = f"{len(row)} values for {len(keys)} keys"
            raise _fault(text, f"expected as many values as keys in every entry, found {found}; part them with ;")
    values: tuple[tuple[object, ...], ...] = tuple(rows)
    if len({tuple((isinstance(value, bool), value) for value in row) for row in values}) < len(values):
        raise _fault(text, "expected each value once, found one again; name it once")
    return Axis(keys, values)


def grid_points(axes: Sequence[Axis]) -> list[Setting]:
    """Every combination of the axes' values, the last axis fastest; raises SpecError for too many or a key twice."""
    _check_keys(axes)
    for axis in axes:
        if not axis.values:
            raise _fault(axis.keys[0], "expected LO:HI:N for a grid, found LO:HI; say how many, or give --samples")
    number = int(np.prod([len(axis.values) for axis in axes], dtype=float))
    if number > _MOST_POINTS:
        raise _fault("", f"expected at most {_MOST_POINTS:,} points, found {number:,}; vary fewer, or give --samples")
    names = [key for axis in axes for key in axis.keys]
    return [
        tuple(zip(names, (value for row in rows for value in row), strict=True))
        for rows in product(*(axis.values for axis in axes))
    ]


def sobol_points(axes: Sequence[Axis], samples: int, seed: int) -> list[Setting]:
    """So many points of a scrambled Sobol sequence over the axes; of listed values each has an equal part.

    Raises SpecError for a key twice, MissingExtraError where scipy is not there.
    """
    try:
        from scipy.stats import qmc
    except ImportError:
        raise MissingExtraError("fit", "a Sobol sequence (--samples)") from None
    _check_keys(axes)
    sequence = qmc.Sobol(len(axes), scramble=True, seed=seed)
    drawn = sequence.random_base2(max(0, (samples - 1).bit_length()))[:samples]
    return [
        tuple(pair for axis, share in zip(axes, row, strict=True) for pair in _drawn(axis, float(share)))
        for row in drawn
    ]


def _drawn(axis: Axis, share: float) -> Iterator[tuple[str, object]]:
    if axis.span is not None:
        return iter([(axis.keys[0], axis.span.at(share))])
    return zip(axis.keys, axis.values[int(share * len(axis.values))], strict=True)


def _range(text: str, key: str, values: str) -> Axis | None:
    """The axis of a range; None where the colons belong to something else (a mapping, a path)."""
    parts = [part.strip() for part in values.split(":")]
    log = parts[0] == "log"
    ends = [_END.fullmatch(part) for part in parts[log : log + 2]]
    if len(ends) < 2 or len(parts) > log + 3 or any(end is None for end in ends):
        if log:
            raise _fault(text, "expected log:LO:HI or log:LO:HI:N, found something else; write e.g. log:1:64:7")
        return None
    span = _span(text, [end for end in ends if end is not None], log)
    if len(parts) == log + 2:
        return Axis((key,), (), span)
    count = int(parts[-1]) if parts[-1].isdecimal() else 0
    if count < 2:
        raise _fault(text, f'expected two or more values, found "{parts[-1]}"; end the range with their number')
    values_at = [span.at(i / (count - 1)) for i in range(count)]
    return Axis((key,), tuple((value,) for value in dict.fromkeys(values_at)), span)


def _span(text: str, ends: Sequence[re.Match[str]], log: bool) -> Span:
    low, high = (float(end["number"]) for end in ends)
    units = {end["unit"] for end in ends if end["unit"]}
    if len(units) > 1:
        raise _fault(text, f"expected one unit at both ends, found {' and '.join(sorted(units))}; use one of them")
    if not low < high or (log and low <= 0):
        wanted = "two ends above zero, the lower one first" if log else "the lower end first"
        raise _fault(text, f"expected {wanted}, found {ends[0][0].strip()} and {ends[1][0].strip()}")
    unit = units.pop() if units else ""
    whole = not unit and all(end["number"].lstrip("+-").isdecimal() for end in ends)
    return Span(low, high, unit, log, whole)


def split(text: str, mark: str) -> list[str]:
    """The parts between marks that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += _BRACKETS.get(letter, 0)
        if letter == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _check_keys(axes: Sequence[Axis]) -> None:
    names = [key for axis in axes for key in axis.keys]
    if not names:
        raise _fault("", "expected something to vary, found nothing; give --vary KEY=VALUES")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _fault(", ".join(twice), "expected each key in one axis only; vary it once")


def settings_text(setting: Setting) -> str:
    """The setting as one would write it: ``serving.kv_dtype=fp8;deployment.tensor_parallel=2``."""
    return ";".join(f"{key}={value}" for key, value in setting)


def parse_change(text: str) -> Mapping[str, object]:
    """``"k=v;k=v"`` as overrides; raises SpecError where a part is no KEY=VALUE."""
    found: dict[str, object] = {}
    for part in split(text, ";"):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise SpecError(_of("--change", text, f'expected KEY=VALUE parted by ;, found "{shorten(part)}"'))
        if key.strip() in found:
            raise SpecError(_of("--change", text, f"expected each key once, found {key.strip()} again"))
        found[key.strip()] = value
    return found


def _of(option: str, text: str, message: str) -> Fault:
    return Fault(f"{option} {shorten(text)}".strip(), None, None, "", message)


def _fault(text: str, message: str) -> SpecError:
    return SpecError(_of("--vary", text, message))

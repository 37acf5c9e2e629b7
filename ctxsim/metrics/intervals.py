"""Means over replications, and how far they can be trusted: half-widths of Student's t intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, fsum, pi, sin, sqrt, tan
from typing import Any

Summary = Mapping[str, Any]


def means(summaries: Sequence[Summary]) -> dict[str, Any]:
    """The mean of every number, by the keys of the summaries, nested ones too.

    What is the same in all stays as it is; null where any has none; a flag is up where it is up in any.
    """
    return _by_key(summaries, _mean)


def half_widths(summaries: Sequence[Summary], confidence: float) -> dict[str, Any]:
    """Half the width of every mean's confidence interval, by the same keys; null for flags, and for one summary.

    The interval is that of a normal sample: quantile of Student's t with n - 1 degrees of freedom x deviation / sqrt n.
    """
    if len(summaries) < 2:
        return _by_key(summaries, lambda _: None)
    deviations = student_t_quantile(confidence, len(summaries) - 1) / sqrt(len(summaries))
    return _by_key(summaries, lambda values: _times(deviations, _deviation(values)))


def student_t_quantile(confidence: float, degrees: int) -> float:
    """The number that Student's t of so many degrees of freedom stays within, on both sides, with that probability.

    Bisection on the angle atan(t / sqrt degrees), in which the probability is a finite sum.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    low, high = 0.0, pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return tan(high) * sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """Probability that Student's t lies within +-tan(angle) sqrt(degrees).

    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 for odd and 26.7.4 for even degrees.
    """
    odd = degrees % 2
    term, total = (cos(angle) if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (k - 1) / k * cos(angle) ** 2
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total


def _by_key(summaries: Sequence[Summary], combine: Callable[[list[Any]], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, first in summaries[0].items():
        values = [summary[key] for summary in summaries]
        found[key] = _by_key(values, combine) if isinstance(first, Mapping) else combine(values)
    return found


def _mean(values: list[Any]) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    if any(value is None for value in values):
        return None
    return any(values) if isinstance(values[0], bool) else fsum(values) / len(values)


def _deviation(values: list[Any]) -> float | None:
    """The standard deviation of the population they are drawn from."""
    if any(value is None or isinstance(value, bool) for value in values):
        return None
    mean = _mean(values)
    return sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value

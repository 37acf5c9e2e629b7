"""Equality of times, and confidence intervals from independent replications."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from zlib import crc32

import numpy as np

REPLICATIONS = 20
# Student's t with 19 degrees of freedom for a two-sided 99 % interval: its 99.5 % quantile, and where five intervals
# are looked at together (Bonferroni), its 99.9 % quantile.
QUANTILES = {1: 2.8609, 5: 3.5794}


def assert_equal_times(found_s: np.ndarray | float, expected_s: np.ndarray | float) -> None:
    """To 1e-9 of them, or of a second: times are sums of some thousand others, and zero is a difference of two."""
    np.testing.assert_allclose(found_s, expected_s, rtol=1e-9, atol=1e-9)


def streams(case: object) -> list[np.random.Generator]:
    """Random numbers for every replication of a case, independent of those of any other case."""
    return [np.random.default_rng([crc32(str(case).encode()), seed]) for seed in range(REPLICATIONS)]


def interval(estimates: Sequence[float], together: int = 1) -> tuple[float, float]:
    """The 99 % interval of a mean, as centre and half width; ``together``: of how many that shall all hold."""
    assert len(estimates) == REPLICATIONS
    return float(np.mean(estimates)), QUANTILES[together] * float(np.std(estimates, ddof=1)) / sqrt(REPLICATIONS)


def assert_mean(
    estimates: Sequence[float], expected: float, *, precision: float, error: float = 0.0, together: int = 1
) -> None:
    """The expected value lies in the interval, and the interval is no wide one: ``precision``, as a share of it.

    error: what the estimates may be off by besides chance, with a reason where it is given.
    """
    centre, half = interval(estimates, together)
    assert half < precision * abs(expected)
    assert abs(centre - expected) < half + error


def assert_fractions(fractions: Sequence[Sequence[float]], expected: Sequence[float], precision: float) -> None:
    """Each of five expected fractions lies in its interval; ``fractions``: of every replication."""
    for column, fraction in zip(np.array(fractions).T, expected, strict=True):
        centre, half = interval(list(column), together=len(expected))
        assert half < precision
        assert abs(centre - fraction) < half


def assert_same_mean(ours: Sequence[float], theirs: Sequence[float], precision: float) -> None:
    """Two means from independent replications differ by no more than the interval of their difference.

    Its half width is sqrt(a^2 + b^2) of those of each; Welch's degrees of freedom are 19 at least, which would make it
    narrower.
    """
    (mine, half), (other, other_half) = interval(ours), interval(theirs)
    assert max(half, other_half) < precision * mine
    assert abs(mine - other) < sqrt(half**2 + other_half**2)


def assert_drawn_from(samples: np.ndarray, distribution: np.ndarray) -> None:
    """Independent samples fit a distribution at 99 %, by the largest distance between the two, as Kolmogorov and
    Smirnov measure it.

    ``distribution``: the cumulative distribution at every sample. Massart (1990): whatever the distribution and the
    number n, the distance exceeds sqrt(log(2 / 0.01) / (2 n)) with a probability of at most 0.01.
    """
    order = np.argsort(samples, kind="stable")
    values, n = samples[order], len(samples)
    # Of equal samples, which discrete distributions have, only the last is where the empirical one has risen.
    last = np.append(values[1:] > values[:-1], True)
    risen = np.flatnonzero(last) + 1
    before = np.append(0, risen[:-1])
    at_values = distribution[order][last]
    # To the left of a value a discrete distribution is that of the value before; a continuous one is as at the value.
    discrete = len(risen) < n
    left_of_values = np.append(0.0, at_values[:-1]) if discrete else at_values
    distance = max(np.abs(risen / n - at_values).max(), np.abs(before / n - left_of_values).max())
    assert distance < sqrt(log(2 / 0.01) / (2 * n))

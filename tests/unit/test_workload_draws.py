"""Draws follow their distributions, and depend on nothing but seed, purpose, user and place in the stream."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from ctxsim.spec.lengths import Length
from ctxsim.spec.workload import Arrival, ThinkTime
from ctxsim.workload.draws import (
    BLOCK_DRAWS,
    Purpose,
    arrival_stream,
    draw_lengths,
    generator,
    length_stream,
    time_stream,
)

LENGTH: TypeAdapter[Any] = TypeAdapter(Length)
TIME: TypeAdapter[Any] = TypeAdapter(ThinkTime)
ARRIVAL: TypeAdapter[Any] = TypeAdapter(Arrival)

DRAWS = 100_000

# Half-width of the intervals below, in standard errors. A right sampler leaves one with probability 6e-5; the
# seeds are fixed, so a test that passes stays so.
STANDARD_ERRORS = 4.0


def lengths(spec: object, size: int = DRAWS, seed: int = 1, user: int | None = None) -> np.ndarray:
    return np.array(list(islice(length_stream(LENGTH.validate_python(spec), seed, Purpose.PROMPTS, user), size)))


def times(spec: object, size: int = DRAWS, seed: int = 1) -> np.ndarray:
    return np.array(list(islice(time_stream(TIME.validate_python(spec), seed, Purpose.THINKING), size)))


def arrivals(spec: object, size: int = DRAWS, seed: int = 1) -> np.ndarray:
    return np.array(list(islice(arrival_stream(ARRIVAL.validate_python(spec), seed), size)))


def assert_mean(values: np.ndarray, mean: float) -> None:
    standard_error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - mean) < STANDARD_ERRORS * standard_error


def assert_share(flags: np.ndarray, share: float) -> None:
    standard_error = math.sqrt(share * (1 - share) / len(flags))
    assert abs(flags.mean() - share) < STANDARD_ERRORS * standard_error


LENGTH_SPECS = [
    {"kind": "uniform", "min": 100, "max": 299},
    {"kind": "exponential", "mean": 300.0},
    {"kind": "exponential", "mean": 300.0, "min": 50, "max": 700},
    {"kind": "lognormal", "mean": 2000.0, "p95": 6000.0},
    {"kind": "lognormal", "mean": 2000.0, "p95": 6000.0, "min": 500, "max": 8000},
]


@pytest.mark.parametrize("spec", LENGTH_SPECS)
def test_mean_length_is_the_one_the_spec_computes(spec: dict[str, Any]) -> None:
    assert_mean(lengths(spec), LENGTH.validate_python(spec).mean_tokens)


@pytest.mark.parametrize("spec", LENGTH_SPECS)
def test_lengths_stay_in_their_range(spec: dict[str, Any]) -> None:
    drawn = lengths(spec)
    assert drawn.min() >= spec.get("min", 1)
    assert drawn.max() <= spec.get("max", math.inf)


def test_short_lengths_are_at_least_one_token() -> None:
    drawn = lengths({"kind": "exponential", "mean": 0.7})
    assert drawn.min() == 1
    # Everything below 1.5 tokens becomes 1.
    assert_share(drawn == 1, 1 - math.exp(-1.5 / 0.7))


def test_lognormal_has_its_95_percent_quantile() -> None:
    assert_share(lengths({"kind": "lognormal", "mean": 50_000.0, "p95": 120_000.0}) <= 120_000, 0.95)
    assert_share(times({"kind": "lognormal", "mean": "60 s", "p95": "200 s"}) <= 200, 0.95)


def test_uniform_reaches_both_ends_equally() -> None:
    drawn = lengths({"kind": "uniform", "min": 3, "max": 6})
    for tokens in (3, 4, 5, 6):
        assert_share(drawn == tokens, 0.25)


def test_think_times_have_their_mean() -> None:
    assert_mean(times({"kind": "exponential", "mean": "60 s"}), 60.0)
    assert_mean(times({"kind": "lognormal", "mean": "60 s", "p95": "200 s"}), 60.0)
    assert times("2 min", size=3).tolist() == [120.0, 120.0, 120.0]


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(arrivals({"kind": "poisson", "rate": "4 /s"}), prepend=0.0)
    assert_mean(gaps, 0.25)
    for quantile in (0.1, 0.5, 0.9):
        assert_share(gaps <= -0.25 * math.log(1 - quantile), quantile)


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_gaps_have_mean_and_shape(burstiness: float) -> None:
    gaps = np.diff(arrivals({"kind": "gamma", "rate": "4 /s", "burstiness": burstiness}), prepend=0.0)
    assert_mean(gaps, 0.25)
    # Variance of a gamma variable: mean**2 / shape.
    assert_mean((gaps - 0.25) ** 2, 0.25**2 / burstiness)


def test_gamma_of_shape_one_is_the_poisson_process() -> None:
    assert np.array_equal(
        arrivals({"kind": "gamma", "rate": "2 /s", "burstiness": 1.0}, 9000),
        arrivals({"kind": "poisson", "rate": "2 /s"}, 9000),
    )


def test_constant_arrivals_stand_at_multiples_of_the_gap() -> None:
    assert arrivals({"kind": "constant", "rate": "4 /s"}, 4).tolist() == [0.0, 0.25, 0.5, 0.75]


def test_twice_the_rate_halves_every_arrival() -> None:
    slow, fast = (arrivals({"kind": "poisson", "rate": rate}, 5000) for rate in ("1 /s", "2 /s"))
    assert slow / 2 == pytest.approx(fast, rel=1e-12)


@pytest.mark.parametrize("spec", LENGTH_SPECS)
@pytest.mark.parametrize("user", [None, 3])
def test_drawing_in_blocks_equals_drawing_at_once(spec: dict[str, Any], user: int | None) -> None:
    size = 3 * BLOCK_DRAWS + 1
    at_once = draw_lengths(LENGTH.validate_python(spec), generator(1, Purpose.PROMPTS, user), size)
    assert np.array_equal(lengths(spec, size, user=user), at_once)


def test_arrivals_in_blocks_equal_a_cumulative_sum() -> None:
    size = 2 * BLOCK_DRAWS + 5
    gaps = generator(1, Purpose.ARRIVALS).standard_gamma(1.0, size) * 0.5
    assert np.array_equal(arrivals({"kind": "poisson", "rate": "2 /s"}, size), np.cumsum(gaps))


def test_streams_differ_by_seed_purpose_and_user() -> None:
    spec = LENGTH.validate_python({"kind": "lognormal", "mean": 50_000.0, "p95": 120_000.0})
    keys = [(seed, purpose, user) for seed in (0, 1) for purpose in Purpose for user in (None, 0, 1)]
    firsts = {tuple(islice(length_stream(spec, *key), 5)) for key in keys}
    assert len(firsts) == len(keys)


def test_purposes_keep_their_numbers() -> None:
    """A seed means the same draws in every version."""
    assert [(purpose.name, int(purpose)) for purpose in Purpose] == [
        ("ARRIVALS", 0),
        ("PROMPTS", 1),
        ("OUTPUTS", 2),
        ("DOCUMENTS", 3),
        ("QUESTIONS", 4),
        ("ANSWERS", 5),
        ("THINKING", 6),
    ]

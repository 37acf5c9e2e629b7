"""Poisson arrivals at a server whose time varies (M/M/1, M/G/1), against Pollaczek and Khinchine and Lindley."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from queues import REPLICATIONS, interval, lindley, poisson_arrivals, serve
from support.laws import TokenLaw

SECONDS_PER_TOKEN = 1e-4
LOAD = 0.5
WARMUP, COUNTED = 300, 1500
NUMBER = WARMUP + COUNTED

Draw = Callable[[np.random.Generator], np.ndarray]

# Prompts in tokens with their first two moments: service times are these, times the seconds a token takes.
PROMPTS: dict[str, tuple[Draw, float, float]] = {
    # Geometric with mean m has E[X^2] = 2 m^2 - m: at 10,000 tokens an exponential in all but name (M/M/1).
    "exponential": (lambda rng: rng.geometric(1e-4, NUMBER), 1e4, 2e8 - 1e4),
    "two lengths": (lambda rng: rng.choice([1_000, 30_000], NUMBER), 15_500.0, (1e6 + 9e8) / 2),
}


@pytest.mark.parametrize("prompts", PROMPTS)
def test_mean_wait(prompts: str) -> None:
    """lambda E[S^2] / (2 (1 - rho)) lies in the interval from independent replications."""
    draw, mean_tokens, mean_square = PROMPTS[prompts]
    rate_per_s = LOAD / (mean_tokens * SECONDS_PER_TOKEN)
    expected_s = rate_per_s * mean_square * SECONDS_PER_TOKEN**2 / (2 * (1 - LOAD))
    means = []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng(seed)
        tokens = draw(rng)
        found = serve(
            poisson_arrivals(rng, rate_per_s, NUMBER), tokens, tokens * SECONDS_PER_TOKEN, TokenLaw(SECONDS_PER_TOKEN)
        )
        assert found.wait_s == pytest.approx(lindley(found.arrival_s, found.service_s), rel=1e-9, abs=1e-7)
        means.append(float(np.mean(found.wait_s[WARMUP:])))
    mean_s, half_s = interval(means)
    assert half_s < 0.2 * expected_s
    assert abs(mean_s - expected_s) < half_s

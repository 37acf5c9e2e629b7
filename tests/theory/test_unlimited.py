"""Iterations that take the same time whatever runs in them: a machine with a server for everybody (M/D/inf, M/G/inf).

Requests come aboard between two iterations. A run of them that is busy for ever takes Poisson arrivals at any moment of
an iteration alike, half of one before its end on average; at these loads it is idle for e^-8 of the time.
"""

from __future__ import annotations

from math import factorial, sqrt

import numpy as np
import pytest
from intervals import assert_drawn_from, assert_equal_times
from queues import Visits, serve_steps, servers
from recursions import boarding
from services import CONSTANT, Path, Service, poisson_path

STEP_S = 0.01
# Distributions of the iterations of a request, 100 on average, as services of a second.
SERVICES = {
    "constant": CONSTANT,
    "two lengths": Service(
        "two lengths", 1.81, lambda rng, n: np.where(rng.random(n) < 0.5, 0.1, 1.9), lambda rng, n: np.zeros(n)
    ),
}
LONGEST_S = {"constant": 1.0, "two lengths": 1.9}
RATE_PER_S = 8.0
SAMPLES = 1_200


def board(path: Path) -> Visits:
    """Everybody has a seat."""
    return serve_steps(path, servers(max_num_seqs=1_000), STEP_S)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("rate_per_s", [0.3, 3.0, 8.0])
def test_everybody_boards_at_the_next_iteration(rate_per_s: float, service: str) -> None:
    """And has its iterations one after another from there on; an idle machine begins at once."""
    found = board(poisson_path(np.random.default_rng(6), rate_per_s, SERVICES[service], 1_500))
    ends_s = boarding(found.arrival_s, found.service_s, STEP_S) + found.service_s
    assert_equal_times(found.end_s, ends_s)


@pytest.mark.parametrize("service", SERVICES)
def test_the_number_aboard_is_poisson(service: str) -> None:
    """Its mean is lambda E[S], whatever the distribution of services, and so is its variance.

    Numbers further apart than the longest stay come from different arrivals, and are independent; they are taken at all
    moments of an iteration alike.
    """
    apart_s = LONGEST_S[service] + 1.618 * STEP_S
    number = round(RATE_PER_S * apart_s * (SAMPLES + 1))
    found = board(poisson_path(np.random.default_rng(7), RATE_PER_S, SERVICES[service], number))
    aboard = found.number_in_system(apart_s * np.arange(1, SAMPLES + 1))
    expected = RATE_PER_S * (1.0 + STEP_S / 2)
    # 2.576: the standard normal's 99.5 % quantile. A Poisson mean is off by sqrt(m / n) and its variance by
    # sqrt((2 m^2 + m) / n) in n samples.
    assert abs(float(np.mean(aboard)) - expected) < 2.576 * sqrt(expected / SAMPLES)
    assert abs(float(np.var(aboard, ddof=1)) - expected) < 2.576 * sqrt((2 * expected**2 + expected) / SAMPLES)
    terms = np.array([expected**n / factorial(n) for n in range(60)]) * np.exp(-expected)
    assert_drawn_from(aboard, np.cumsum(terms)[aboard])

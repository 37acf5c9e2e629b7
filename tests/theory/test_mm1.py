"""Poisson arrivals at an exponential server (M/M/1), its queue as it always was from the first arrival on."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from intervals import assert_drawn_from, assert_equal_times, assert_fractions, assert_mean, streams
from queues import Visits, serve
from recursions import lindley
from services import exponential_path

# Arrivals of a replication: what is remembered of the queue's length grows as 1 / (1 - rho)^2.
ARRIVALS = {0.5: 1_000, 0.8: 2_500, 0.9: 5_000}
PRECISION = 0.25


@pytest.fixture(scope="module", params=ARRIVALS)
def load(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture(scope="module")
def paths(load: float) -> list[Visits]:
    """Every replication."""
    return [serve(exponential_path(rng, load, 1, ARRIVALS[load])) for rng in streams(load)]


def test_every_wait_is_lindley_s(paths: list[Visits]) -> None:
    for found in paths:
        assert_equal_times(found.wait_s, lindley(found.arrival_s, found.service_s))
        assert_equal_times(found.sojourn_s, found.wait_s + found.service_s)


def test_mean_wait(load: float, paths: list[Visits]) -> None:
    expected_s = load / (1 - load)
    assert_mean([found.path.mean(found.wait_s, expected_s) for found in paths], expected_s, precision=PRECISION)


def test_mean_number_and_little(load: float, paths: list[Visits]) -> None:
    """The mean over time of the number in the system is rho / (1 - rho): as many as arrive in the mean time that one of
    them stays."""
    assert_mean([found.mean_number() for found in paths], load / (1 - load), precision=PRECISION)
    stay_s = 1 / (1 - load)
    stays_s = [found.path.mean(found.sojourn_s, stay_s) for found in paths]
    assert_mean([load * stay_s for stay_s in stays_s], load / (1 - load), precision=PRECISION)


def test_time_in_the_system_is_exponential(load: float, paths: list[Visits]) -> None:
    """With rate mu - lambda: the shares of requests below five quantiles."""
    levels = [0.1, 0.25, 0.5, 0.75, 0.95]
    quantiles_s = [-log(1 - level) / (1 - load) for level in levels]
    shares = [
        [found.path.mean(found.sojourn_s < q, level) for q, level in zip(quantiles_s, levels, strict=True)]
        for found in paths
    ]
    assert_fractions(shares, levels, precision=0.1)


def test_departures_are_poisson(load: float, paths: list[Visits]) -> None:
    """Their gaps are independent exponentials of the arrivals' rate (Burke 1956): one sample of all replications."""
    number = int(0.85 * ARRIVALS[load])
    gaps = []
    for found in paths:
        # Nobody is missing who would have come later.
        assert found.end_s[number] < found.path.until_s
        gaps.append(np.diff(found.end_s[:number], prepend=0.0))
    gaps_s = np.concatenate(gaps)
    assert_drawn_from(gaps_s, 1 - np.exp(-load * gaps_s))


def test_numbers_left_behind_are_geometric(load: float, paths: list[Visits]) -> None:
    """The journal's queue at the end of every service: longer than n with probability rho^(n + 1)."""
    shares = []
    for found in paths:
        waiting = found.journal.runs["waiting"]
        arrived = np.searchsorted(found.arrival_s, found.end_s, side="right")
        assert waiting.tolist() == (arrived - np.arange(len(arrived)) - 1).tolist()
        left = waiting[: int(0.85 * ARRIVALS[load])]
        shares.append([float(np.mean(left > n)) for n in range(5)])
    assert_fractions(shares, [load ** (n + 1) for n in range(5)], precision=0.1)

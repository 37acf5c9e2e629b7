"""Poisson arrivals at one server of any service time (M/G/1), against Pollaczek and Khinchine, Lindley and Little."""

from __future__ import annotations

import numpy as np
import pytest
from formulas import waiting_s
from intervals import assert_equal_times, assert_mean, streams
from queues import serve, serve_steps, servers
from recursions import lindley, shortest_first
from services import CONSTANT, LOGNORMAL, SHORT_S, SHORT_SHARE, TWO_LENGTHS, busy_path, poisson_path

SERVICES = {"constant": CONSTANT, "lognormal": LOGNORMAL, "two lengths": TWO_LENGTHS}
ARRIVALS = {"constant": 800, "lognormal": 1_500, "two lengths": 2_000}
PRECISION = 0.25


@pytest.mark.parametrize("load", [0.5, 0.7])
@pytest.mark.parametrize("service", SERVICES)
def test_waits(service: str, load: float) -> None:
    """lambda E[S^2] / (2 (1 - rho)) on average, the time in the system longer by a service, each wait Lindley's."""
    expected_s = waiting_s(load, 1.0, SERVICES[service].mean_square_s2)
    waits, stays = [], []
    for rng in streams((service, load)):
        found = serve(busy_path(rng, load, SERVICES[service], ARRIVALS[service]))
        assert_equal_times(found.wait_s, lindley(found.arrival_s, found.service_s))
        waits.append(found.path.mean(found.wait_s, expected_s))
        stays.append(found.path.mean(found.sojourn_s, expected_s + 1))
    assert_mean(waits, expected_s, precision=PRECISION)
    assert_mean(stays, expected_s + 1, precision=PRECISION)


@pytest.mark.parametrize("load", [0.4, 0.95, 1.3])
def test_a_law_that_costs_the_same_whatever_runs(load: float) -> None:
    """M/D/1 without a token counted, overloaded too; and requests in service over time are services."""
    found = serve_steps(poisson_path(np.random.default_rng(3), load, CONSTANT, 2_000), servers(), step_s=1.0)
    assert_equal_times(found.wait_s, lindley(found.arrival_s, found.service_s))
    runs = found.journal.runs.table()
    busy_s = runs["iterations"] * runs["first_s"] * runs["sequences"]
    assert_equal_times(float(np.sum(busy_s)), len(found.arrival_s))


def test_the_shortest_waiting_first() -> None:
    """Two classes of requests, whole prompts one at a time, the short ones first (Cobham 1954): lambda E[S^2] / 2 over
    the shares of time that are free of whom a class waits for."""
    load, warmup = 0.7, 300
    behind_short = 1 - load * SHORT_SHARE * SHORT_S
    under_way_s = load * TWO_LENGTHS.mean_square_s2 / 2
    means: dict[bool, list[float]] = {True: [], False: []}
    for rng in streams("shortest first"):
        path = poisson_path(rng, load, TWO_LENGTHS, 2_000)
        found = serve(path, servers(scheduler="shortest_prompt_first"))
        assert_equal_times(found.wait_s, shortest_first(found.arrival_s, found.service_s))
        for is_short, of_class in means.items():
            of_class.append(float(np.mean(found.wait_s[warmup:][(found.service_s[warmup:] < 1) == is_short])))
    assert_mean(means[True], under_way_s / behind_short, precision=PRECISION)
    assert_mean(means[False], under_way_s / behind_short / (1 - load), precision=PRECISION)

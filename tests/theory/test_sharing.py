"""Schedulers that turn from one prompt to another: a server shared equally, and one for whoever has the least left.

A scheduler decides once an iteration, of a chunk that is small beside the prompts. It is late by parts of an iteration
wherever the ideal server turns at once; how much in all is measured against the ideal one on the same path.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from formulas import shortest_remaining_s
from intervals import assert_mean, streams
from queues import SECONDS_PER_TOKEN, Visits, serve, servers
from recursions import processor_sharing, shortest_remaining
from services import (
    CONSTANT,
    EXPONENTIAL,
    LOGNORMAL,
    LONG_S,
    SHORT_S,
    SHORT_SHARE,
    SPREAD,
    TWO_LENGTHS,
    Path,
    poisson_path,
    shared_path,
)

SERVICES = {"exponential": EXPONENTIAL, "constant": CONSTANT, "lognormal": LOGNORMAL, "two lengths": TWO_LENGTHS}
DENSITIES = {"exponential": lambda x: np.exp(-x), "lognormal": lambda x: lognormal_density(np.maximum(x, 1e-100))}
ARRIVALS = 500
PRECISION = 0.2
ITERATION_S = 0.005
LATE_ITERATIONS = 10
"""By how many iterations the end of a request is off at most."""


def lognormal_density(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-((np.log(x) / SPREAD + SPREAD / 2) ** 2) / 2) / (x * SPREAD * sqrt(2 * pi)))


def in_chunks(path: Path, scheduler: str, iteration_s: float = ITERATION_S) -> Visits:
    """Everybody is admitted at once; an iteration has tokens for so long."""
    tokens = round(iteration_s / SECONDS_PER_TOKEN)
    return serve(path, servers(scheduler=scheduler, max_num_seqs=1_000, max_num_batched_tokens=tokens))


@pytest.mark.parametrize("iteration_s", [0.02, 0.005, 0.00125])
@pytest.mark.parametrize("service", SERVICES)
def test_equal_shares_on_every_path(service: str, iteration_s: float) -> None:
    """However short iterations are, ends are off by a few of them, and by less than one on average: late, because who
    comes waits for the iteration to end, and early, because nobody shares with those who wait."""
    path = shared_path(streams((service, iteration_s))[0], 0.7, SERVICES[service], 600)
    found = in_chunks(path, "fair", iteration_s)
    late = (found.end_s - processor_sharing(found.arrival_s, found.service_s)) / iteration_s
    assert np.abs(late).max() < LATE_ITERATIONS
    assert abs(float(np.mean(late))) < 1


@pytest.mark.parametrize("service", SERVICES)
def test_equal_shares_ask_for_the_mean_alone(service: str) -> None:
    """E[S] / (1 - rho) in M/G/1 with processor sharing, whatever the distribution of the services."""
    load = 0.6
    stay_s = 1 / (1 - load)
    found = [in_chunks(shared_path(rng, load, SERVICES[service], ARRIVALS), "fair") for rng in streams(service)]
    stays_s = [visits.path.mean(visits.sojourn_s, stay_s) for visits in found]
    assert_mean(stays_s, stay_s, precision=PRECISION, error=ITERATION_S)
    assert_mean(
        [visits.mean_number() for visits in found], load * stay_s, precision=PRECISION, error=load * ITERATION_S
    )


@pytest.mark.parametrize(
    ("is_short", "share", "service_s"), [(True, SHORT_SHARE, SHORT_S), (False, 1 - SHORT_SHARE, LONG_S)]
)
def test_equal_shares_slow_everybody_alike(is_short: bool, share: float, service_s: float) -> None:
    """x / (1 - rho) for a service of x, short or long."""
    load = 0.6
    expected_s, stays_s = service_s / (1 - load), []
    for rng in streams("slowdown"):
        found = in_chunks(shared_path(rng, load, TWO_LENGTHS, ARRIVALS), "fair")
        of_class = (found.service_s < 1) == is_short
        excess_s = found.path.mean(np.where(of_class, found.sojourn_s - expected_s, 0.0), 0.0) / share
        stays_s.append(expected_s + excess_s)
        late_s = found.end_s - processor_sharing(found.arrival_s, found.service_s)
        assert abs(float(np.mean(late_s[of_class]))) < ITERATION_S
    assert_mean(stays_s, expected_s, precision=PRECISION, error=ITERATION_S)


@pytest.mark.parametrize("service", ["exponential", "lognormal"])
def test_the_least_left_first(service: str) -> None:
    """Each end of a path is late by less than two iterations (of two requests with the same left to an iteration either
    may go first: ends in their order); and the mean time is that of Schrage and Miller."""
    load, warmup = 0.7, 150
    stays_s = []
    for rng in streams(("least left", service)):
        found = in_chunks(poisson_path(rng, load, SERVICES[service], 1_000), "shortest_prompt_first")
        ideal_end_s = np.sort(shortest_remaining(found.arrival_s, found.service_s))
        late_s = np.sort(found.end_s) - ideal_end_s
        assert late_s.min() > -1e-6
        assert late_s.max() < 2 * ITERATION_S
        stays_s.append(float(np.mean(found.sojourn_s[warmup:])))
    assert_mean(stays_s, shortest_remaining_s(load, DENSITIES[service], 80.0), precision=0.1, error=2 * ITERATION_S)

"""The same queues in ciw: request by request where both get the same times, on average where each draws its own."""

from __future__ import annotations

import ciw
import numpy as np
import pytest
from ciw_queues import drawn_waits, listed, listed_loop, loop
from intervals import assert_equal_times, assert_same_mean, streams
from loops import Size, Thinkers
from queues import SECONDS_PER_TOKEN, serve, serve_users, servers
from services import EXPONENTIAL, LOGNORMAL, SPREAD, TWO_LENGTHS, Service, poisson_path

WARMUP, COUNTED = 200, 1_500
PRECISION = 0.25
SERVICES = {"exponential": EXPONENTIAL, "lognormal": LOGNORMAL, "two lengths": TWO_LENGTHS}


@pytest.mark.parametrize(("replicas", "load"), [(1, 0.5), (1, 0.9), (2, 0.7), (3, 0.9), (5, 0.95)])
@pytest.mark.parametrize("service", SERVICES)
def test_the_same_times_give_the_same_waits(replicas: int, load: float, service: str) -> None:
    path = poisson_path(streams((replicas, load))[0], load * replicas, SERVICES[service], 1_000)
    found = serve(path, servers(replicas, router="central_queue"))
    waits_s, ends_s = listed(found.arrival_s, found.service_s, replicas)
    assert_equal_times(found.wait_s, waits_s)
    assert_equal_times(found.end_s, ends_s)


@pytest.mark.parametrize("size", [Size(1, 0.25), Size(5, 3.0), Size(20, 12.0), Size(10, 2.0, servers=3)], ids=str)
def test_the_same_times_give_the_same_rounds(size: Size) -> None:
    users = Thinkers(streams(("rounds", size))[0], size)
    scenario = servers(size.servers, router="central_queue")
    found = serve_users(users.times(), scenario, size.horizon_s).visits
    expected = listed_loop(users.times(), size.servers, size.horizon_s, turns=1_000)
    # ciw stops at the horizon, where ours serves on whoever has come.
    ended = {key for key, (_, _, end_s) in found.items() if end_s <= size.horizon_s}
    assert ended == expected.keys()
    assert len(ended) > 400
    times_s = np.array([found[key] for key in expected])
    assert_equal_times(times_s, np.array(list(expected.values())))


@pytest.mark.parametrize("service", SERVICES)
def test_equal_shares_are_those_of_ciw(service: str) -> None:
    """To some iterations of a two-hundredth of a mean service."""
    iteration_s = 0.005
    path = poisson_path(streams(("shared", service))[0], 0.7, SERVICES[service], 500)
    tokens = round(iteration_s / SECONDS_PER_TOKEN)
    found = serve(path, servers(scheduler="fair", max_num_seqs=1_000, max_num_batched_tokens=tokens))
    _, ends_s = listed(found.arrival_s, found.service_s, 1_000, node=ciw.PSNode)
    assert np.abs(found.end_s - ends_s).max() < 10 * iteration_s


@pytest.mark.parametrize(
    ("replicas", "load", "service", "theirs"),
    [
        (3, 0.7, EXPONENTIAL, ciw.dists.Exponential(1.0)),
        (1, 0.6, LOGNORMAL, ciw.dists.Lognormal(-(SPREAD**2) / 2, SPREAD)),
        (2, 0.6, LOGNORMAL, ciw.dists.Lognormal(-(SPREAD**2) / 2, SPREAD)),
    ],
)
def test_the_same_mean_wait(replicas: int, load: float, service: Service, theirs: ciw.dists.Distribution) -> None:
    """Both from an empty queue on, with the same warm-up; the last has no formula."""
    scenario = servers(replicas, router="central_queue")
    ours, ciws = [], []
    for rng in streams((replicas, service.name)):
        found = serve(poisson_path(rng, load * replicas, service, WARMUP + COUNTED), scenario)
        ours.append(float(np.mean(found.wait_s[WARMUP:])))
        waits_s = drawn_waits(int(rng.integers(2**32)), load * replicas, theirs, replicas, WARMUP + COUNTED)
        ciws.append(float(np.mean(waits_s[WARMUP:])))
    assert_same_mean(ours, ciws, precision=PRECISION)


@pytest.mark.parametrize("size", [Size(5, 3.0), Size(10, 2.0, servers=3)], ids=str)
def test_the_same_mean_response(size: Size) -> None:
    """Of the second half; all users think when both begin."""
    ours, ciws = [], []
    for rng in streams(("responses", size)):
        begin_s = size.horizon_s / 2
        found = serve_users(Thinkers(rng, size).times(), servers(size.servers, router="central_queue"), size.horizon_s)
        ours.append(float(np.mean([end - came for came, _, end in found.visits.values() if came > begin_s])))
        ciw.seed(int(rng.integers(2**32)))
        think, service = ciw.dists.Exponential(1 / size.think_s), ciw.dists.Exponential(1.0)
        visits = loop(size.users, think, service, size.servers, size.horizon_s)
        ciws.append(float(np.mean([v.exit_date - v.arrival_date for v in visits if v.arrival_date > begin_s])))
    assert_same_mean(ours, ciws, precision=PRECISION)

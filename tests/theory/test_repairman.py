"""Users who think, wait and are served (machine repairman, M/M/c//N), a closed loop as users of a server form it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from intervals import assert_equal_times, assert_mean, streams
from loops import REQUESTS, Size, Thinkers
from queues import Rounds, serve_users, servers
from recursions import repairman

# Light load and heavy load of one user, five and twenty, and of several servers.
SIZES = [
    Size(1, 4.0), Size(1, 0.25), Size(5, 20.0), Size(5, 3.0), Size(20, 60.0), Size(20, 12.0),
    Size(10, 9.0, servers=2), Size(10, 2.0, servers=3),
]  # fmt: skip


@pytest.fixture(scope="module", params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> Size:
    assert isinstance(request.param, Size)
    return request.param


@pytest.fixture(scope="module")
def loops(size: Size) -> list[tuple[Thinkers, Rounds]]:
    """Every replication, of users who take from one queue."""
    scenario = servers(size.servers, router="central_queue")
    thinkers = [Thinkers.settled(rng, size) for rng in streams(size)]
    return [(users, serve_users(users.times(), scenario, size.horizon_s)) for users in thinkers]


def test_every_round_is_as_it_should(size: Size, loops: Sequence[tuple[Thinkers, Rounds]]) -> None:
    for users, found in loops:
        expected = repairman(users.times(), size.servers, size.horizon_s)
        assert found.visits.keys() == expected.keys()
        times_s = np.array([found.visits[key] for key in expected])
        assert_equal_times(times_s, np.array(list(expected.values())))


def test_one_user_never_waits(size: Size, loops: Sequence[tuple[Thinkers, Rounds]]) -> None:
    """Nor do as many users as there are servers; more do."""
    waits_s = [start_s - arrival_s for _, found in loops for arrival_s, start_s, _ in found.visits.values()]
    assert (max(waits_s) < 1e-8) == (size.users <= size.servers)


def test_servers_are_busy(size: Size, loops: Sequence[tuple[Thinkers, Rounds]]) -> None:
    """The mean over time of the number of busy servers, from the runs that the journal lists."""
    busy = [found.busy_s / size.horizon_s for _, found in loops]
    assert_mean(busy, size.busy, precision=0.08)


def test_requests_a_second(size: Size, loops: Sequence[tuple[Thinkers, Rounds]]) -> None:
    ended = [sum(end_s < size.horizon_s for *_, end_s in found.visits.values()) for _, found in loops]
    assert_mean([number / size.horizon_s for number in ended], size.busy, precision=0.08)


def test_mean_response(size: Size, loops: Sequence[tuple[Thinkers, Rounds]]) -> None:
    """Of the requests that are sent before the horizon; what they are off by sums up to nothing on average."""
    estimates = []
    for _, found in loops:
        # Those who wait at 0 were sent before.
        stays_s = [end_s - arrival_s for arrival_s, _, end_s in found.visits.values() if arrival_s]
        estimates.append(size.response_s + sum(stay_s - size.response_s for stay_s in stays_s) / REQUESTS)
    assert_mean(estimates, size.response_s, precision=0.08)

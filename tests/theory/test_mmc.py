"""Poisson arrivals at several exponential servers: one queue for all (M/M/c), a queue each, and the shortest of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from formulas import erlang_c, erlang_interarrival_wait_s
from intervals import assert_drawn_from, assert_fractions, assert_mean, interval, streams
from queues import Visits, serve, servers
from recursions import assign, first_free, in_turn, kiefer_wolfowitz, shortest_queue
from services import exponential_path

ARRIVALS = 2_000
PRECISION = 0.2


class Size(NamedTuple):
    """How many servers, and how busy each is."""

    servers: int
    load: float

    @property
    def waits(self) -> float:
        """The probability to wait."""
        return erlang_c(self.servers, self.servers * self.load)

    @property
    def free_rate_per_s(self) -> float:
        """c mu - lambda: what is left of the rate of service while all are busy."""
        return self.servers * (1 - self.load)


@pytest.fixture(scope="module", params=[Size(2, 0.6), Size(3, 0.7), Size(5, 0.75)], ids=str)
def size(request: pytest.FixtureRequest) -> Size:
    assert isinstance(request.param, Size)
    return request.param


@pytest.fixture(scope="module")
def paths(size: Size) -> dict[str, list[Visits]]:
    """Every replication under each way to share the requests, with the same arrivals and services."""
    found: dict[str, list[Visits]] = {"central_queue": [], "least_loaded": [], "round_robin": []}
    for rng in streams(size):
        path = exponential_path(rng, size.load, size.servers, ARRIVALS)
        for router, visits in found.items():
            visits.append(serve(path, servers(size.servers, router=router)))
    return found


def test_every_wait_is_kiefer_and_wolfowitz_s(size: Size, paths: dict[str, list[Visits]]) -> None:
    for found in paths["central_queue"]:
        waits_s = kiefer_wolfowitz(found.arrival_s, found.service_s, size.servers)
        assert found.wait_s == pytest.approx(waits_s, rel=1e-9, abs=1e-9)
        assert found.sojourn_s == pytest.approx(found.wait_s + found.service_s, rel=1e-9)


@pytest.mark.parametrize(
    ("router", "choose"),
    [("central_queue", first_free), ("least_loaded", shortest_queue), ("round_robin", in_turn)],
)
def test_every_request_goes_where_it_should(size: Size, paths: dict[str, list[Visits]], router, choose) -> None:
    for found in paths[router]:
        waits_s, chosen = assign(found.arrival_s, found.service_s, size.servers, choose)
        assert found.replica.tolist() == chosen.tolist()
        assert found.wait_s == pytest.approx(waits_s, rel=1e-9, abs=1e-9)


def test_one_queue_has_erlang_s_waits(size: Size, paths: dict[str, list[Visits]]) -> None:
    """C (c, a) of the arrivals wait, C / (c mu - lambda) on average; those who wait do so for an exponential time."""
    expected_s = size.waits / size.free_rate_per_s
    found = paths["central_queue"]
    assert_mean([v.path.mean(v.wait_s, expected_s) for v in found], expected_s, precision=PRECISION)
    longer_s = [0.0, 0.25, 0.5, 1.0, 2.0]
    levels = [size.waits * float(np.exp(-size.free_rate_per_s * s)) for s in longer_s]
    # An arrival that finds a server idle is served at once: its wait is zero but for rounding.
    shares = [[v.path.mean(v.wait_s > s + 1e-9, p) for s, p in zip(longer_s, levels, strict=True)] for v in found]
    assert_fractions(shares, levels, precision=0.1)


def test_one_queue_has_as_many_as_the_birth_and_death_process(size: Size, paths: dict[str, list[Visits]]) -> None:
    """a + rho C / (1 - rho) on average over time."""
    expected = size.servers * size.load + size.load * size.waits / (1 - size.load)
    assert_mean([found.mean_number() for found in paths["central_queue"]], expected, precision=PRECISION)


def test_departures_of_one_queue_are_poisson(size: Size, paths: dict[str, list[Visits]]) -> None:
    number = int(0.85 * ARRIVALS)
    gaps = []
    for found in paths["central_queue"]:
        ends_s = np.sort(found.end_s)
        assert ends_s[number] < found.path.until_s
        gaps.append(np.diff(ends_s[:number], prepend=0.0))
    gaps_s = np.concatenate(gaps)
    assert_drawn_from(gaps_s, 1 - np.exp(-size.servers * size.load * gaps_s))


def test_a_queue_each_in_turn_is_fed_by_erlang_arrivals(size: Size, paths: dict[str, list[Visits]]) -> None:
    """Every c-th arrival of a Poisson process; what was there at 0 has left a trace on the first tenth."""
    warmup = ARRIVALS // 10
    expected_s = erlang_interarrival_wait_s(size.servers, size.load, 1.0)
    means = [float(np.mean(found.wait_s[warmup:])) for found in paths["round_robin"]]
    assert_mean(means, expected_s, precision=PRECISION)


def test_the_shortest_queue_lies_between(paths: dict[str, list[Visits]]) -> None:
    """On every path one queue has the shortest mean wait, and on average by more than chance; and a queue each in turn
    the longest."""
    central, shortest, in_turns = (
        np.array([np.mean(visits.wait_s) for visits in paths[router]])
        for router in ("central_queue", "least_loaded", "round_robin")
    )
    assert (central <= shortest).all()
    assert (shortest <= in_turns).all()
    for better, worse in (central, shortest), (shortest, in_turns):
        centre, half = interval((worse - better).tolist())
        assert centre > half

"""Poisson arrivals at several exponential servers: one queue for all (M/M/c), or one each, in turn or the shortest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from formulas import erlang_c, erlang_interarrival_wait_s
from intervals import assert_drawn_from, assert_equal_times, assert_fractions, assert_mean, interval, streams
from queues import Visits, serve, servers
from recursions import assign, first_free, in_turn, kiefer_wolfowitz, shortest_queue
from services import Path, exponential_path

ARRIVALS = 1_500
PRECISION = 0.25


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


@pytest.fixture(scope="module", params=[Size(2, 0.6), Size(3, 0.7), Size(5, 0.7)], ids=str)
def size(request: pytest.FixtureRequest) -> Size:
    assert isinstance(request.param, Size)
    return request.param


@pytest.fixture(scope="module")
def paths(size: Size) -> list[Path]:
    """The arrivals and services of every replication."""
    return [exponential_path(rng, size.load, size.servers, ARRIVALS) for rng in streams(size)]


@pytest.fixture(scope="module")
def central(size: Size, paths: list[Path]) -> list[Visits]:
    """Every replication with one queue for all servers."""
    return [serve(path, servers(size.servers, router="central_queue")) for path in paths]


def test_every_wait_is_kiefer_and_wolfowitz_s(size: Size, central: list[Visits]) -> None:
    for found in central:
        waits_s, chosen = assign(found.arrival_s, found.service_s, size.servers, first_free)
        assert found.replica.tolist() == chosen.tolist()
        assert_equal_times(found.wait_s, kiefer_wolfowitz(found.arrival_s, found.service_s, size.servers))
        assert_equal_times(found.wait_s, waits_s)
        assert_equal_times(found.sojourn_s, found.wait_s + found.service_s)


def test_one_queue_has_erlang_s_waits(size: Size, central: list[Visits]) -> None:
    """C (c, a) of the arrivals wait, C / (c mu - lambda) on average; those who wait do so for an exponential time."""
    expected_s = size.waits / size.free_rate_per_s
    assert_mean([v.path.mean(v.wait_s, expected_s) for v in central], expected_s, precision=PRECISION)
    longer_s = [0.0, 0.25, 0.5, 1.0, 2.0]
    levels = [size.waits * float(np.exp(-size.free_rate_per_s * s)) for s in longer_s]
    # An arrival that finds a server idle is served at once: its wait is zero but for rounding.
    shares = [[v.path.mean(v.wait_s > s + 1e-9, p) for s, p in zip(longer_s, levels, strict=True)] for v in central]
    assert_fractions(shares, levels, precision=0.1)


def test_one_queue_has_as_many_as_the_birth_and_death_process(size: Size, central: list[Visits]) -> None:
    """a + rho C / (1 - rho) on average over time."""
    expected = size.servers * size.load + size.load * size.waits / (1 - size.load)
    assert_mean([found.mean_number() for found in central], expected, precision=PRECISION)


def test_departures_of_one_queue_are_poisson(size: Size, central: list[Visits]) -> None:
    number = int(0.85 * ARRIVALS)
    gaps = []
    for found in central:
        ends_s = np.sort(found.end_s)
        assert ends_s[number] < found.path.until_s
        gaps.append(np.diff(ends_s[:number], prepend=0.0))
    gaps_s = np.concatenate(gaps)
    assert_drawn_from(gaps_s, 1 - np.exp(-size.servers * size.load * gaps_s))


def test_a_queue_each(size: Size, paths: list[Path]) -> None:
    """In turn, or the shortest: requests go where they should, and wait as long as they should, on every path.

    On every path one queue for all has the shortest mean wait, a queue each in turn the longest, and the shortest of
    the queues one between them, by more than chance. Of a queue each in turn the mean is known (E_c/M/1): every c-th
    arrival of a Poisson process; what was there at 0 has left no trace after a fifth.
    """
    central_s, shortest_s, in_turn_s, later_s = [], [], [], []
    for path in paths:
        shortest = serve(path, servers(size.servers, router="least_loaded"))
        turns = serve(path, servers(size.servers, router="round_robin"))
        for found, choose in (shortest, shortest_queue), (turns, in_turn):
            waits_s, chosen = assign(found.arrival_s, found.service_s, size.servers, choose)
            assert found.replica.tolist() == chosen.tolist()
            assert_equal_times(found.wait_s, waits_s)
        central_s.append(float(np.mean(kiefer_wolfowitz(turns.arrival_s, turns.service_s, size.servers))))
        shortest_s.append(float(np.mean(shortest.wait_s)))
        in_turn_s.append(float(np.mean(turns.wait_s)))
        later_s.append(float(np.mean(turns.wait_s[ARRIVALS // 5 :])))
    assert_longer(central_s, shortest_s)
    assert_longer(shortest_s, in_turn_s)
    assert_mean(later_s, erlang_interarrival_wait_s(size.servers, size.load, 1.0), precision=PRECISION)


def assert_longer(shorter_s: list[float], longer_s: list[float]) -> None:
    """On every path, and on average by more than chance."""
    more_s = np.array(longer_s) - np.array(shorter_s)
    assert (more_s >= 0).all()
    centre, half = interval(more_s.tolist())
    assert centre > half

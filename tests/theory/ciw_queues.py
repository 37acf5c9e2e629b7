"""Queues in ciw (Palmer, Knight, Harper and Hawa 2019), a simulator that has nothing in common with ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ciw
import numpy as np


class Own(ciw.dists.Distribution):
    """Times of each individual's own, in the order in which it needs them."""

    def __init__(self, times_s: Sequence[Sequence[float]]) -> None:
        self._left = [iter(times) for times in times_s]

    def sample(self, t: float | None = None, ind: Any = None) -> float:
        """The next time of that individual; they are numbered from 1."""
        return next(self._left[ind.id_number - 1])


def listed(arrival_s: np.ndarray, service_s: np.ndarray, servers: int, node: type = ciw.Node) -> np.ndarray:
    """Waits and ends of given arrivals with given services, by request."""
    gaps = [*np.diff(arrival_s, prepend=0.0).tolist(), float("inf")]
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential(gaps)],
        service_distributions=[Own([[s] for s in service_s.tolist()])],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network, node_class=node)
    simulation.simulate_until_max_customers(len(arrival_s))
    records = sorted(simulation.get_all_records(), key=lambda r: r.id_number)
    assert len(records) == len(arrival_s)
    return np.array([(r.waiting_time, r.exit_date) for r in records]).T


def drawn_waits(seed: int, rate_per_s: float, service: Any, servers: int, number: int) -> np.ndarray:
    """Waits of Poisson arrivals, by request, all random numbers ciw's own."""
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate_per_s)],
        service_distributions=[service],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(number)
    return np.array([r.waiting_time for r in sorted(simulation.get_all_records(), key=lambda r: r.id_number)])


def loop(users: int, think: Any, service: Any, servers: int, horizon_s: float) -> list[Any]:
    """Visits to the servers that ended by the horizon, of users who go to and fro between thought and service."""
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([0.0] * users + [float("inf")]), None],
        service_distributions=[think, service],
        number_of_servers=[float("inf"), servers],
        routing=[[0.0, 1.0], [1.0, 0.0]],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(horizon_s)
    return [record for record in simulation.get_all_records() if record.node == 2]


def listed_loop(
    users: Sequence[Iterator[tuple[float, float]]], servers: int, horizon_s: float, turns: int
) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Arrivals, starts and ends by user and turn, of users with given think and service times, ``turns`` at most."""
    times = [[next(user) for _ in range(turns)] for user in users]
    think, service = (Own([[round_[part] for round_ in user] for user in times]) for part in (0, 1))
    visits, done = {}, [0] * len(users)
    for record in sorted(loop(len(users), think, service, servers, horizon_s), key=lambda r: r.exit_date):
        user = record.id_number - 1
        visits[user, done[user]] = record.arrival_date, record.service_start_date, record.exit_date
        done[user] += 1
    return visits

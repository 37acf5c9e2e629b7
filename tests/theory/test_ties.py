"""Arrivals and services that are multiples of a tenth, so that arrivals fall on ends of services and on one another.

A tenth is no binary fraction: times that are equal by rights differ in their last bits. The recursions count in whole
numbers, where equal is equal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from intervals import assert_equal_times
from queues import serve, serve_steps, serve_users, servers
from recursions import assign, boarding, first_free, in_turn, kiefer_wolfowitz, lindley, repairman, shortest_first
from services import Path

STEP_S = 0.1
NUMBER = 1_500


def whole_path(seed: int, servers: int, longest: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals, several to an instant, and services in steps, at a load of 0.9."""
    rng = np.random.default_rng([8, seed])
    gap = (longest + 1) / 2 / 0.9 / servers
    return np.cumsum(rng.geometric(1 / (1 + gap), NUMBER) - 1), rng.integers(1, longest, NUMBER, endpoint=True)


def in_seconds(arrivals: np.ndarray, steps: np.ndarray) -> Path:
    return Path(arrivals * STEP_S, steps * STEP_S, float(arrivals[-1]) * STEP_S, NUMBER)


def test_ties_occur() -> None:
    arrivals, steps = whole_path(0, 1)
    ends = arrivals + lindley(arrivals, steps) + steps
    assert len(np.intersect1d(arrivals, ends)) > 100
    assert len(np.unique(arrivals)) < 0.9 * NUMBER


@pytest.mark.parametrize("seed", range(3))
def test_one_server(seed: int) -> None:
    arrivals, steps = whole_path(seed, 1)
    found = serve(in_seconds(arrivals, steps))
    assert_equal_times(found.wait_s, lindley(arrivals, steps) * STEP_S)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_the_shortest_of_those_who_have_come(replicas: int) -> None:
    """Who comes at the end of a service is among those of whom the server takes the shortest."""
    arrivals, steps = whole_path(replicas, replicas)
    scenario = servers(replicas, scheduler="shortest_prompt_first", router="central_queue")
    found = serve(in_seconds(arrivals, steps), scenario)
    assert_equal_times(found.wait_s, shortest_first(arrivals, steps, replicas) * STEP_S)


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_one_queue_for_several_servers(replicas: int) -> None:
    """And of several that are free, some since this very moment, the first takes who comes."""
    arrivals, steps = whole_path(replicas, replicas)
    found = serve(in_seconds(arrivals, steps), servers(replicas, router="central_queue"))
    assert found.replica.tolist() == assign(arrivals, steps, replicas, first_free)[1].tolist()
    assert_equal_times(found.wait_s, kiefer_wolfowitz(arrivals, steps, replicas) * STEP_S)


def test_several_servers_in_turn() -> None:
    arrivals, steps = whole_path(4, 3)
    found = serve(in_seconds(arrivals, steps), servers(3))
    waits, chosen = assign(arrivals, steps, 3, in_turn)
    assert found.replica.tolist() == chosen.tolist()
    assert_equal_times(found.wait_s, waits * STEP_S)


@pytest.mark.parametrize("gap", [0.2, 3.0, 30.0])
def test_who_comes_between_two_iterations_boards_at_once(gap: float) -> None:
    rng = np.random.default_rng(9)
    arrivals, steps = np.cumsum(rng.geometric(1 / (1 + gap), NUMBER) - 1), rng.integers(1, 40, NUMBER)
    found = serve_steps(in_seconds(arrivals, steps), servers(max_num_seqs=NUMBER), STEP_S)
    assert boarding(arrivals, steps, 1).tolist() == arrivals.tolist()
    assert_equal_times(found.wait_s, np.zeros(NUMBER))
    assert_equal_times(found.sojourn_s, steps * STEP_S)


@pytest.mark.parametrize("users", [1, 3, 12])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_closed_loop(users: int, replicas: int) -> None:
    """Users who come back at one instant are served in the order in which they were served before."""

    def times(user: int, unit: float) -> Iterator[tuple[float, float]]:
        rng = np.random.default_rng([10, user])
        while True:
            yield int(rng.integers(0, 12)) * unit, int(rng.integers(1, 4)) * unit

    steps = 800
    scenario = servers(replicas, router="central_queue")
    found = serve_users([times(user, STEP_S) for user in range(users)], scenario, (steps - 0.5) * STEP_S)
    expected = repairman([times(user, 1) for user in range(users)], replicas, steps - 0.5)
    assert found.visits.keys() == expected.keys()
    expected_s = np.array(list(expected.values())) * STEP_S
    assert_equal_times(np.array([found.visits[key] for key in expected]), expected_s)

"""Which replica a request goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.engine import ROUTERS, Request
from ctxsim.sim.dispatch import CENTRAL
from ctxsim.spec.serving import Router


@dataclass
class Replica:
    """What a router sees of one; kept: tokens of each session."""

    outstanding: int = 0
    queued_tokens: int = 0
    kept: dict[int, int] = field(default_factory=dict)

    def waiting_tokens(self) -> int:
        return self.queued_tokens

    def kept_tokens(self, request: Request) -> int:
        return min(self.kept.get(request.session, 0), request.prompt_tokens - 1)


def routes(name: str, replicas: Sequence[Replica], *sessions: int, prompt_tokens: int = 100) -> list[int]:
    router = ROUTERS[name](replicas)
    return [router.route(Request(i, prompt_tokens, 1, session)) for i, session in enumerate(sessions)]


def test_round_robin_takes_turns_whatever_the_session() -> None:
    assert routes("round_robin", [Replica(9), Replica(), Replica()], 5, 5, 5, 0, 9) == [0, 1, 2, 0, 1]


def test_session_affinity_stays_with_a_session_and_deals_sessions_out_in_turn() -> None:
    replicas = [Replica(9), Replica(), Replica()]
    assert routes("session_affinity", replicas, 0, 1, 2, 3, 1, 1, 0) == [0, 1, 2, 0, 1, 1, 0]


def test_least_loaded_looks_at_requests_alone_and_takes_the_first_of_equal_ones() -> None:
    """Not at what they ask for, nor at what is kept."""
    replicas = [Replica(2), Replica(1, queued_tokens=10**6), Replica(1, kept={7: 90})]
    assert routes("least_loaded", replicas, 7) == [1]
    replicas[1].outstanding = 3
    assert routes("least_loaded", replicas, 7) == [2]


@pytest.mark.parametrize(
    ("queued_tokens", "kept_tokens", "chosen"),
    [
        (0, 90, 1),  # 10 tokens to compute there, 100 here
        (89, 90, 1),
        (90, 90, 0),  # 100 to compute on both: the one with fewer requests
        (91, 90, 0),  # waiting is longer than what it saves
        (0, 0, 0),
    ],
)
def test_prefix_aware_takes_the_replica_with_the_fewest_tokens_to_compute(
    queued_tokens: int, kept_tokens: int, chosen: int
) -> None:
    replicas = [Replica(1), Replica(2, queued_tokens, {7: kept_tokens})]
    assert routes("prefix_aware", replicas, 7) == [chosen]


def test_prefix_aware_takes_the_first_of_equal_replicas() -> None:
    assert routes("prefix_aware", [Replica(2), Replica(1), Replica(1)], 7) == [1]


@pytest.mark.parametrize("name", ROUTERS)
@given(loads=st.lists(st.builds(Replica, st.integers(0, 9)), min_size=1, max_size=9), sessions=st.lists(st.integers(0)))
def test_every_route_leads_to_a_replica(name: str, loads: list[Replica], sessions: list[int]) -> None:
    assert all(0 <= route < len(loads) for route in routes(name, loads, *sessions))


def test_every_router_of_the_scenario_file_exists() -> None:
    assert {*ROUTERS, CENTRAL} == set(get_args(Router))

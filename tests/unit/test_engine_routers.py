"""Which replica a request goes to."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.engine import ROUTERS
from ctxsim.spec.serving import Router


def test_round_robin_takes_turns_whatever_the_session() -> None:
    router = ROUTERS["round_robin"](3)
    assert [router.route(session) for session in (5, 5, 5, 0, 9)] == [0, 1, 2, 0, 1]


def test_session_affinity_stays_with_a_session_and_deals_sessions_out_in_turn() -> None:
    router = ROUTERS["session_affinity"](3)
    assert [router.route(session) for session in (0, 1, 2, 3, 1, 1, 0)] == [0, 1, 2, 0, 1, 1, 0]


@pytest.mark.parametrize("name", ROUTERS)
@given(replicas=st.integers(1, 9), sessions=st.lists(st.integers(0, 10**6)))
def test_every_route_leads_to_a_replica(name: str, replicas: int, sessions: list[int]) -> None:
    router = ROUTERS[name](replicas)
    assert all(0 <= router.route(session) < replicas for session in sessions)


def test_every_router_of_the_scenario_file_exists() -> None:
    assert set(ROUTERS) == set(get_args(Router))

"""Arrivals, boundaries, horizons and refusals, on engines of constant iterations where every time is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.cases import Case, engine, stub_cost
from support.laws import ConstantLaw
from support.real import closed_requests, scenario_of
from support.sources import Lengths, at

from ctxsim.sim import simulate
from ctxsim.sim.cluster import Stepping
from ctxsim.sim.journal import Journal

pytestmark = pytest.mark.parametrize("stepping", ["macro", "single"])


def served(
    stepping: Stepping,
    *demands: tuple[float, int, int],
    capacity_bytes: float = 1e9,
    users: Sequence[Sequence[Lengths]] = (),
    think_s: float = 0.0,
    **limits: float | None,
) -> Journal:
    """The journal of requests (arrival, prompt, output) on iterations of one second."""
    cost = stub_cost(law=ConstantLaw(1.0), capacity_bytes=capacity_bytes)
    listed = [at(*demand, index=i) for i, demand in enumerate(demands)]
    return Case(cost, engine(**limits), listed, users, think_s).run(stepping)  # type: ignore[arg-type]


def times(journal: Journal) -> list[tuple[float, float, float]]:
    """Admission, first token and end of every request."""
    return [(r.admitted_s, r.first_token_s, r.finished_s) for r in sorted(journal.finished, key=lambda r: r.index)]


def test_one_request(stepping: Stepping) -> None:
    assert times(served(stepping, (2.5, 10, 4))) == [(2.5, 3.5, 6.5)]


def test_an_arrival_waits_for_the_next_boundary(stepping: Stepping) -> None:
    assert times(served(stepping, (0.0, 10, 10), (3.25, 10, 1)))[1] == (4.0, 5.0, 5.0)


@pytest.mark.parametrize(("late_s", "joins_s"), [(-1e-10, 3.0), (0.0, 3.0), (5e-10, 3.0), (1.5e-9, 4.0), (1e-6, 4.0)])
def test_an_arrival_at_a_boundary_joins_there(stepping: Stepping, late_s: float, joins_s: float) -> None:
    """Up to a nanosecond late, within a jump as well as between two runs."""
    arrival_s = 3.0 + late_s
    amid = served(stepping, (0.0, 10, 10), (arrival_s, 10, 1))
    assert times(amid)[1][0] == joins_s
    between = served(stepping, (0.0, 10, 3), (0.5, 10, 20), (arrival_s, 10, 1))
    assert times(between)[2][0] == joins_s


def test_an_idle_replica_starts_at_the_arrival(stepping: Stepping) -> None:
    assert times(served(stepping, (0.0, 10, 1), (1.0 + 1e-6, 10, 1)))[1] == pytest.approx(
        (1.000001, 2.000001, 2.000001)
    )


@pytest.mark.parametrize("late_s", [1.2e-9, 1.5e-9, 1.9e-9, 2.5e-9])
def test_an_arrival_just_after_the_last_boundary_starts_at_once(stepping: Stepping, late_s: float) -> None:
    """Nothing is left to do at that boundary, and nothing runs in between, in open loops and in closed ones."""
    journal = served(stepping, (0.0, 10, 1), (1.0 + late_s, 10, 1))
    assert times(journal)[1] == pytest.approx((1.0, 2.0, 2.0), abs=1e-8)
    assert len(journal.runs) == 2
    journal = served(stepping, users=[[(10, 1), (10, 1)]], think_s=late_s)
    assert times(journal)[1] == pytest.approx((1.0, 2.0, 2.0), abs=1e-8)
    assert len(journal.runs) == 2


def test_a_first_token_is_never_before_its_arrival(stepping: Stepping) -> None:
    journal = served(stepping, (0.0, 10, 1), (5e-10, 10, 1), (1.0 + 9e-10, 10, 1))
    assert [t[1] for t in times(journal)] == [1.0, 1.0, pytest.approx(2.0, abs=1e-9)]
    assert all(r.arrival_s < r.first_token_s for r in journal.finished)


def test_equal_arrivals_keep_their_order(stepping: Stepping) -> None:
    journal = served(stepping, *[(1.0, 10, 2)] * 4, max_num_seqs=1)
    assert [r.index for r in journal.finished] == [0, 1, 2, 3]
    assert [t[2] for t in times(journal)] == [3.0, 5.0, 7.0, 9.0]


def test_a_released_request_joins_another_replica_at_the_same_boundary(stepping: Stepping) -> None:
    """Replica 0 ends one at 1 s; the next of its user goes to replica 1, whose boundary is at 1 s as well."""
    journal = served(stepping, users=[[(10, 1), (10, 1)], [(10, 6)]], replicas=2)
    finished = {r.index: r for r in journal.finished}
    assert [finished[i].replica for i in range(3)] == [0, 1, 0]
    journal = served(stepping, users=[[(10, 1), (10, 1), (10, 1)], [(10, 6)]], replicas=2)
    fourth = max(journal.finished, key=lambda r: r.index)
    assert (fourth.replica, fourth.arrival_s, fourth.admitted_s, fourth.finished_s) == (1, 2.0, 2.0, 3.0)


def test_a_user_thinks_between_requests(stepping: Stepping) -> None:
    journal = served(stepping, users=[[(10, 2), (10, 2)]], think_s=4.0)
    assert times(journal) == [(0.0, 1.0, 2.0), (6.0, 7.0, 8.0)]


def test_nothing_arrives_at_or_after_the_horizon_and_the_rest_is_served(stepping: Stepping) -> None:
    journal = served(stepping, (0.0, 10, 50), (9.0, 10, 5), (10.0, 10, 5), (11.0, 10, 5), horizon_s=10.0)
    assert journal.arrivals == 2
    assert [r.finished_s for r in journal.finished] == [14.0, 50.0]
    thinking = served(stepping, users=[[(10, 2)] * 9], think_s=4.0, horizon_s=12.0)
    assert [r.arrival_s for r in thinking.finished] == [0.0, 6.0]


def test_what_can_never_be_served_is_rejected(stepping: Stepping) -> None:
    """Longer than the whole pool, of ten blocks of 16 tokens, or than the longest context."""
    journal = served(stepping, (0.0, 161, 0), (0.0, 160, 1), (1.0, 150, 12), (2.0, 10**6, 1), capacity_bytes=160.0)
    assert [d.index for d in journal.rejected] == [0, 2, 3]
    assert [r.index for r in journal.finished] == [1]
    assert journal.arrivals == 4


def test_the_users_of_rejected_requests_go_on(stepping: Stepping) -> None:
    """Without thinking, too: thousands of refusals in one instant."""
    journal = served(stepping, users=[[(1000, 1)] * 3000 + [(10, 1)]], capacity_bytes=160.0)
    assert len(journal.rejected) == 3000
    assert times(journal) == [(0.0, 1.0, 1.0)]


def test_no_requests_end_at_once(stepping: Stepping) -> None:
    assert served(stepping).arrivals == 0


@pytest.mark.parametrize("think_time", ["0 s", "10 ms", "3 s"])
def test_closed_loops_send_as_many_requests_as_asked_for(stepping: Stepping, think_time: str) -> None:
    """Also where early users are back before late ones begin."""
    requests = closed_requests("llama-3.1-8b", prompt=20, output=2, users=20, think_time=think_time, num_requests=30)
    assert simulate(requests, stepping=stepping).summary["completed_requests"] == 30
    sessions = {
        "kind": "sessions",
        "users": 8,
        "document_tokens": 20,
        "rounds": 1,
        "question_tokens": 1,
        "answer_tokens": 1,
        "think_time": think_time,
        "num_sessions": 12,
    }
    simulation = simulate(scenario_of("llama-3.1-8b", "h200-sxm", sessions), stepping=stepping)
    assert len(simulation.sessions) == 12


def test_progress_counts_finished_requests(stepping: Stepping) -> None:
    seen: list[int] = []
    requests = closed_requests("llama-3.1-8b", prompt=20, output=2, users=3, num_requests=7)
    simulate(requests, stepping=stepping, progress=seen.append)
    assert seen[-1] == 7
    assert seen == sorted(seen)

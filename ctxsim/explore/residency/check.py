"""The map held against simulation: at sampled points, whose gaps cost least under each policy, and what sessions cost.

The closed form is that of a gap alone on its replica, whose HBM others want. Simulated is a replica with just as many
users as it can serve: under keep those whose sessions HBM has room for, else so many that it runs at 90 % of the rate
at which it was seen to complete sessions with more of them (LOAD_RATIO). With fewer, KV would lie in HBM because nobody
else wants the room; with more, turns would queue, and KV would idle much longer than users think. Host memory is as
large as is wanted (its price counts, its size does not), and there is no disk.

Two kinds of dollars are found. ``gaps_usd``: what the gaps of a session cost by the simulation's own ledger, the
quantity that the map shows; a point agrees where the map's choice is the cheapest there, or within 3 % of it.
``session_usd``: what the accelerators cost at the rate at which sessions were completed, and the host memory that gaps
took; it tells whether the cheaper gap makes the cheaper session. ``waited_s``: how much longer than its user thought
KV idled in the mean, until the turn was admitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np

from ctxsim.analysis import analyze
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.explore.executors import Executor, answers, local
from ctxsim.explore.residency.map import ResidencyMap
from ctxsim.explore.residency.sample import Point, contended_base, sample
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Residency
from ctxsim.spec.workload import ConstantTime, Sessions
from ctxsim.units import SECONDS_PER_HOUR, exact

POLICIES: tuple[Residency, ...] = ("keep", "swap", "recompute")
CLOSE_RATIO = 1.03
"""Choices that differ by less cost the same."""

LOAD_RATIO = 0.9
MOST_USERS, MORE_USERS = 2_000, 2
"""Never more, lest one point take minutes; and more than HBM has room for, at least by so many, except under keep."""

CYCLES, LEAST_SESSIONS = 4, 40
STEADY = (0.4, 0.8)
"""Sessions for every user; those counted, by the order in which they end."""

ENDLESS_USERS = 10**6
"""Users beside whom the bound that counts them never binds."""


@dataclass(frozen=True)
class Found:
    """What one policy's simulation gave, a session each."""

    users: int
    gaps_usd: float
    session_usd: float
    sessions_per_hour: float
    waited_s: float


@dataclass(frozen=True)
class Checked:
    """One point. expected_usd: of a session's gaps, in closed form, by choice; margin_ratio: second best / best.

    found: by policy. cheapest: whose gaps cost least; agrees: that is the map's choice, or the choice is within 3 % of
    it. cheapest_bill, bill_agrees: the same by what whole sessions cost.
    """

    context_tokens: int
    idle_s: float
    choice: str
    expected_usd: dict[str, float]
    margin_ratio: float
    found: dict[str, Found]
    cheapest: str
    agrees: bool
    cheapest_bill: str
    bill_agrees: bool


@dataclass(frozen=True)
class _Task:
    """One policy at one point of a scenario."""

    base: Scenario
    point: Point
    policy: Residency

    def run(self) -> Found:
        """Simulates it with the users that it can serve."""
        endless = _endless(self.base, self.point, self.policy)
        found = analyze(endless)
        room = found.keys["kv_capacity_bytes"] / _longest_bytes(endless)
        if self.policy == "keep":
            return _found(simulate(_with_users(endless, floor(room))))
        alone_s = found.course.busy_s + found.session.rounds * found.session.think_s
        least = ceil(room) + MORE_USERS
        crowd = min(MOST_USERS, max(least, ceil(found.bounds[0].sessions_per_s * alone_s)))
        rate_per_s = _found(simulate(_with_users(endless, crowd))).sessions_per_hour / SECONDS_PER_HOUR
        users = min(MOST_USERS, max(least, round(LOAD_RATIO * rate_per_s * alone_s)))
        return _found(simulate(_with_users(endless, users)))


def check_map(mapped: ResidencyMap, points: int, seed: int = 0, executor: Executor | None = None) -> list[Checked]:
    """So many points of the map, those of each choice in turn, simulated under keep, swap and recompute.

    Raises SpecError where the scenario's users have no gaps, or HBM has no room for two sessions.
    """
    base = contended_base(mapped.scenario)
    return check_points(base, sample(mapped, base, points, seed), executor)


def check_points(base: Scenario, points: Sequence[Point], executor: Executor | None = None) -> list[Checked]:
    """These points of a scenario as ``contended_base`` makes it."""
    policies = [policy for policy in POLICIES if policy != "swap" or base.serving.host_kv_capacity]
    tasks = [_Task(base, point, policy) for point in points for policy in policies]
    found = answers(tasks, executor or local(1))
    return [
        _checked(point, dict(zip(policies, found[place * len(policies) :], strict=False)))
        for place, point in enumerate(points)
    ]


def _checked(point: Point, found: dict[str, Found]) -> Checked:
    gaps = _held_against(point.choice, {name: one.gaps_usd for name, one in found.items()})
    bill = _held_against(point.choice, {name: one.session_usd for name, one in found.items()})
    return Checked(point.context_tokens, point.idle_s, point.choice, point.usd, point.margin_ratio, found, *gaps, *bill)


def _held_against(choice: str, usd: dict[str, float]) -> tuple[str, bool]:
    """The cheapest, and whether the choice is as cheap."""
    cheapest = min(usd, key=lambda name: usd[name])
    return cheapest, usd[choice] <= CLOSE_RATIO * usd[cheapest]


def _endless(base: Scenario, point: Point, policy: Residency) -> Scenario:
    """The scenario at that context and think time under that policy, with users without end."""
    workload = base.workload
    assert isinstance(workload, Sessions)
    session = typical_session(base)
    document = point.context_tokens - session.question_tokens - max(session.answer_tokens - 1, 0)
    lengths = {
        "document_tokens": document, "question_tokens": session.question_tokens, "answer_tokens": session.answer_tokens,
    }  # fmt: skip
    update = {name: ConstantLength(tokens=tokens) for name, tokens in lengths.items()}
    think = ConstantTime.model_validate({"kind": "constant", "value": exact(point.idle_s, "seconds")})
    asked = workload.model_copy(update={**update, "think_time": think, "arrival": None, "users": ENDLESS_USERS})
    endless = replace(base, workload=asked, run=base.run.model_copy(update={"horizon": None}))
    room_bytes = ENDLESS_USERS * _longest_bytes(endless) if policy == "swap" else 0.0
    serving = base.serving.model_copy(update={"residency": policy, "host_kv_capacity": room_bytes})
    return replace(endless, serving=serving)


def _with_users(endless: Scenario, users: int) -> Scenario:
    """So many users, and an end."""
    ending = {"users": users, "num_sessions": max(LEAST_SESSIONS, CYCLES * users)}
    return replace(endless, workload=endless.workload.model_copy(update=ending))


def _longest_bytes(scenario: Scenario) -> float:
    """KV of a session at its longest."""
    most_tokens = typical_session(scenario).most_tokens
    assert most_tokens is not None
    return CostModel(scenario).layout.footprint_bytes(most_tokens)


def _found(simulation: Simulation) -> Found:
    """What a session cost, in the steady middle of the simulation."""
    scenario, costs = simulation.scenario, simulation.summary["gap_cost_usd"]
    ends_s = np.sort(simulation.sessions["end_s"])
    first, last = (int(share * len(ends_s)) for share in STEADY)
    per_s = (last - first) / float(ends_s[last] - ends_s[first])
    gaps = (typical_session(scenario).rounds - 1) / costs["gaps"]
    requests = simulation.requests
    workload = scenario.workload
    assert isinstance(workload, Sessions)
    assert workload.users is not None
    return Found(
        users=workload.users,
        gaps_usd=costs["total_usd"] * gaps,
        session_usd=replica_usd_per_s(scenario) / per_s + costs["hold_host_usd"] * gaps,
        sessions_per_hour=per_s * SECONDS_PER_HOUR,
        waited_s=float(np.mean(requests["queue_s"][requests["turn"] > 0])),
    )

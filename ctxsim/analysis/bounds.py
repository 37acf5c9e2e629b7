"""Operational bounds on sessions per second: what no schedule can exceed (after Denning and Buzen, 1978).

Decoding shares weight reads, so each resource is asked for the least it must do for a session:

    users          N / (R_alone + rounds x think)                 (closed loop; in an open one, the arrival rate)
    compute        1 / FLOP time of a session
    hbm_bandwidth  1 / (own bytes / M + passes x W / (B_max x M)),  B_max = min(max_num_seqs, KV capacity)
    hbm_size       sessions held: KV x time, while they decode and while their users think (see residency)

They hold in the steady state: a run that ends may finish a last session before its last think time is over. Those of
groups of replicas add up, as a session stays with its group; users wait for the fastest of them. Of distributed lengths
and of traces they are those of the mean session, which may be passed where lengths depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from ctxsim.analysis.course import SessionCourse
from ctxsim.analysis.residency import POLICIES, GapWays, Policy, Shares, ways_of
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel


@dataclass(frozen=True, slots=True)
class Bound:
    """The most sessions per second that one resource of the fleet allows, with its formula and numbers put in."""

    resource: str
    sessions_per_s: float
    work: str


@dataclass(frozen=True, slots=True)
class Group:
    """Equal replicas: their costs, the course of a session alone on one, and how many sessions' KV one holds."""

    cost: CostModel
    course: SessionCourse
    concurrent_sessions: float

    @property
    def replicas(self) -> int:
        """How many there are."""
        return self.cost.scenario.deployment.replicas


def tightest_first(bounds: Sequence[Bound]) -> list[Bound]:
    """The bounds in ascending order."""
    return sorted(bounds, key=lambda b: b.sessions_per_s)


def common_bounds(groups: Sequence[Group], session: TypicalSession) -> list[Bound]:
    """The bounds that hold under every residency policy."""
    return [
        _users(groups, session),
        _total("compute", groups, [_compute(group) for group in groups]),
        _total("hbm_bandwidth", groups, [_bandwidth(group) for group in groups]),
    ]


def size_bounds(groups: Sequence[Group], session: TypicalSession) -> dict[Policy, Bound]:
    """The bound that the size of HBM sets under each policy, relieved by what that may do with KV that nobody uses."""
    shares = [Shares.of(group.cost, group.course, session) for group in groups]
    found: dict[tuple[GapWays, ...], Bound] = {}
    by_policy = {}
    for policy in POLICIES:
        ways = tuple(ways_of(group.cost, session, policy) for group in groups)
        if ways not in found:
            sizes = [_size(replace(share, ways=way)) for share, way in zip(shares, ways, strict=True)]
            found[ways] = _total("hbm_size", groups, sizes)
        by_policy[policy] = found[ways]
    return by_policy


def _total(resource: str, groups: Sequence[Group], rates: Sequence[tuple[float, str]]) -> Bound:
    """The sum over groups of their replicas' rates, which come with how they are worked out."""
    parts = [(group.replicas, *rate) for group, rate in zip(groups, rates, strict=True)]
    work = " + ".join(f"{replicas} replicas {words}" for replicas, _, words in parts)
    return Bound(resource, sum(replicas * per_s for replicas, per_s, _ in parts), work)


def _size(shares: Shares) -> tuple[float, str]:
    seconds = shares.least_s()
    return 1 / seconds if seconds else inf, shares.work(seconds)


def _users(groups: Sequence[Group], session: TypicalSession) -> Bound:
    if session.users is None:
        rate = inf if session.arrivals_per_s is None else session.arrivals_per_s
        return Bound("arrivals", rate, f"arrival rate {rate:.6g} /s")
    busy_s = min(group.course.busy_s for group in groups)
    wall_s = busy_s + session.rounds * session.think_s
    work = f"{session.users} users / ({busy_s:.6g} s alone + {session.rounds} x {session.think_s:.6g} s think)"
    return Bound("users", session.users / wall_s if wall_s else inf, work)


def _compute(group: Group) -> tuple[float, str]:
    seconds = group.course.compute_s
    return 1 / seconds if seconds else inf, f"/ {seconds:.6g} s of FLOP per session"


def _bandwidth(group: Group) -> tuple[float, str]:
    cost, course = group.cost, group.course
    most = max(1.0, min(cost.scenario.serving.max_num_seqs, group.concurrent_sessions))
    streamed = _least_streamed_bytes(cost, most)
    seconds = (course.own_bytes + course.passes * streamed / most) / cost.rates.hbm_bytes_per_s
    work = (
        f"x {cost.rates.hbm_bytes_per_s:.6g} B/s / ({course.own_bytes:.6g} B own + "
        f"{course.passes} passes x {streamed:.6g} B of weights / {most:.6g} sequences)"
    )
    return 1 / seconds if seconds else inf, work


def _least_streamed_bytes(cost: CostModel, sequences: float) -> float:
    """Weight bytes that an iteration over so many sequences reads at least: of a round, or of a plain pass."""
    batch = cost.batch(1, 1, sequences=sequences)
    plain = sum(op.streamed_bytes(sequences, sequences) for op in cost.operations)
    return float(min(cost.streamed_bytes(batch), plain))

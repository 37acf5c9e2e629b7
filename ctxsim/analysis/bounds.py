"""Operational bounds on sessions per second: what no schedule can exceed (after Denning and Buzen, 1978).

Decoding shares weight reads, so each resource is asked for the least it must do for a session:

    users          N / (R_alone + rounds x think)                 (closed loop; in an open one, the arrival rate)
    compute        1 / FLOP time of a session
    hbm_bandwidth  1 / (own bytes / M + passes x W / (B_max x M)),  B_max = min(max_num_seqs, KV capacity)
    hbm_size       sessions held: KV x time. A session is resident while it decodes; while its user thinks it is
                   resident too (keep), is brought back over the host link at least once (swap), or is not (recompute)
    host_link      with hbm_size: a share f of the thinks swapped, so X <= C / (f b) and X <= K / (R + (1 - f) Z),
                   and no more sessions outside HBM than host memory and disk hold: X f Z <= H

They hold in the steady state: a run that ends may finish a last session before its last think time is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ctxsim.analysis.course import SessionCourse
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel, nodes


@dataclass(frozen=True, slots=True)
class Bound:
    """The most sessions per second that one resource of the fleet allows, with its formula and numbers put in."""

    resource: str
    sessions_per_s: float
    work: str


def session_bounds(
    cost: CostModel, session: TypicalSession, course: SessionCourse, concurrent_sessions: float
) -> list[Bound]:
    """All bounds of the fleet, the tightest first."""
    replicas = cost.scenario.deployment.replicas
    bounds = [
        _users(session, course),
        _compute(course, replicas),
        _hbm_bandwidth(cost, course, concurrent_sessions, replicas),
        _hbm_size(cost, session, course, concurrent_sessions, replicas),
    ]
    return sorted(bounds, key=lambda b: b.sessions_per_s)


def _users(session: TypicalSession, course: SessionCourse) -> Bound:
    if session.users is None:
        rate = inf if session.arrivals_per_s is None else session.arrivals_per_s
        return Bound("arrivals", rate, f"arrival rate {rate:.6g} /s")
    wall_s = course.busy_s + session.rounds * session.think_s
    work = f"{session.users} users / ({course.busy_s:.6g} s alone + {session.rounds} x {session.think_s:.6g} s think)"
    return Bound("users", session.users / wall_s if wall_s else inf, work)


def _compute(course: SessionCourse, replicas: int) -> Bound:
    work = f"{replicas} replicas / {course.compute_s:.6g} s of FLOP per session"
    return Bound("compute", replicas / course.compute_s if course.compute_s else inf, work)


def _hbm_bandwidth(cost: CostModel, course: SessionCourse, concurrent_sessions: float, replicas: int) -> Bound:
    most = max(1.0, min(cost.scenario.serving.max_num_seqs, concurrent_sessions))
    streamed = cost.streamed_bytes(cost.batch(1, 1, sequences=most))
    seconds = (course.own_bytes + course.passes * streamed / most) / cost.rates.hbm_bytes_per_s
    work = (
        f"{replicas} replicas x {cost.rates.hbm_bytes_per_s:.6g} B/s / ({course.own_bytes:.6g} B own + "
        f"{course.passes} passes x {streamed:.6g} B of weights / {most:.6g} sequences)"
    )
    return Bound("hbm_bandwidth", replicas / seconds if seconds else inf, work)


def _hbm_size(
    cost: CostModel, session: TypicalSession, course: SessionCourse, concurrent_sessions: float, replicas: int
) -> Bound:
    held_s = course.resident_s
    think_s = (session.rounds - 1) * session.think_s
    most = concurrent_sessions / held_s if held_s else inf
    work = f"{replicas} replicas x {concurrent_sessions:.6g} sessions / {held_s:.6g} s resident"
    residency = cost.scenario.serving.residency
    if residency in ("keep", "swap") and think_s:
        slots = concurrent_sessions + (_outside_slots(cost, session, think_s) if residency == "swap" else 0.0)
        kept = slots / (held_s + think_s)
        if kept < most:
            most = kept
            work = (
                f"{replicas} replicas x {slots:.6g} sessions (in HBM, or sustained by swapping over the host link) / "
                f"({held_s:.6g} s resident + {think_s:.6g} s think)"
            )
    return Bound("hbm_size", replicas * most, work)


def _outside_slots(cost: CostModel, session: TypicalSession, think_s: float) -> float:
    """Sessions that can think outside HBM: what the link brings back in time, and what there is room for.

    From the constraints above: f = C (R + Z) / (K b + C Z), and X = (K + min(C Z / b, H)) / (R + Z).
    """
    kv_bytes = cost.layout.held_bytes(session.document_tokens + session.question_tokens)
    returned = cost.host_link_bytes_per_s * think_s / ((session.rounds - 1) * kv_bytes)
    serving = cost.scenario.serving
    room_bytes = nodes(cost.scenario) * (serving.host_kv_capacity + serving.disk_kv_capacity)
    return float(min(returned, room_bytes / cost.scenario.deployment.replicas / kv_bytes))

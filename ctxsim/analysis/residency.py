"""How many sessions HBM allows, when the KV of sessions whose users think may lie elsewhere or nowhere.

Of the think time within a session, n gaps of together Z, a replica that completes a session every u seconds can

    hold       at most (u K - R b0) / (Z b) in HBM: K bytes hold b0 for the R seconds of decoding, b while idle,
    swap       at most T(u C / (n b)) and u H / (Z b): C bytes/s of the links swap b per gap, H bytes take it in,
    recompute  at most T((u - F) / (n f)): F seconds of FLOP for the session and f to compute b again,

where T(p) is the share of think time in the longest p of the gaps. The bound is the least u at which what the policy
may do covers all of it. keep: hold. recompute: hold, or drop and compute again. swap: hold, swap, and compute again
what host memory may have no room for, or what another replica has. cheapest and clairvoyant: whatever is best. Copies
and prompts computed again also take HBM, disk and bandwidth, which is left out: it would only lower the bound.
Under keep it holds while no session is displaced: what is being served displaces others when it grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from ctxsim.analysis.course import SessionCourse
from ctxsim.analysis.session import TypicalSession
from ctxsim.analysis.thinks import ShareOfLongest, share_of_longest
from ctxsim.cost import CostModel
from ctxsim.cost.memory import store_bytes
from ctxsim.cost.topology import HBM, HOST, Fabric
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Residency as Policy
from ctxsim.spec.workload import Sessions

__all__ = ["POLICIES", "GapWays", "Policy", "Shares", "swap_bytes_per_s", "ways_of"]

POLICIES: tuple[Policy, ...] = ("keep", "swap", "recompute", "cheapest", "clairvoyant")

SAME_HOME = ("session_affinity",)
"""Routers that bring every turn of a session to the replica of the last one."""

CLOSE = 1e-13
"""A share that rounding makes of nothing."""


class GapWays(NamedTuple):
    """What may be done with the KV of a session whose user thinks."""

    hold: bool
    swap: bool
    recompute: bool


def ways_of(cost: CostModel, session: TypicalSession, policy: Policy) -> GapWays:
    """The ways of a policy on one replica: keep never computes again, swap only what got lost."""
    serving = cost.scenario.serving
    if not serving.enable_prefix_caching:
        return GapWays(hold=False, swap=False, recompute=True)
    swaps = policy not in ("keep", "recompute") and serving.host_kv_capacity > 0
    lost = policy != "keep" and (policy != "swap" or _may_be_lost(cost, session))
    return GapWays(hold=True, swap=swaps, recompute=lost)


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of think time can be covered in each way, by the seconds that a replica has for each session.

    pool_bytes, served_byte_s: of HBM, and what decoding takes of it. gaps, think_s: number in a session and total
    length. kept_bytes: of one idle session. swapped_bytes_per_s, room_bytes: of a replica. computed_s, again_s: FLOP
    time of a session, and of one gap's context.
    """

    pool_bytes: float
    served_byte_s: float
    gaps: int
    think_s: float
    kept_bytes: float
    swapped_bytes_per_s: float
    room_bytes: float
    computed_s: float
    again_s: float
    longest: ShareOfLongest
    ways: GapWays

    @classmethod
    def of(cls, cost: CostModel, course: SessionCourse, session: TypicalSession) -> Shares:
        """The shares of one replica of a group where everything may be done."""
        scenario, layout = cost.scenario, cost.layout
        gaps = session.rounds - 1
        kept_tokens = session.known_tokens // layout.block_size * layout.block_size
        workload = scenario.workload
        return cls(
            pool_bytes=max(0.0, cost.memory.kv_capacity_bytes),
            served_byte_s=course.resident_s * layout.held_bytes(session.own_tokens),
            gaps=gaps,
            think_s=gaps * session.think_s,
            kept_bytes=layout.extent_bytes(0, kept_tokens),
            swapped_bytes_per_s=swap_bytes_per_s(scenario, gaps) if gaps else 0.0,
            room_bytes=sum(store_bytes(scenario)),
            computed_s=course.compute_s,
            again_s=again_s(cost, kept_tokens) if gaps else 0.0,
            longest=share_of_longest(workload.think_time if isinstance(workload, Sessions) else None),
            ways=GapWays(hold=True, swap=True, recompute=True),
        )

    def held(self, seconds: float) -> float:
        """The share that HBM can hold."""
        if not self.ways.hold:
            return 0.0
        left_byte_s = seconds * self.pool_bytes - self.served_byte_s
        wanted_byte_s = self.think_s * self.kept_bytes
        return left_byte_s / wanted_byte_s if wanted_byte_s else inf

    def covered(self, seconds: float) -> float:
        """The share that all ways together can cover: 1 and more is enough."""
        held = self.held(seconds)
        if held == inf:
            return held
        away = again = 0.0
        if self.ways.recompute:
            again = max(0.0, seconds - self.computed_s) / (self.gaps * self.again_s) if self.again_s else inf
            away = self.longest(again)
        if self.ways.swap:
            swapped = seconds * self.swapped_bytes_per_s / (self.gaps * self.kept_bytes)
            room = seconds * self.room_bytes / (self.think_s * self.kept_bytes)
            away = min(self.longest(swapped + again), room + away)
        return held + away

    def least_s(self) -> float:
        """The least seconds a session that HBM allows: decoding must fit, and the gaps must be covered."""
        least_s = self.served_byte_s / self.pool_bytes if self.pool_bytes else inf
        if not self.gaps or least_s == inf or self.covered(least_s) >= 1:
            return least_s
        enough_s = inf
        if self.ways.hold:
            enough_s = (self.served_byte_s + self.think_s * self.kept_bytes) / self.pool_bytes
        if self.ways.recompute:
            enough_s = min(enough_s, self.computed_s + self.gaps * self.again_s)
        return self._crossing_s(least_s, max(least_s, enough_s))

    def _crossing_s(self, low_s: float, high_s: float) -> float:
        """Where ``covered``, which grows with the seconds, comes to 1.

        By the Illinois method (Dowell and Jarratt, BIT 11, 1971): the end that stays counts half.
        """
        low, high = self.covered(low_s) - 1, self.covered(high_s) - 1
        stayed = 0
        while high > CLOSE and high_s - low_s > CLOSE * high_s:
            middle_s = (low_s * high - high_s * low) / (high - low)
            middle = self.covered(middle_s) - 1
            if middle < 0:
                low_s, low = middle_s, middle
                high /= 2 if stayed > 0 else 1
                stayed = 1
            else:
                high_s, high = middle_s, middle
                low /= 2 if stayed < 0 else 1
                stayed = -1
        return high_s

    def work(self, seconds: float) -> str:
        """The equation with its numbers put in."""
        decoding = f"{self.served_byte_s:.6g} B s of decoding"
        if not self.gaps or self.covered(seconds) > 1 or not self.pool_bytes:
            return f"x {self.pool_bytes:.6g} B of HBM / {decoding}"
        idle = f"{self.think_s:.6g} s x {self.kept_bytes:.6g} B"
        ways = [f"held (u x {self.pool_bytes:.6g} B - {decoding}) / ({idle})"] if self.ways.hold else []
        if self.ways.swap:
            link = f"u x {self.swapped_bytes_per_s:.6g} B/s / ({self.gaps} x {self.kept_bytes:.6g} B)"
            ways.append(f"swapped T({link}), at most u x {self.room_bytes:.6g} B / ({idle})")
        if self.ways.recompute:
            ways.append(f"computed again T((u - {self.computed_s:.6g} s) / ({self.gaps} x {self.again_s:.6g} s))")
        return f"/ u, where 1 = {' + '.join(ways)} at u = {seconds:.6g} s"


def again_s(cost: CostModel, tokens: int) -> float:
    """The least FLOP time that computing a context of ``tokens`` again adds to whatever computes what follows it.

    Chunked layers and those of fixed regions are left out: what is dropped is a tail, and theirs may be cheaper than
    the mean.
    """
    batch = cost.batch(tokens, 0)
    uneven = ("chunked", "fixed")
    pairs = [0.0 if span.kind in uneven else pairs for span, pairs in zip(cost.spans, batch.pairs, strict=True)]
    tokens_alone = replace(batch, sequences=0, decode_tokens=0, pairs=pairs)
    return float(sum(op.flop(tokens_alone) / op.flop_per_s for op in cost.operations))


def swap_bytes_per_s(scenario: Scenario, gaps: int) -> float:
    """Bytes of KV a second that one replica's share of the links can swap out and in, all replicas at once.

    Exclusive tiers move them out and in, at once, both through host memory; inclusive ones in, and out once a session.
    Of all replicas of a node: the roots that they use, or each alone, if that is less.
    """
    fabric = Fabric.of(scenario)
    outs = 1.0 if scenario.serving.host_tier == "exclusive" else 1 / gaps
    fitting = max(1, fabric.node.accelerators // fabric.ranks)
    whole, rest = divmod(scenario.deployment.replicas, fitting)
    total = whole * _node_bytes_per_s(fabric, fitting, outs) if whole else 0.0
    return (total + (_node_bytes_per_s(fabric, rest, outs) if rest else 0.0)) / scenario.deployment.replicas


def _node_bytes_per_s(fabric: Fabric, replicas: int, outs: float) -> float:
    """The same for the first replicas of a node (or one that is larger), with ``outs`` copies out for one in."""
    capacities = fabric.node.capacities
    alone = sum(fabric.lone_bytes_per_s(replica, HOST, HBM) for replica in range(replicas))
    routes = [fabric.route(replica, HOST, HBM) for replica in range(replicas)]
    passed = {resource for route in routes for resource, _ in route}
    memories = {resource for resource in passed if resource % len(capacities) == 2 * fabric.node.roots}
    roots = sum(capacities[resource % len(capacities)] for resource in passed - memories)
    memory = sum(capacities[resource % len(capacities)] for resource in memories)
    return float(min(alone, roots, memory / (1 + outs)))


def _may_be_lost(cost: CostModel, session: TypicalSession) -> bool:
    """Whether KV may ever find no room below HBM, or be asked for where it is not.

    Twice the KV of all users at their longest is room enough: sessions that have just ended may lie beside new ones.
    """
    scenario = cost.scenario
    moves = scenario.deployment.router not in SAME_HOME
    if moves or session.users is None or session.most_tokens is None:
        return True
    wanted_bytes = 2 * session.users * cost.layout.extent_bytes(0, session.most_tokens)
    return wanted_bytes > sum(store_bytes(scenario))

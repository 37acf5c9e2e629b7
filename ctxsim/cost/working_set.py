"""The KV that users want kept between their turns, beside the room there is for it.

Users of a closed loop each keep one session; of sessions that arrive, arrival rate x think time within a session are
between two turns at once (at least: those that are served or wait come on top). Where their KV fits into HBM nothing
has to leave it. Where it does not even fit into what lies below it, KV is given up before it is asked for again: least
recently used first, that is all of it soon, since those who wait longest are the next to ask. Turns are then computed
again, so that everyone waits longer and more KV lies about: past this cliff the fleet does not come back by itself, and
small changes of the load change everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ctxsim.cost.memory import store_bytes
from ctxsim.cost.model import CostModel
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions
from ctxsim.units import show

OFFLOADS = ("swap", "cheapest", "clairvoyant")


@dataclass(frozen=True, slots=True)
class WorkingSet:
    """sessions: whose KV is wanted at once; session_bytes: of one, mean over its gaps. hbm_bytes: of all KV pools.

    room_bytes: of all tiers that the policy uses. Under inclusive tiers what lies in HBM lies below it too. waits: the
    policy makes newcomers wait rather than give KV up, so that there is no cliff.
    """

    sessions: float
    session_bytes: float
    hbm_bytes: float
    room_bytes: float
    waits: bool

    @property
    def total_bytes(self) -> float:
        """The working set."""
        return self.sessions * self.session_bytes

    @property
    def hbm_ratio(self) -> float:
        """Working set / KV pools: above 1 sessions must leave HBM, or wait."""
        return self.total_bytes / self.hbm_bytes

    @property
    def room_ratio(self) -> float:
        """Working set / room: above 1 lies the cliff."""
        return self.total_bytes / self.room_bytes

    @property
    def region(self) -> str:
        """``safe`` in HBM, ``offload`` where tiers below it are needed and enough, ``thrash`` past the cliff."""
        if self.hbm_ratio <= 1:
            return "safe"
        return "waiting" if self.waits else "offload" if self.room_ratio <= 1 else "thrash"

    @property
    def past_cliff(self) -> bool:
        """Whether KV is given up before it is asked for again."""
        return self.region == "thrash"

    def keys(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "sessions": self.sessions,
            "session_bytes": self.session_bytes,
            "total_bytes": self.total_bytes,
            "hbm_bytes": self.hbm_bytes,
            "room_bytes": self.room_bytes,
            "hbm_ratio": self.hbm_ratio,
            "room_ratio": self.room_ratio,
            "past_cliff": self.past_cliff,
        }

    def cautions(self) -> tuple[str, ...]:
        """What whoever reads a prediction must know past the cliff; nothing before it."""
        if not self.past_cliff:
            return ()
        wanted, room = show(self.total_bytes, "bytes"), show(self.room_bytes, "bytes")
        return (
            f"past the cliff: {self.sessions:,.4g} sessions want {wanted} of KV kept between their turns, HBM and what "
            f"the policy uses below it have room for {room}: KV is given up before it is asked for, and numbers here "
            "are those of a fleet that thrashes; see ctxsim cliff",
        )


def working_set(scenario: Scenario, costs: Sequence[CostModel]) -> WorkingSet | None:
    """Of a fleet; None where no session has a second turn, or nothing is kept for it, or HBM has no room for KV at all.

    costs: of each group of ``scenario.fleet``. Recorded traces have none: what they share is not known beforehand.
    """
    workload, serving = scenario.workload, scenario.serving
    if not isinstance(workload, Sessions) or workload.rounds == 1 or not serving.enable_prefix_caching:
        return None
    hbm_bytes = sum(cost.scenario.deployment.replicas * max(0.0, cost.memory.kv_capacity_bytes) for cost in costs)
    if not hbm_bytes:
        return None
    below_bytes = sum(cost.scenario.deployment.replicas * sum(store_bytes(cost.scenario)) for cost in costs)
    return WorkingSet(
        sessions=_sessions(workload),
        session_bytes=_kept_bytes(costs[0], workload),
        hbm_bytes=hbm_bytes,
        room_bytes=_room_bytes(scenario, hbm_bytes, below_bytes),
        waits=serving.residency == "keep",
    )


def _sessions(workload: Sessions) -> float:
    if workload.users is not None:
        return workload.users
    assert workload.arrival is not None
    return workload.arrival.rate * (workload.rounds - 1) * workload.think_time.mean_s


def _kept_bytes(cost: CostModel, workload: Sessions) -> float:
    """KV of the mean session in the middle of its gaps, in whole blocks."""
    turn = workload.question_tokens.mean_tokens + workload.answer_tokens.mean_tokens
    tokens = round(workload.document_tokens.mean_tokens + turn * workload.rounds / 2)
    size = cost.layout.block_size
    return cost.layout.extent_bytes(0, tokens // size * size)


def _room_bytes(scenario: Scenario, hbm_bytes: float, below_bytes: float) -> float:
    if scenario.serving.residency not in OFFLOADS:
        return hbm_bytes
    return hbm_bytes + below_bytes if scenario.serving.host_tier == "exclusive" else max(hbm_bytes, below_bytes)

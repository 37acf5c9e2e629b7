"""The experiment that a residency map is held against: a replica whose HBM others want, and whose turns are not kept
waiting.

A map prices a gap that lasts as long as its user thinks, on a replica where others want the room at once. So:

* Under swap and recompute there are always newcomers who wait, and hold nothing meanwhile: at a bound of X sessions
  a second no more than X x rounds x think time users can be thinking at once, and no more than HBM has room for can be
  served; with more users than both together (``crowd``) somebody waits at all times. KV that nobody displaced would be
  paid for though it is in nobody's way.
* Turns of sessions that are under way go before newcomers (shortest_prompt_first), so that KV idles about as long as
  users think. First come first served they would wait in the newcomers' queue, the longer the more of them there are.
* Under keep there are as many users as HBM has room for at their longest: with more, what is served would grow into
  what is kept, and KV would be lost.

Host memory is as large as is wanted (its price counts, its size does not), and there is no disk.

What is counted are whole cycles, in each of which as many sessions end as there are users: users who think for the same
time move in step, so that parts of a cycle differ from the whole. The first is left out, since nobody has come back at
first, and the last, in which newcomers run out. There are twice as many cycles, and twice as many again, until costs
are known to within 1 % (one standard error, from cycle to cycle): a third of the difference that is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np

from ctxsim.analysis import analyze
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.gaps import GapPrices
from ctxsim.cost.topology import HBM, HOST
from ctxsim.metrics.occupancy import RUN_NAMES, TRANSFER_NAMES, bin_means, occupancy, of_replica
from ctxsim.metrics.utilisation import run_s
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Residency
from ctxsim.spec.workload import ConstantTime, Sessions
from ctxsim.units import SECONDS_PER_HOUR, exact

Array = np.ndarray

POLICIES: tuple[Residency, ...] = ("keep", "swap", "recompute")

MOST_USERS = 10_000
"""With more, one policy at one point would take many minutes."""

MORE_USERS = 2
"""More than can be thinking and served at once, so that a newcomer waits."""

LEAST_CYCLES, LEAST_SESSIONS, MOST_SESSIONS = 4, 100, 20_000
"""Counted: where the fewest cycles have more sessions than the most, only as many cycles as have fewer, but one."""

CLOSE_ENOUGH_RATIO = 0.01
"""A standard error that is small against the 3 % by which choices may differ."""

ENDLESS_USERS = 10**6
"""Users beside whom the bound that counts them never binds."""


@dataclass(frozen=True)
class Found:
    """What one policy's simulation gave, a session each.

    gaps_usd: what its gaps cost; of it hold_hbm_usd, hold_host_usd and recompute_usd (see sim.ledger). session_usd: the
    accelerators at the rate at which sessions were completed, and the host memory. waited_s: how much longer than its
    user thought KV idled in the mean, until the turn was admitted. iteration_s: how long an iteration lasts in which
    something happens at a random time: who has come, and what has been copied, is noticed when it ends. cycles: that
    were counted; gaps_error_usd, session_error_usd: standard errors from cycle to cycle, None of one.
    """

    users: int
    cycles: int
    gaps_usd: float
    gaps_error_usd: float | None
    hold_hbm_usd: float
    hold_host_usd: float
    recompute_usd: float
    session_usd: float
    session_error_usd: float | None
    sessions_per_hour: float
    waited_s: float
    iteration_s: float

    @property
    def is_close(self) -> bool:
        """Whether both costs are known well enough."""
        errors = ((self.gaps_error_usd, self.gaps_usd), (self.session_error_usd, self.session_usd))
        return all(error is None or error <= CLOSE_ENOUGH_RATIO * usd for error, usd in errors)


def policies_of(base: Scenario) -> list[Residency]:
    """Those that can be simulated: none swaps where there is no host memory."""
    return [policy for policy in POLICIES if policy != "swap" or base.serving.host_kv_capacity]


def can_be_simulated(base: Scenario, tokens: int, idle_s: float) -> bool:
    """Whether no policy needs more than MOST_USERS for its HBM to be wanted."""
    return all(users_of(contended(base, tokens, idle_s, policy)) <= MOST_USERS for policy in policies_of(base))


def contended(base: Scenario, tokens: int, idle_s: float, policy: Residency) -> Scenario:
    """The scenario with so much context when the first gap begins, that think time and policy, and users without
    end."""
    workload, session = base.workload, typical_session(base)
    assert isinstance(workload, Sessions)
    document = tokens - session.question_tokens - max(session.answer_tokens - 1, 0)
    lengths = {
        "document_tokens": document, "question_tokens": session.question_tokens, "answer_tokens": session.answer_tokens,
    }  # fmt: skip
    update = {name: ConstantLength(tokens=tokens) for name, tokens in lengths.items()}
    think = ConstantTime.model_validate({"kind": "constant", "value": exact(idle_s, "seconds")})
    asked = workload.model_copy(update={**update, "think_time": think, "arrival": None, "users": ENDLESS_USERS})
    endless = replace(base, workload=asked, run=base.run.model_copy(update={"horizon": None}))
    room_bytes = ENDLESS_USERS * _longest_bytes(endless) if policy == "swap" else 0.0
    how = {"residency": policy, "host_kv_capacity": room_bytes, "scheduler": "shortest_prompt_first"}
    return replace(endless, serving=base.serving.model_copy(update=how))


def users_of(contending: Scenario) -> int:
    """With how many users the scenario is simulated: those that HBM holds under keep, else a crowd."""
    cost, session = CostModel(contending), typical_session(contending)
    capacity_bytes = cost.memory.kv_capacity_bytes
    if contending.serving.residency == "keep":
        return floor(capacity_bytes / _longest_bytes(contending))
    served = capacity_bytes / cost.layout.footprint_bytes(session.own_tokens)
    thinking = analyze(contending).bounds[0].sessions_per_s * session.rounds * session.think_s
    return ceil(thinking + served) + MORE_USERS


def found_of(contending: Scenario) -> Found:
    """Simulates it with the users that it is for, until costs are known or the simulation would be too long."""
    users = users_of(contending)
    cycles = max(1, min(max(LEAST_CYCLES, ceil(LEAST_SESSIONS / users)), MOST_SESSIONS // users))
    while True:
        ending = {"users": users, "num_sessions": (cycles + 2) * users}
        found = _found(simulate(replace(contending, workload=contending.workload.model_copy(update=ending))), cycles)
        if found.is_close or 2 * cycles * users > MOST_SESSIONS:
            return found
        cycles *= 2


def _found(simulation: Simulation, cycles: int) -> Found:
    """What a session cost in so many cycles after the first."""
    scenario, usd_per_s = simulation.scenario, replica_usd_per_s(simulation.scenario)
    assert isinstance(scenario.workload, Sessions)
    assert scenario.workload.users is not None
    users, later = scenario.workload.users, typical_session(scenario).rounds - 1
    edges_s = np.sort(simulation.sessions["end_s"])[users - 1 :: users][: cycles + 1]
    requests = simulation.requests
    cycle = np.searchsorted(edges_s, requests["admitted_s"], side="right") - 1
    counted = np.flatnonzero((cycle >= 0) & (cycle < cycles) & (requests["turn"] > 0))
    gaps = np.bincount(cycle[counted], minlength=cycles) / later
    prices = GapPrices(scenario, CostModel(scenario))
    hbm_usd, host_usd = _held_usd(simulation, prices, edges_s)
    again_usd = np.bincount(cycle[counted], _again_usd(simulation, prices, counted), minlength=cycles)
    gaps_usd = (hbm_usd + host_usd + again_usd) / gaps
    session_usd = usd_per_s * np.diff(edges_s) / users + host_usd / gaps
    seconds, all_gaps = float(edges_s[-1] - edges_s[0]), float(np.sum(gaps))
    hbm, host, again = (float(np.sum(usd)) / all_gaps for usd in (hbm_usd, host_usd, again_usd))
    return Found(
        users=users,
        cycles=cycles,
        gaps_usd=hbm + host + again,
        gaps_error_usd=_error(gaps_usd),
        hold_hbm_usd=hbm,
        hold_host_usd=host,
        recompute_usd=again,
        session_usd=usd_per_s * seconds / (cycles * users) + host,
        session_error_usd=_error(session_usd),
        sessions_per_hour=cycles * users / seconds * SECONDS_PER_HOUR,
        waited_s=float(np.mean(requests["queue_s"][counted])),
        iteration_s=_iteration_s(simulation),
    )


def _iteration_s(simulation: Simulation) -> float:
    """The mean over the time in which something is computed: sum of n x i^2 / sum of n x i, of n iterations of i."""
    runs = simulation.runs
    each_s = run_s(runs) / runs["iterations"]
    return float(np.sum(runs["iterations"] * each_s**2) / np.sum(run_s(runs)))


def _error(values: Array) -> float | None:
    """The standard error of their mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _held_usd(simulation: Simulation, prices: GapPrices, edges_s: Array) -> tuple[Array, Array]:
    """What idle KV in HBM, on its way included, and KV in host memory cost between each two of these times."""
    capacity_bytes = CostModel(simulation.scenario).memory.kv_capacity_bytes
    runs, copies = of_replica(simulation.runs, 0, RUN_NAMES), of_replica(simulation.transfers, 0, TRANSFER_NAMES)
    held = occupancy(runs, copies, capacity_bytes)

    def usd(tier: int, held_bytes: Array) -> Array:
        means: Array = bin_means(edges_s, held.start_s, held.end_s, held_bytes, held_bytes) * np.diff(edges_s)
        return prices.hold_usd(tier, 1.0, 1.0) * means

    return usd(HBM, held.idle_bytes + held.arriving_bytes), usd(HOST, held.host_bytes)


def _again_usd(simulation: Simulation, prices: GapPrices, gaps: Array) -> Array:
    """What it cost to compute again what each of the turns after these gaps did not find."""
    requests = simulation.requests
    found = sum(requests[f"{tier}_hit_tokens"][gaps] for tier in ("hbm", "host", "disk"))
    turns = zip(
        found.tolist(), *(requests[name][gaps].tolist() for name in ("reusable_tokens", "prompt_tokens")), strict=True
    )
    return np.array([prices.recompute_usd(had, known - had, prompt - known) for had, known, prompt in turns])


def _longest_bytes(scenario: Scenario) -> float:
    """KV of a session at its longest."""
    most_tokens = typical_session(scenario).most_tokens
    assert most_tokens is not None
    return CostModel(scenario).layout.footprint_bytes(most_tokens)

"""The experiment that a residency map is held against: a replica whose HBM others want, and whose turns are not kept
waiting.

A map prices a gap that lasts as long as its user thinks, on a replica where others want the room at once. So:

* Under swap and recompute there are always newcomers who wait, and hold nothing meanwhile: at a bound of X sessions
  a second no more than X x rounds x think time users can be thinking at once, and no more than HBM has room for can be
  served; with more users than both together (``crowd``) somebody waits at all times. KV that nobody displaced would be
  paid for though it is in nobody's way.
* Turns of sessions that are under way go before newcomers (shortest_prompt_first), so that KV idles about as long as
  users think. First come first served they would wait in the newcomers' queue, the longer the more of them there are.
  A gap ends when its user is back: what KV costs while the turn still waits is counted apart (``queued_usd``).
* Under keep there are as many users as HBM has room for at their longest: with more, what is served would grow into
  what is kept, and KV would be lost.

Host memory is as large as is wanted (its price counts, its size does not), and there is no disk.

What is counted are whole cycles, in each of which as many sessions end as there are users: users who think for the same
time move in step, so that parts of a cycle differ from the whole. The first is left out, since nobody has come back at
first, and the last, in which newcomers run out. There are twice as many cycles, and twice as many again, until costs
are known to within 1 % (one standard error, from cycle to cycle): a third of the difference that is looked for.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

from ctxsim.analysis import analyze
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel
from ctxsim.explore.residency.found import Found, found_in
from ctxsim.sim import simulate
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Residency
from ctxsim.spec.workload import ConstantTime, Sessions
from ctxsim.units import exact

POLICIES: tuple[Residency, ...] = ("keep", "swap", "recompute")

MOST_USERS = 5_000
"""With more, one policy at one point would take minutes."""

MORE_USERS = 2
"""More than can be thinking and served at once, so that a newcomer waits."""

LEAST_CYCLES, LEAST_SESSIONS, MOST_SESSIONS = 4, 100, 2_000
"""Counted: the fewest cycles and sessions, but where that were more than the most sessions only as many cycles as have
no more, and one at least."""

CLOSE_ENOUGH_RATIO = 0.01
"""A standard error that is small against the 3 % by which choices may differ."""

ENDLESS_USERS = 10**6
"""Users beside whom the bound that counts them never binds."""


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
    capacity_bytes = float(cost.memory.kv_capacity_bytes)
    if contending.serving.residency == "keep":
        return floor(capacity_bytes / _longest_bytes(contending))
    served = capacity_bytes / float(cost.layout.footprint_bytes(session.own_tokens))
    thinking = analyze(contending).bounds[0].sessions_per_s * session.rounds * session.think_s
    return ceil(thinking + served) + MORE_USERS


def found_of(contending: Scenario) -> Found:
    """Simulates it with the users that it is for, until costs are known or the simulation would be too long."""
    users = users_of(contending)
    cycles = max(1, min(max(LEAST_CYCLES, ceil(LEAST_SESSIONS / users)), MOST_SESSIONS // users))
    while True:
        ending = {"users": users, "num_sessions": (cycles + 2) * users}
        workload = contending.workload.model_copy(update=ending)
        found = found_in(simulate(replace(contending, workload=workload)), users, cycles)
        if found.known_to(CLOSE_ENOUGH_RATIO) or 2 * cycles * users > MOST_SESSIONS:
            return found
        cycles *= 2


def _longest_bytes(scenario: Scenario) -> float:
    """KV of a session at its longest."""
    most_tokens = typical_session(scenario).most_tokens
    assert most_tokens is not None
    return CostModel(scenario).layout.footprint_bytes(most_tokens)

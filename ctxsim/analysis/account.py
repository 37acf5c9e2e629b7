"""What one session takes of a fleet that has as many users as it can serve: seconds of a replica and dollars, by item.

A fleet with fewer users stands idle; what that costs says nothing of a session, and is left out. Host memory counts
as much as KV lies there. A replica's second costs what its accelerators are billed. The items of a session:

    prompts         its prompts in chunks, the KV of earlier turns kept
    answers         one step a token, with ``max_num_seqs`` sequences to share the weights with
    fewer_together  that much more, as HBM has room for only so many: answers(B) - answers(max_num_seqs),
                    B = min(max_num_seqs, KV pool / KV of a session), at least 1
    held_in_hbm     KV of a user who thinks, where the policy holds it: its share of the pool x the time
    held_in_host    KV that lies in host memory: dollars alone
    copies          KV on its way out of HBM and back: its share of the pool serves nobody meanwhile
    computed_again  contexts computed again after their gap
    link_wait       what the host link needs beyond all of that

Where decoding reads mostly weights, a share of the pool that serves nobody costs that share of the replica: of c
sessions that fit, c (1 - f) decode together, and an answer's share of the weights grows by 1 / (1 - f). Copies run
beside everything else as long as the link can. A context that does not fit is priced as if the pool were one session.
An estimate, not a bound: simulated fleets that are full cost 0.9 to 1.6 times as much, less where prompts share an
iteration with answers, more where sessions wait for each other (tests/relations/test_session_cost.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ctxsim.analysis.causes import ALL, Counted, CountedTimes
from ctxsim.analysis.residency import swap_bytes_per_s
from ctxsim.analysis.session import TypicalSession
from ctxsim.analysis.turns import turns
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.gaps import GapPrices
from ctxsim.cost.topology import HOST

QUANTITY_OF: Mapping[str, str] = {
    "prompts": "prefill",
    "answers": "decode",
    "fewer_together": "concurrency",
    "held_in_hbm": "concurrency",
    "held_in_host": "concurrency",
    "copies": "switching",
    "computed_again": "switching",
    "link_wait": "switching",
}
"""The items, and which of the four quantities each belongs to."""


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of a replica, and dollars: those of its accelerators and of what else was used."""

    seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(self.seconds + other.seconds, self.usd + other.usd)

    def __sub__(self, other: Used) -> Used:
        return Used(self.seconds - other.seconds, self.usd - other.usd)

    def times(self, share: float) -> Used:
        """That share of it."""
        return Used(self.seconds * share, self.usd * share)


Account = Mapping[str, Used]
"""What a session uses, by item."""


@dataclass(slots=True)
class _Gaps:
    """Seconds (and dollars of host memory) that bringing KV across all gaps of a session takes, by way."""

    held_s: float = 0.0
    copies_s: float = 0.0
    again_s: float = 0.0
    link_s: float = 0.0
    host_usd: float = 0.0


def account(cost: CostModel, session: TypicalSession, counted: Counted = ALL) -> Account:
    """What a session uses of one replica, with only the costs that count."""
    times, serving = CountedTimes(cost, counted), cost.scenario.serving
    together = sequences_together(cost, session, counted)
    prompts_s = sum(times.alone_s(new, past, serving.max_num_batched_tokens) for new, past in computed_prompts(session))
    answers_s, shared_s = (
        sum(times.shared_s(turn.steps, turn.prompt_tokens, 1, number) for turn in turns(session))
        for number in (float(serving.max_num_seqs), together)
    )
    gaps = _gaps(cost, session, counted, times)
    beside_s = prompts_s + shared_s + gaps.held_s + gaps.copies_s + gaps.again_s
    seconds = {
        "prompts": prompts_s,
        "answers": answers_s,
        "fewer_together": shared_s - answers_s,
        "held_in_hbm": gaps.held_s,
        "held_in_host": 0.0,
        "copies": gaps.copies_s,
        "computed_again": gaps.again_s,
        "link_wait": max(0.0, gaps.link_s - beside_s),
    }
    usd_per_s = replica_usd_per_s(cost.scenario)
    used = {item: Used(spent_s, spent_s * usd_per_s) for item, spent_s in seconds.items()}
    return used | {"held_in_host": Used(0.0, gaps.host_usd)}


def computed_prompts(session: TypicalSession) -> Iterator[tuple[int, int]]:
    """New and past tokens of each prompt; of the first, what an unlimited cache has of others is past."""
    opening, *later = turns(session)
    yield session.own_tokens, opening.new_tokens - session.own_tokens
    yield from ((turn.new_tokens, turn.past_tokens) for turn in later)


def sequences_together(cost: CostModel, session: TypicalSession, counted: Counted = ALL) -> float:
    """How many sessions can decode in one batch: as many as fit, not rounded, and at least one.

    Where KV weighs nothing, constant states still take room.
    """
    tokens = max(1, session.document_tokens - session.found_tokens)
    held_bytes = cost.layout.held_bytes(tokens) if counted.kv_bytes else cost.layout.state_bytes
    most = float(cost.scenario.serving.max_num_seqs)
    return max(1.0, min(most, cost.memory.kv_capacity_bytes / held_bytes)) if held_bytes else most


def gap_contexts(cost: CostModel, session: TypicalSession) -> Iterator[tuple[int, float]]:
    """Tokens of context, and bytes of its whole blocks, at each gap between two turns."""
    size = cost.layout.block_size
    for turn in list(turns(session))[:-1]:
        yield turn.known_tokens, cost.layout.extent_bytes(0, turn.known_tokens // size * size)


def pool_share(cost: CostModel, kept_bytes: float) -> float:
    """The share of the KV pool that so many bytes take; all of it where they do not fit."""
    pool_bytes = cost.memory.kv_capacity_bytes
    return min(1.0, kept_bytes / pool_bytes) if pool_bytes > 0 else 1.0


def way_across(
    cost: CostModel, prices: GapPrices, tokens: int, kept_bytes: float, session: TypicalSession
) -> str:  # fmt: skip
    """What the policy does with KV that nobody uses, where others want its room: hold, swap or recompute."""
    serving = cost.scenario.serving
    if not serving.enable_prefix_caching:
        return "recompute"
    if serving.residency in ("keep", "recompute"):
        return {"keep": "hold", "recompute": "recompute"}[serving.residency]
    if serving.residency == "swap" or cost.memory.kv_capacity_bytes <= 0:
        return "swap" if serving.host_kv_capacity else "recompute"
    return prices.ways(tokens, kept_bytes, session.think_s, session.asked_tokens).least


def _gaps(cost: CostModel, session: TypicalSession, counted: Counted, times: CountedTimes) -> _Gaps:
    """Where KV weighs nothing every context is held for nothing, if the engine looks for it at all."""
    scenario, total, think_s = cost.scenario, _Gaps(), session.think_s
    prices = GapPrices(scenario, cost)
    for tokens, kept_bytes in gap_contexts(cost, session):
        if not counted.kv_bytes and scenario.serving.enable_prefix_caching:
            break
        way = way_across(cost, prices, tokens, kept_bytes, session)
        if way == "hold":
            total.held_s += pool_share(cost, kept_bytes) * think_s
        elif way == "swap":
            copies_s = prices.stay(HOST, tokens, kept_bytes).copies_s()
            total.copies_s += pool_share(cost, kept_bytes) * copies_s
            total.link_s += kept_bytes / swap_bytes_per_s(scenario, session.rounds - 1)
            total.host_usd += prices.hold_usd(HOST, kept_bytes, max(0.0, think_s - copies_s))
        else:
            total.again_s += _again_s(session, tokens, times, scenario.serving.max_num_batched_tokens)
    return total


def _again_s(session: TypicalSession, tokens: int, times: CountedTimes, per_iteration: int) -> float:
    """Seconds by which computing a context again makes the next prompt longer (see GapPrices.recompute_usd)."""
    asked = session.asked_tokens
    return max(0.0, times.alone_s(tokens + asked, 0, per_iteration) - times.alone_s(asked, tokens, per_iteration))

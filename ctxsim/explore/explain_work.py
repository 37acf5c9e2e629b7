"""The arithmetic of an explanation, for a pocket calculator: amounts over rates, beside what the table says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ctxsim.analysis.account import computed_prompts, gap_contexts, pool_share, sequences_together
from ctxsim.analysis.session_cost import Cell, SessionCost
from ctxsim.analysis.turns import turns
from ctxsim.cost import CostModel, accelerator_usd_per_s, repetitions
from ctxsim.cost.gaps import GapPrices
from ctxsim.explore.explain import Explanation


class _Looked(NamedTuple):
    """What looking back takes: FLOP of query-key pairs (and of what is expanded for them), bytes of KV."""

    flop: float
    kv_bytes: float


def explain_work(found: Explanation) -> list[str]:
    """Lines for both sessions, of a replica of the first group; amounts are those of one session."""
    cost = CostModel(found.scenario.fleet[0])
    lines = [line for one in (found.base, found.against) for line in _session(cost, one, single=not _mixed(found))]
    price = f"{found.scenario.deployment.tensor_parallel} x {accelerator_usd_per_s(found.scenario):.6g} USD/s"
    total = found.extra
    return [
        *lines,
        f"a second of a replica costs {price}; KV in host memory is paid for besides",
        f"extra = {found.base.total.usd:.6g} - {found.against.total.usd:.6g} = {total.usd:.6g} USD; without KV bytes "
        f"{found.base.without_kv.usd:.6g} - {found.against.without_kv.usd:.6g} = {found.extra_without_kv.usd:.6g} USD",
    ]


def _mixed(found: Explanation) -> bool:
    return bool(found.scenario.others)


def _session(cost: CostModel, one: SessionCost, single: bool) -> Iterator[str]:
    session, rates = one.session, cost.rates

    def table(cell: Cell) -> str:
        """What the table has, where it is of this replica alone."""
        return f" (table: {one.cells[cell].seconds:.6g} s)" if single else ""

    chunk = cost.scenario.serving.max_num_batched_tokens
    prompts = _looked(cost, list(computed_prompts(session)), chunk)
    answers = _looked(cost, [(turn.steps, turn.prompt_tokens) for turn in turns(session)], 1)
    flop_per_s, hbm = rates.plain_flop_per_s, rates.hbm_bytes_per_s
    yield f"at {session.document_tokens:,} tokens, {session.rounds} rounds of {session.answer_tokens:,} tokens:"
    yield (
        f"  prefill, quadratic FLOP = {prompts.flop:.6g} FLOP / {flop_per_s:.6g} FLOP/s = "
        f"{prompts.flop / flop_per_s:.6g} s{table(('prompts', 'quadratic_flop'))}"
    )
    kv_s = answers.kv_bytes / hbm - answers.flop / flop_per_s
    yield (
        f"  decode, KV bytes = {answers.kv_bytes:.6g} B / {hbm:.6g} B/s - {answers.flop:.6g} FLOP / {flop_per_s:.6g} "
        f"FLOP/s = {kv_s:.6g} s{table(('answers', 'kv_bytes'))}"
    )
    kv_bytes = cost.layout.held_bytes(max(1, session.document_tokens - session.found_tokens))
    yield (
        f"  sequences together = min({cost.scenario.serving.max_num_seqs}, {cost.memory.kv_capacity_bytes:,.0f} B / "
        f"{kv_bytes:,.0f} B), at least 1 = {sequences_together(cost, session):.6g}"
    )
    yield from _first_gap(cost, one)


def _first_gap(cost: CostModel, one: SessionCost) -> Iterator[str]:
    """What the first gap's copies take, where the session has gaps that are swapped."""
    if not one.cells["copies", "kv_bytes"].seconds:
        return
    tokens, kept_bytes = next(gap_contexts(cost, one.session))
    copies_s = GapPrices(cost.scenario, cost).copies_s(kept_bytes, tokens)
    share = pool_share(cost, kept_bytes)
    yield (
        f"  switching, first of {one.session.rounds - 1} gaps = {share:.6g} of the pool x {copies_s:.6g} s of copies = "
        f"{share * copies_s:.6g} s"
    )


def _looked(cost: CostModel, runs: list[tuple[int, int]], per_iteration: int) -> _Looked:
    """Over runs of new tokens after past ones, each so many an iteration."""
    flop = kv_bytes = 0.0
    for tokens, past in runs:
        for batch, repeats in repetitions(cost.spans, tokens, past, per_iteration):
            for op in cost.operations:
                if op.span is not None:
                    middle = (repeats - 1) / 2
                    pairs = batch.pairs[op.span] + middle * batch.pairs_growth[op.span]
                    touched = batch.touched[op.span] + middle * batch.touched_growth[op.span]
                    flop += repeats * pairs * op.flop_per_pair
                    kv_bytes += repeats * touched * op.bytes_per_touched
    return _Looked(flop, kv_bytes)

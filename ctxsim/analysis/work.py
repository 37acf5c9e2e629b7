"""The arithmetic of an analysis, each formula with its numbers put in."""

from __future__ import annotations

from ctxsim.analysis.analyze import Analysis, decode_costs, prefill_costs
from ctxsim.cost import OperationCost, accelerator_usd_per_s, replica_usd_per_s
from ctxsim.units import show


def show_work(analysis: Analysis) -> list[str]:
    """Lines that a reader can follow with a pocket calculator, in the order of the keys."""
    return [line for lines in work_by_part(analysis).values() for line in lines]


def work_by_part(analysis: Analysis) -> dict[str, list[str]]:
    """The same lines by what they work out: the four quantities, then what follows from them."""
    return {
        "concurrency": _memory(analysis),
        "prefill": _pass(analysis, "prefill_s", prefill_costs(analysis.cost, analysis.session)),
        "decode": [
            *_pass(analysis, "decode_step_s", decode_costs(analysis.cost, analysis.session)),
            *_decode(analysis),
        ],
        "switch": _switch(analysis),
        "session": _course(analysis),
        "bounds": [*_bounds(analysis), *_policies(analysis)],
        "gap": _gap(analysis),
    }


def _memory(a: Analysis) -> list[str]:
    m, keys, serving = a.cost.memory, a.keys, a.scenario.serving
    ranks = a.scenario.deployment.ranks
    return [
        f"hbm_bytes = {ranks} x {a.scenario.hardware.hbm_bytes:,.0f} B = {m.hbm_bytes:,.0f} B",
        f"weight_bytes = {a.scenario.model.num_parameters:,} parameters in {serving.weight_dtype}, with scales "
        f"and what ranks repeat = {m.weight_bytes:,.0f} B",
        _capacity(a),
        f"kv_bytes_per_session = KV of {a.session.document_tokens:,} tokens at {keys['kv_bytes_per_token']:,.0f} B "
        f"a token (windows and states as they are) = {keys['kv_bytes_per_session']:,.0f} B",
        f"concurrent_sessions = {keys['kv_capacity_bytes']:,.0f} / {keys['kv_bytes_per_session']:,.0f} = "
        f"{keys['concurrent_sessions']:.4f}",
    ]


def _capacity(a: Analysis) -> str:
    m, serving = a.cost.memory, a.scenario.serving
    if serving.num_gpu_blocks_override is not None:
        blocks = f"{serving.num_gpu_blocks_override:,} blocks x {a.cost.layout.block_bytes:,.0f} B"
        return f"kv_capacity_bytes = {blocks} = {m.kv_capacity_bytes:,.0f} B"
    return (
        f"kv_capacity_bytes = {m.hbm_bytes:,.0f} x {serving.gpu_memory_utilization:g} - {m.weight_bytes:,.0f} weights "
        f"- {m.activation_bytes:,.0f} activations - {m.reserve_bytes:,.0f} reserve = {m.kv_capacity_bytes:,.0f} B"
    )


def _pass(a: Analysis, key: str, costs: list[OperationCost]) -> list[str]:
    lines = [f"{key} = {a.keys[key]:.6g} s, the sum of"]
    return lines + [_operation(a, c) for c in costs if c.seconds]


def _operation(a: Analysis, c: OperationCost) -> str:
    rates = a.cost.rates
    if c.bound == "network" and c.link_s:
        waited_s = c.link_s - c.link_bytes / rates.network_bytes_per_s
        sent = f"{c.link_bytes:.6g} B / {rates.network_bytes_per_s:.6g} B/s + {waited_s:.6g} s of latencies"
        return f"  {c.name}: {sent} = {c.seconds:.6g} s (network)"
    if c.link_s:
        return f"  {c.name}: {c.link_bytes:.6g} B / {rates.link_bytes_per_s:.6g} B/s = {c.seconds:.6g} s (link)"
    # A kernel that reads more slowly than HBM allows has a rate of its own; so has each number format.
    rate = c.flop / c.compute_s if c.compute_s else a.cost.rates.plain_flop_per_s
    bytes_per_s = c.hbm_bytes / c.hbm_s if c.hbm_s else a.cost.rates.hbm_bytes_per_s
    return (
        f"  {c.name}: max({c.flop:.6g} FLOP / {rate:.6g} FLOP/s, {c.hbm_bytes:.6g} B / "
        f"{bytes_per_s:.6g} B/s) = {c.seconds:.6g} s ({c.bound})"
    )


def _decode(a: Analysis) -> list[str]:
    keys = a.keys
    return [
        *_round(a),
        f"decode_answer_s = {a.session.answer_tokens} x {keys['decode_step_s']:.6g} s = "
        f"{keys['decode_answer_s']:.6g} s",
        f"ridge_flop_per_byte = peak bf16 FLOP/s / HBM bandwidth = {keys['ridge_flop_per_byte']:.6g}",
    ]


def _round(a: Analysis) -> list[str]:
    """What a step is of, where several tokens are made in a round."""
    speculation = a.scenario.serving.drafting
    if speculation is None:
        return []
    drafted, accepted = speculation.draft_tokens, speculation.acceptance
    kept = f"the sum of {accepted:g}^i over i = 0 .. {drafted} = {speculation.tokens_per_round:.6g}"
    return [f"  each of a round of {drafted} drafts and their verification, divided by {kept} tokens that are kept"]


def _switch(a: Analysis) -> list[str]:
    keys = a.keys
    return [
        f"switch_s = 2 x {keys['kv_bytes_per_session']:,.0f} B / {a.cost.host_link_bytes_per_s:.6g} B/s = "
        f"{keys['switch_s']:.6g} s",
    ]


def _course(a: Analysis) -> list[str]:
    s, chunk = a.session, a.scenario.serving.max_num_batched_tokens
    return [
        f"first_token_s = {s.document_tokens + s.question_tokens:,} prompt tokens in chunks of {chunk:,} = "
        f"{a.course.first_token_s:.6g} s",
        f"last_token_s = first_token_s + {max(s.answer_tokens - 1, 0)} growing steps = {a.course.last_token_s:.6g} s",
        f"session_busy_s = {s.rounds} rounds alone, KV kept between them = {a.course.busy_s:.6g} s",
        f"session_wall_s = session_busy_s + {s.rounds} x {show(s.think_s, 'seconds')} of think time = "
        f"{a.keys['session_wall_s']:.6g} s",
    ]


def _bounds(a: Analysis) -> list[str]:
    lines = [f"sessions_per_hour_bound = 3600 x the least of ({a.keys['bottleneck']} binds)"]
    return lines + [f"  {b.resource}: {b.work} = {b.sessions_per_s:.6g} sessions/s" for b in a.bounds]


def _policies(a: Analysis) -> list[str]:
    if a.gap is None:
        return []
    lines = ["sessions_per_hour_bound by policy = 3600 x the least of the same bounds, with the policy's own hbm_size"]
    return lines + [
        f"  {policy}: {bound.resource}: {bound.work} = {bound.sessions_per_s:.6g} sessions/s"
        for policy, bound in a.by_policy.items()
    ]


def _gap(a: Analysis) -> list[str]:
    """What one gap costs in each way, from prices a second."""
    gap = a.gap
    if gap is None:
        return []
    price, ways = a.scenario.price, gap.ways
    replica = f"{a.scenario.deployment.ranks} x {accelerator_usd_per_s(a.scenario):.6g} USD/s"
    pool = f"{gap.kept_bytes:,.0f} B / {a.cost.memory.kv_capacity_bytes:,.0f} B"
    recompute_s = ways.recompute_usd / (replica_usd_per_s(a.scenario) or 1)
    lines = [
        f"gap.hold_usd = {pool} x {replica} x {gap.idle_s:.6g} s = {ways.hold_usd:.6g} USD",
        f"gap.recompute_usd = {replica} x {recompute_s:.6g} s that {gap.tokens:,} tokens add to a prompt = "
        f"{ways.recompute_usd:.6g} USD",
    ]
    if gap.copies_s is not None:
        away_s = max(0.0, gap.idle_s - gap.copies_s)
        lines.append(
            f"gap.swap_usd = {pool} x {replica} x {gap.copies_s:.6g} s of copies + {gap.kept_bytes:,.0f} B x "
            f"{price.host_memory_usd_per_byte_s:.6g} USD/B/s x {away_s:.6g} s = {ways.swap_usd:.6g} USD"
        )
    lines.append(
        "gap.kept_until_s = copies_s + (recompute_usd - HBM's USD/s x copies_s) / the tier's USD/s; of hbm the least "
        "of break_even_idle_s: " + ", ".join(f"{tier} {_limit(limit_s)}" for tier, limit_s in gap.kept_until_s.items())
    )
    return lines


def _limit(limit_s: float | None) -> str:
    return "for ever" if limit_s is None else f"{limit_s:.6g} s"

"""An analysis for people: the four answers first, then everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ctxsim.analysis import Analysis, Bound
from ctxsim.cli.views.tables import grid, heading, labelled, pairs, paragraph
from ctxsim.human import flop, human
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR, show

AGAIN = "compute again"
PLACES = {"hbm": "HBM", "host": "host memory", "disk": "disk"}
BINDS = {
    "compute": "compute binds", "hbm": "HBM bandwidth binds", "link": "the scale-up link binds",
    "network": "the network between scale-up domains binds",
}  # fmt: skip
ANSWERED = ("concurrent_sessions", "prefill_s", "decode_answer_s", "switch_s", "feasible", "infeasible_reason")
ELSEWHERE = (
    "breakdown",
    "intervals",
    "residency",
    "working_set",
    "gap",
    "sessions_per_hour_bound",
    "bottleneck",
    "prefill_bound",
    "decode_bound",
)


def analysis_view(analysis: Analysis, work: Sequence[str]) -> Iterator[RenderableType]:
    """Four sentences, the other keys, the operations of prefill and of a decode step, bounds, price, arithmetic."""
    keys = analysis.keys
    yield paragraph(headline(analysis))
    if not analysis.feasible:
        yield paragraph(f"Does not fit: {keys['infeasible_reason']}")
    yield ""
    yield labelled(answers(analysis))
    yield heading("Other keys, per replica")
    yield pairs({key: value for key, value in keys.items() if key not in (*ANSWERED, *ELSEWHERE)})
    yield from intervals_view(keys)
    yield from _breakdown(analysis)
    yield from _bounds(analysis)
    yield from _residency(analysis)
    yield from _price(analysis)
    if work:
        yield heading("Arithmetic")
        yield from work


def headline(analysis: Analysis) -> str:
    """What was analyzed, in one line."""
    s = analysis.scenario
    machine = " and ".join(_machine(group) for group in s.fleet)
    formats = f"weights {s.serving.weight_dtype}, KV {s.serving.kv_dtype}"
    stack = f", techniques {', '.join(s.techniques)}" if s.techniques else ""
    return f"{s.name}: {s.model.name} on {machine} (replicas x tensor parallel), {formats}{stack}, {fidelity(s)}"


def fidelity(scenario: Scenario) -> str:
    """Where times come from."""
    name = scenario.calibration_name
    return f"fidelity {scenario.fidelity}" if name is None else f"fidelity {scenario.fidelity} ({name})"


def answers(analysis: Analysis) -> dict[str, str]:
    """Concurrency, prefill, decode and context switch: a sentence each, with the number and what binds it."""
    keys, session = analysis.keys, analysis.session
    held = show(keys["kv_bytes_per_session"], "bytes")
    tokens = f"{session.document_tokens:,} tokens"
    step, link = show(keys["decode_step_s"], "seconds"), show(analysis.cost.host_link_bytes_per_s, "bytes_per_s")
    return {
        "Concurrency": f"{keys['concurrent_sessions']:.4g} sessions of {tokens} fit at once: "
        f"{show(keys['kv_capacity_bytes'], 'bytes')} for KV cache, {held} each ({_concurrency_bound(analysis)}).",
        "Prefill": f"{show(keys['prefill_s'], 'seconds')} for {tokens}: {flop(keys['prefill_flop'])} "
        f"({BINDS[keys['prefill_bound']]}).",
        "Decode": f"{show(keys['decode_answer_s'], 'seconds')} for an answer of {session.answer_tokens:,} tokens: "
        f"{step} a token ({BINDS[keys['decode_bound']]}).",
        "Context switch": f"{show(keys['switch_s'], 'seconds')} to swap a session out and another in: 2 x {held} at "
        f"{link} (the host link binds).",
    }


def _concurrency_bound(analysis: Analysis) -> str:
    serving = analysis.scenario.serving
    if analysis.keys["concurrent_sessions"] > serving.max_num_seqs:
        return f"max_num_seqs binds: {serving.max_num_seqs} run at once"
    return "HBM size binds" if serving.num_gpu_blocks_override is None else "num_gpu_blocks_override binds"


def intervals_view(keys: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What holds 90 % of each, as far as the calibration's fits are off."""
    if "intervals" in keys:
        yield heading("Intervals of 90 %, from what the calibration's fits are off by")
        rows = [
            (name, human(unit_of(name), low), human(unit_of(name), high))
            for name, (low, high) in keys["intervals"].items()
        ]
        yield grid(("", "from", "to"), rows, ("",))


def unit_of(name: str) -> str:
    """The part of a dotted name that ends in its unit."""
    return name.partition(".")[0]


def _breakdown(analysis: Analysis) -> Iterator[RenderableType]:
    keys = analysis.keys
    parts = keys["breakdown"]
    overhead_s = parts["iteration_overhead_s"]
    document = f"{analysis.session.document_tokens:,} tokens"
    yield heading(f"Prefill of {document} in one pass, by operation")
    yield _operations(parts["prefill"], overhead_s, keys["prefill_s"])
    yield heading(f"One decode step at {document}, by operation")
    yield _operations(parts["decode_step"], overhead_s, keys["decode_step_s"])


def _operations(rows: Sequence[Mapping[str, Any]], overhead_s: float, total_s: float) -> Table:
    """A row an operation, and the total that they sum to; the link's column only where it is used."""
    linked = any(row["link_bytes"] for row in rows)
    amounts = ["flop", "hbm_bytes", *(["link_bytes"] if linked else []), "seconds"]
    lines = [[row["operation"], *_amounts(row, amounts), _share(row["seconds"], total_s), row["bound"]] for row in rows]
    if overhead_s:
        blank = [""] * (len(amounts) - 1)
        lines.append(["iteration overhead", *blank, show(overhead_s, "seconds"), _share(overhead_s, total_s), "host"])
    total = {name: sum(row[name] for row in rows) for name in amounts} | {"seconds": total_s}
    head = ("operation", "FLOP", "HBM", *(["link"] if linked else []), "time", "share", "bound")
    table = grid(head, lines, ("operation", "bound"))
    table.add_section()
    table.add_row("total", *_amounts(total, amounts), _share(total_s, total_s), "")
    return table


def _amounts(row: Mapping[str, float], names: Sequence[str]) -> list[str]:
    """The amounts with their units; nothing where an operation has none of a kind."""
    keys = ("_s" if name == "seconds" else f"_{name}" for name in names)
    return [human(key, row[name]) if row[name] else "-" for key, name in zip(keys, names, strict=True)]


def _share(seconds: float, total_s: float) -> str:
    return f"{seconds / total_s:.1%}" if total_s else "-"


def _bounds(analysis: Analysis) -> Iterator[RenderableType]:
    keys = analysis.keys
    yield heading(f"Sessions per hour, at most {keys['sessions_per_hour_bound']:,.4g} ({keys['bottleneck']} binds)")
    rows = [
        (bound.resource, number_per_hour(bound), f"3600 x {bound.work}")
        for bound in analysis.bounds
        if isfinite(bound.sessions_per_s)
    ]
    yield grid(
        ("resource", "per hour", "worked out as"), rows, ("resource", "worked out as"), wrapped=("worked out as",)
    )


def _residency(analysis: Analysis) -> Iterator[RenderableType]:
    """The bound under every policy, and what one gap costs in every way; nothing where sessions have no gaps."""
    gap = analysis.gap
    if gap is None:
        return
    yield heading("Sessions per hour at most, by serving.residency")
    chosen = analysis.scenario.serving.residency
    rows = [
        (f"{policy} (chosen)" if policy == chosen else policy, number_per_hour(bound), bound.resource)
        for policy, bound in analysis.by_policy.items()
    ]
    yield grid(("policy", "per hour", "binds"), rows, ("policy", "binds"))
    idle, held = show(gap.idle_s, "seconds"), show(gap.kept_bytes, "bytes")
    yield heading(f"One gap between turns alone: {idle} with {gap.tokens:,} tokens of context, {held}")
    ways, pays = gap.ways, gap.break_even_idle_s
    costs = (
        ("hold in HBM", ways.hold_usd, "-"),
        ("swap to host memory", ways.swap_usd, pays["swap"]),
        ("compute again", ways.recompute_usd, pays["recompute"]),
    )
    yield grid(
        ("way", "USD", "pays from an idle time of"),
        [(way, "-" if usd is None else f"{usd:.4g}", human("idle_s", since)) for way, usd, since in costs],
        ("way",),
    )
    yield heading("How long KV is best kept where it is, before the next way costs less")
    until_s, pays_first = gap.kept_until_s, _first_to_pay(pays)
    limits = ("for ever" if limit_s is None else human("idle_s", limit_s) for limit_s in until_s.values())
    nexts = (pays_first if tier == "hbm" else AGAIN for tier in until_s)
    lines = zip((PLACES[tier] for tier in until_s), limits, nexts, strict=True)
    yield grid(("in", "gaps up to", "then cheaper"), lines, ("in", "then cheaper"))


def _first_to_pay(pays: Mapping[str, float | None]) -> str:
    """The way that is the first to cost less than holding in HBM; the first of equals."""
    known = {way: since_s for way, since_s in pays.items() if since_s is not None}
    return {"swap": "swap to host memory", "recompute": AGAIN}[min(known, key=lambda way: known[way])] if known else "-"


def number_per_hour(bound: Bound) -> str:
    """Sessions per hour; "-" where nothing bounds them."""
    return f"{bound.sessions_per_s * SECONDS_PER_HOUR:,.4g}" if isfinite(bound.sessions_per_s) else "-"


def _price(analysis: Analysis) -> Iterator[RenderableType]:
    keys = analysis.keys
    yield heading("Price, at the bound")
    yield pairs({name: keys[name] for name in ("cost_usd_per_session", "cost_usd_per_million_output_tokens")})
    for group in analysis.scenario.fleet:
        price, machine = group.price.accelerator_usd_per_s, group.hardware
        origin = f"profile, {machine.price_date}" if price == machine.accelerator_usd_per_s else "scenario"
        yield f"{group.deployment.accelerators} x {machine.name} at {show(price, 'usd_per_s')} each ({origin})"


def _machine(group: Scenario) -> str:
    return f"{group.deployment.replicas} x {group.deployment.ranks} {group.hardware.name}"

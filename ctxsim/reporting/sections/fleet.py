"""The fleet, what it costs, and what every dollar of it was paid for."""

from __future__ import annotations

from typing import Any

from ctxsim.analysis.gap import Gap
from ctxsim.cost import fleet_usd_per_s, power_w
from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet, Words
from ctxsim.reporting.figures import bars, style
from ctxsim.reporting.panels import panel
from ctxsim.reporting.subject import Subject
from ctxsim.reporting.words import usd
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR, show

PARTS = {
    "prefill": ("prefill", style.INK),
    "decode": ("decode", style.PALE),
    "switching": ("switching", style.ACCENT),
    "holding_hbm": ("holding in HBM", style.HBM),
    "holding_host": ("holding in host memory", style.HOST),
    "holding_disk": ("holding on disk", style.DISK),
    "idle": ("idle", style.SOFT),
}
"""Parts of the bill by their keys: how a reader calls them, and their colour."""

TIERS = {"hbm": "HBM", "host": "host memory", "disk": "disk"}

UNITS = {
    "per_session_usd": "a session",
    "per_turn_usd": "a turn",
    "per_million_input_tokens_usd": "1M prompt tokens",
    "per_million_output_tokens_usd": "1M answer tokens",
}

FLEET = (
    Column("group", "replicas of", words=True), Column("replicas", "replicas"),
    Column("tensor_parallel", "TP"), Column("accelerators", "accelerators"),
    Column("accelerator_usd_per_hour", "an accelerator-hour"), Column("host_kv_capacity_bytes", "host KV a node"),
    Column("total_usd_per_hour", "an hour"),
)  # fmt: skip


def fleet(subject: Subject) -> Section:
    """Replicas and prices, and the bill of the simulation divided."""
    scenario = subject.scenario
    blocks: list[Block] = [
        Words(_what(scenario)), Sheet("fleet", "The fleet", FLEET, [_row(group) for group in scenario.fleet]),
    ]  # fmt: skip
    if subject.served:
        money = subject.summary["money"]
        blocks += [_bars(money), _parts(money), _own(money), Words(_energy(subject, money))]
    if subject.analysis.gap is not None:
        blocks.append(_kept(subject.analysis.gap))
    return Section("fleet", "Fleet and cost", blocks)


def _what(scenario: Scenario) -> str:
    serving, price = scenario.serving, scenario.price
    usd_per_s = fleet_usd_per_s(scenario)
    origin = (
        "the scenario"
        if price.accelerator_usd_per_s != scenario.hardware.accelerator_usd_per_s
        else (f"the profile, as of {scenario.hardware.price_date}")
    )
    stack = f", the techniques {', '.join(scenario.techniques)}" if scenario.techniques else ""
    return (
        f"{scenario.model.name} with weights in {serving.weight_dtype} and KV in {serving.kv_dtype}{stack}, idle KV "
        f"under policy {serving.residency}, {serving.max_num_batched_tokens:,} tokens an iteration at most. The whole "
        f"fleet costs {show(usd_per_s, 'usd_per_s')}; the price of {scenario.hardware.name} is that of {origin}."
    )


def _row(group: Scenario) -> list[Any]:
    deployment = group.deployment
    return [
        group.hardware.name, deployment.replicas, deployment.tensor_parallel, deployment.accelerators,
        group.price.accelerator_usd_per_s * SECONDS_PER_HOUR, group.serving.host_kv_capacity,
        fleet_usd_per_s(group) * SECONDS_PER_HOUR,
    ]  # fmt: skip


def _bars(money: dict[str, Any]) -> Picture:
    bill, parts = money["bill_usd"], {key: value for key, value in money["parts_usd"].items() if value}
    drawn = [
        bars.Bar(PARTS[key][0], value, f"{usd(value)}, {value / bill:.1%}", PARTS[key][1])
        for key, value in parts.items()
    ]
    most = max(parts, key=lambda key: parts[key])
    said = f"Bars of the bill of {usd(bill)}: " + "; ".join(f"{bar.name} {bar.words}" for bar in drawn) + "."
    largest = f"the largest part is {PARTS[most][0]}, {parts[most] / bill:.0%} of it"
    caption = f"What the bill of {usd(bill)} was paid for; {largest}."
    return Picture(caption, [panel("bill", bars.bars_figure(drawn, "USD of the simulated time"), said)])


def _parts(money: dict[str, Any]) -> Sheet:
    """A row a part, and their sum."""
    columns = [
        Column("part", "paid for", words=True), Column("bill_usd", "bill"), Column("share_ratio", "share"),
        *(Column(key, head) for key, head in UNITS.items()),
    ]  # fmt: skip
    bill = money["bill_usd"]
    rows = [
        [PARTS[key][0], value, value / bill, *(money[unit][key] for unit in UNITS)]
        for key, value in money["parts_usd"].items()
    ]
    rows.append(["total", bill, 1.0, *(money[unit]["total"] for unit in UNITS)])
    return Sheet("money", "The bill by what it was paid for", columns, rows, total=True, unit="USD")


def _own(money: dict[str, Any]) -> Sheet:
    columns = [
        Column("tokens_of", "tokens", words=True), Column("tokens", "how many"),
        Column("million_tokens_usd", "1M tokens"),
    ]  # fmt: skip
    names = {"computed_input": "prompts, computed", "cached_input": "prompts, found in the cache", "output": "answers"}
    rows = [[words, money["tokens"][key], money["own_per_million_tokens_usd"][key]] for key, words in names.items()]
    return Sheet("token_costs", "What a million tokens cost alone", columns, rows)


def _kept(gap: Gap) -> Sheet:
    """By tier, the price of keeping a session's KV there, and until when that is the best way across a gap."""
    columns = (
        Column("tier", "kept in", words=True), Column("kept_until_s", "until"), Column("then", "then", words=True),
    )  # fmt: skip
    rows = []
    for tier, until_s in gap.kept_until_s.items():
        then = "nothing ever costs less" if until_s is None else "compute it again"
        if tier == "hbm" and until_s is not None and until_s == gap.break_even_idle_s["swap"]:
            then = "swap it to host memory"
        rows.append([TIERS[tier], until_s, then])
    held = show(gap.kept_bytes, "bytes")
    return Sheet("kept_until", f"How long {held} of idle KV are best kept, alone on a replica", columns, rows)


def _energy(subject: Subject, money: dict[str, Any]) -> str:
    summary, power = subject.summary, power_w(subject.scenario)
    billed = "it is in the bill" if money["energy_billed"] else "the price of accelerators covers it"
    each = ""
    if summary["sessions_per_hour"]:
        each = f", {show(power * SECONDS_PER_HOUR / summary['sessions_per_hour'], 'joules')} a session"
    total, lasted = show(power * summary["duration_s"], "joules"), show(summary["duration_s"], "seconds")
    return (
        f"Energy, at most: {total} for the simulated {lasted}{each}, {usd(money['energy_usd'])}; {billed}. It is the "
        f"board power of all accelerators ({show(power, 'watts')}) for the whole time, without hosts and cooling."
    )

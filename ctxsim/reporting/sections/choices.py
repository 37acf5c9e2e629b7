"""The fleets that a plan weighed: the front of price and latency, and what forbids the rest."""

from __future__ import annotations

from collections import Counter

from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet, Words
from ctxsim.reporting.figures import front
from ctxsim.reporting.panels import panel
from ctxsim.reporting.planned import Fleet, Planned
from ctxsim.reporting.subject import Subject
from ctxsim.reporting.words import usd

FLEETS = (
    Column("fleet", "fleet", words=True), Column("standing", "", words=True), Column("fleet_usd_per_hour", "an hour"),
    Column("ttft_s", "TTFT"), Column("tpot_s", "TPOT"), Column("sessions_per_hour", "sessions"),
    Column("cost_usd_per_session", "a session"), Column("slo", "SLO", words=True),
)  # fmt: skip
LEFT_OUT = (Column("designs", "designs"), Column("reason", "left out because", words=True))


def choices(subject: Subject) -> Section | None:
    """Of a plan: every fleet that was simulated whole."""
    plan = subject.plan
    if plan is None:
        return None
    blocks: list[Block] = [_picture(subject, plan)]
    rows = [_row(plan, fleet) for fleet in sorted(plan.fleets, key=lambda fleet: fleet.usd_per_hour)]
    blocks.append(Sheet("fleets", "Fleets that were simulated whole", FLEETS, rows))
    left_out = _left_out(plan)
    if left_out:
        blocks.append(Sheet("left_out", "Designs that were left out", LEFT_OUT, left_out))
    blocks.append(
        Words(
            "TTFT and TPOT are those at the SLO's percentile. On the front are fleets that no other beats in price, "
            "TTFT and TPOT together."
        )
    )
    return Section("choices", "Fleets and the Pareto front", blocks)


def _standing(plan: Planned, fleet: Fleet) -> str:
    if fleet == plan.chosen:
        return front.CHOSEN
    return front.FRONT if fleet in plan.front else front.OTHER


def _row(plan: Planned, fleet: Fleet) -> list[object]:
    found = fleet.found
    standing = {front.CHOSEN: "chosen", front.FRONT: "on the front", front.OTHER: ""}[_standing(plan, fleet)]
    return [
        plan.name(fleet), standing, fleet.usd_per_hour, found.get("slo_found_ttft_s"), found.get("slo_found_tpot_s"),
        found.get("sessions_per_hour"), found.get("cost_usd_per_session"), "met" if fleet.meets else "missed",
    ]  # fmt: skip


def _picture(subject: Subject, plan: Planned) -> Picture:
    slo = subject.scenario.slo
    spots = [
        front.Spot(
            plan.name(fleet), fleet.usd_per_hour, fleet.found.get("slo_found_ttft_s"),
            fleet.found.get("slo_found_tpot_s"), _standing(plan, fleet),
        )
        for fleet in plan.fleets
        if fleet.served
    ]  # fmt: skip
    figures = front.front_figures(spots, slo.percentile, {"ttft_s": slo.ttft, "tpot_s": slo.tpot})
    said = "; ".join(f"{spot.name} {spot.usd_per_hour:,.2f} USD an hour" for spot in spots)
    panels = [panel(f"front_{key}", figure, f"Points of fleets: {said}.") for key, figure in figures.items()]
    meeting = [fleet for fleet in plan.fleets if fleet.meets]
    span = f"{usd(plan.chosen.usd_per_hour)} to {usd(max(fleet.usd_per_hour for fleet in meeting))} an hour"
    caption = (
        f"{len(plan.fleets)} fleets were simulated whole, of which {len(meeting)} meet the SLO, for {span}; filled: on "
        "the front, whether or not they meet it; hollow: beaten by another. Dashed: the SLO."
    )
    return Picture(caption, panels, stacked=True)


def _left_out(plan: Planned) -> list[list[object]]:
    """Every reason once, with how many designs it forbids."""
    counts = Counter(one["reason"] for one in plan.refused)
    rows: list[list[object]] = [[count, reason] for reason, count in counts.items()]
    if plan.short:
        rows.append([len(plan.short), "they miss the SLO even with all accelerators allowed (simulated)"])
    if plan.skipped:
        rows.append([plan.skipped, "they cannot be cheaper than the runner-up (closed form)"])
    return rows

"""Where KV lay over time, what turns found of it, and what became of the sessions that came first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctxsim.metrics.whereabouts import PLACES, Span, first_sessions, session_spans
from ctxsim.records import Table
from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet
from ctxsim.reporting.figures import memory_figure, timeline_figure
from ctxsim.reporting.figures.memory import BINS, USES, room_bytes, tier_means
from ctxsim.reporting.figures.timeline import WORDS
from ctxsim.reporting.panels import panel
from ctxsim.reporting.residency import residency
from ctxsim.reporting.subject import Subject
from ctxsim.sim import Simulation
from ctxsim.units import show

SESSIONS = 20
"""As many rows as a page can show."""

COLUMNS = (Column("start_s", "from"), Column("end_s", "to"), *(Column(f"{use}_bytes", use) for use in USES))


def memory(subject: Subject) -> Section | None:
    """KV in every tier over time, the first sessions, and the sums of both."""
    simulation = subject.simulation
    if simulation is None or not subject.served:
        return None
    blocks: list[Block] = [_tiers(simulation), _timeline(simulation), *residency(simulation)]
    return Section("memory", "KV over time", blocks, [_levels(simulation)])


def _levels(simulation: Simulation) -> Sheet:
    edges_s = np.linspace(0.0, simulation.summary["duration_s"], BINS + 1)
    means = tier_means(simulation, edges_s)
    columns = [edges_s[:-1], edges_s[1:], *(means[use] for use in USES)]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return Sheet("kv_over_time", "KV by tier over time", COLUMNS, [list(row) for row in rows])


def _tiers(simulation: Simulation) -> Picture:
    return Picture(_tiers_caption(simulation), [panel("kv_tiers", memory_figure(simulation), _tiers_said(simulation))])


def _tiers_caption(simulation: Simulation) -> str:
    each = show(simulation.summary["duration_s"] / BINS, "seconds")
    used = simulation.summary["kv_used_ratio"]
    words = f"Requests being served take {used['mean']:.0%} of the KV pool on average and {used['peak']:.0%} at most"
    words += f"; all replicas together, in means over {each}. Dashed: the room there is."
    if _some_are_done_early(simulation):
        words += " A replica counts up to its last iteration: what it still keeps after that is not recorded."
    return words


def _some_are_done_early(simulation: Simulation) -> bool:
    """Whether the last run of some replica ended before the last of all, by more than the figure shows."""
    runs = simulation.runs
    last_s = np.zeros(1 + int(np.max(runs["replica"])))
    np.maximum.at(last_s, runs["replica"], runs["start_s"])
    return bool(np.min(last_s) < (1 - 1 / BINS) * simulation.summary["duration_s"])


def _tiers_said(simulation: Simulation) -> str:
    room, held = room_bytes(simulation.scenario), simulation.summary["kv_tier_bytes"]
    used = simulation.summary["kv_used_ratio"]
    said = f"KV over time. Requests being served take {used['mean']:.0%} of the KV pool on average; "
    said += f"{show(held['hbm_idle'], 'bytes')} more lie idle in it"
    places = {"host": "host memory", "disk": "disk"}
    said += "".join(f", {show(held[tier], 'bytes')} in {name}" for tier, name in places.items() if room[tier])
    return f"{said}."


def _timeline(simulation: Simulation) -> Picture:
    turns = first_sessions(simulation.requests, SESSIONS)
    inclusive = simulation.scenario.serving.host_tier == "inclusive"
    spans = list(session_spans(turns, simulation.transfers, inclusive))
    drawn = panel("timeline", timeline_figure(turns, spans), _timeline_said(spans))
    return Picture(_timeline_caption(turns, spans, inclusive), [drawn])


def _timeline_caption(turns: Table, spans: Sequence[Span], inclusive: bool) -> str:
    caption = f"The {len(np.unique(turns['session']))} sessions that came first, a row each."
    if any(span.what in PLACES for span in spans):
        caption += " Thin bars: where their KV lay until the next turn."
    if not all(span.certain for span in spans):
        unknown = "when it left the places before is not recorded"
        caption += f" Pale: where that turn found it; {'it may have been in HBM as well, or ' * inclusive}{unknown}."
    if preempted := int(np.count_nonzero(turns["preemptions"])):
        caption += f" {preempted} of these turns were preempted, of which no times are recorded."
    return caption


def _timeline_said(spans: Sequence[Span]) -> str:
    """How the time of all rows together is divided."""
    total_s = sum(span.end_s - span.start_s for span in spans)
    shares = {what: sum(s.end_s - s.start_s for s in spans if s.what == what) / total_s for what in WORDS}
    parts = ", ".join(f"{WORDS[what]}: {share:.0%}" for what, share in shares.items() if share)
    return f"Bars over time, a row a session; of all their time, {parts}."

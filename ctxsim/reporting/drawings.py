"""The drawings of a page: each with what is to be seen on it, and what it says to whoever cannot see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ctxsim.analysis import Analysis
from ctxsim.metrics.whereabouts import PLACES, Span, first_sessions, session_spans
from ctxsim.records import Table
from ctxsim.reporting.figures import four_quantities_figure, latency_figure, memory_figure, svg, timeline_figure
from ctxsim.reporting.figures.memory import BINS, room_bytes
from ctxsim.reporting.figures.timeline import WORDS
from ctxsim.sim import Simulation
from ctxsim.units import show

SESSIONS = 20
"""As many rows as a page can show."""


class Drawing(NamedTuple):
    """A figure as SVG, and its caption."""

    caption: str
    image: Markup


def quantities_drawing(analysis: Analysis) -> Drawing:
    """The four quantities over context length."""
    keys, tokens = analysis.keys, analysis.session.document_tokens
    said = (
        f"Four curves over context length. At {tokens:,} tokens {keys['concurrent_sessions']:.4g} sessions fit, "
        f"prefill takes {show(keys['prefill_s'], 'seconds')}, an answer {show(keys['decode_answer_s'], 'seconds')}, "
        f"a context switch {show(keys['switch_s'], 'seconds')}."
    )
    caption = "The four quantities over context length, one replica; the scenario's document is marked."
    return _drawing(caption, said, four_quantities_figure(analysis.scenario, tokens))


def simulated_drawings(simulation: Simulation) -> Iterator[Drawing]:
    """Latencies, memory and sessions of a simulation that served anything."""
    if not len(simulation.requests):
        return
    yield _drawing(_latency_caption(simulation), _latency_said(simulation.summary), latency_figure(simulation))
    yield _drawing(_memory_caption(simulation), _memory_said(simulation), memory_figure(simulation))
    turns = first_sessions(simulation.requests, SESSIONS)
    inclusive = simulation.scenario.serving.host_tier == "inclusive"
    spans = list(session_spans(turns, simulation.transfers, inclusive))
    yield _drawing(_timeline_caption(turns, spans, inclusive), _timeline_said(spans), timeline_figure(turns, spans))


def _drawing(caption: str, said: str, figure: Figure) -> Drawing:
    return Drawing(caption, Markup(svg(figure, said)))


def _latency_caption(simulation: Simulation) -> str:
    slo = simulation.scenario.slo
    caption = "The share of requests, or of tokens, within a time, after the warm-up."
    if slo.ttft is not None or slo.tpot is not None:
        caption += f" Dashed: the SLO, which {slo.percentile:g} % are to meet (dotted)."
    return caption


def _latency_said(summary: dict[str, Any]) -> str:
    names = {"ttft_s": "Time to first token", "tpot_s": "time per output token", "itl_s": "inter-token latency"}
    parts = [
        f"{name}: median {show(summary[key]['p50'], 'seconds')}, 99 % within {show(summary[key]['p99'], 'seconds')}"
        for key, name in names.items()
        if summary[key]["p50"] is not None
    ]
    return f"Three curves of shares. {'; '.join(parts)}."


def _memory_caption(simulation: Simulation) -> str:
    each = show(simulation.summary["duration_s"] / BINS, "seconds")
    return f"KV and queue over time, all replicas together, in means over {each}. Dashed: the room there is."


def _memory_said(simulation: Simulation) -> str:
    room, held = room_bytes(simulation.scenario), simulation.summary["kv_tier_bytes"]
    used = simulation.summary["kv_used_ratio"]
    said = f"KV over time. Requests being served take {used['mean']:.0%} of the KV pool on average; "
    said += f"{show(held['hbm_idle'], 'bytes')} more lie idle in it"
    places = {"host": "host memory", "disk": "disk"}
    said += "".join(f", {show(held[tier], 'bytes')} in {name}" for tier, name in places.items() if room[tier])
    return f"{said}."


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

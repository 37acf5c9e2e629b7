"""How long requests waited: distributions against the SLO, and quantiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctxsim.human import human
from ctxsim.metrics import QUANTILES
from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet, Words
from ctxsim.reporting.figures.latency import TITLES, latency_curves, latency_figures
from ctxsim.reporting.panels import panel
from ctxsim.reporting.subject import Subject
from ctxsim.units import show

LATENCIES = {**TITLES, "queue_s": "Waiting for admission"}
COLUMNS = (Column("latency", "", words=True), *(Column(f"{name}_s", name) for name in ("mean", *QUANTILES)))


def latency(subject: Subject) -> Section | None:
    """Curves and quantiles of a simulation that served anything."""
    if subject.simulation is None or not subject.served:
        return None
    rows = [[words, *subject.summary[key].values()] for key, words in LATENCIES.items()]
    quantiles = Sheet("latency", "Latencies", COLUMNS, rows)
    blocks: list[Block] = [_picture(subject), quantiles, Words(_window(subject))]
    return Section("latency", "Latency", blocks, list(_curves(subject)))


def _picture(subject: Subject) -> Picture:
    assert subject.simulation is not None
    figures, summary = latency_figures(subject.simulation), subject.summary
    panels = [panel(f"latency_{key}", figure, _said(key, summary[key])) for key, figure in figures.items()]
    return Picture(_caption(subject), panels)


def _said(key: str, found: dict[str, float | None]) -> str:
    if found["p50"] is None:
        return f"{TITLES[key]}: there is none."
    return f"{TITLES[key]}: median {human(key, found['p50'])}, 99 % within {human(key, found['p99'])}."


def _caption(subject: Subject) -> str:
    """How long the tail is, and where it ends against the SLO."""
    ttft = subject.summary["ttft_s"]
    if not ttft["p50"]:
        return "The share of requests, or of tokens, within a time."
    words = (
        f"The share of requests, or of tokens, within a time: half of the first tokens come within "
        f"{show(ttft['p50'], 'seconds')}, one in a hundred takes {ttft['p99'] / ttft['p50']:.3g} times that or more"
    )
    return f"{words}. Dashed: the SLO." if subject.has_slo else f"{words}."


def _window(subject: Subject) -> str:
    summary = subject.summary
    counted = int(np.count_nonzero(subject.simulation.requests["arrival_s"] >= summary["warmup_s"]))  # type: ignore[union-attr]
    words = (
        f"Of {summary['completed_requests']:,} requests served in {show(summary['duration_s'], 'seconds')}, "
        f"{counted:,} count: those that arrived after the first {show(summary['warmup_s'], 'seconds')} (the warm-up)"
    )
    preempted = f"; there were {summary['preemptions']:,} preemptions" if summary["preemptions"] else ""
    return f"{words}{preempted}."


def _curves(subject: Subject) -> Iterator[Sheet]:
    assert subject.simulation is not None
    for key, curve in latency_curves(subject.simulation).items():
        columns = (Column(key, key), Column("share_ratio", f"share of {curve.of}"))
        rows = [list(pair) for pair in zip(curve.seconds.tolist(), curve.shares.tolist(), strict=True)]
        yield Sheet(f"latency_{key.removesuffix('_s')}_shares", TITLES[key], columns, rows)

"""What becomes of latency and throughput under other loads."""

from __future__ import annotations

from ctxsim.explore.curve import replicas_told_by_one
from ctxsim.explore.load import load_of
from ctxsim.human import human
from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet
from ctxsim.reporting.figures.curve import curve_figures
from ctxsim.reporting.panels import panel
from ctxsim.reporting.subject import Subject

COLUMNS = (
    Column("load", "load"), Column("ttft_s", "TTFT"), Column("tpot_s", "TPOT"), Column("slo", "SLO", words=True),
    Column("sessions_per_hour", "sessions"), Column("cost_usd_per_session", "a session"), Column("mfu_ratio", "FLOP/s"),
    Column("mbu_ratio", "HBM"), Column("kv_used_peak_ratio", "KV peak"), Column("link_busy_ratio", "links"),
)  # fmt: skip
OF_ROW = ("cost_usd_per_session", "mfu_ratio", "mbu_ratio", "kv_used_peak_ratio", "link_busy_ratio")


def load(subject: Subject) -> Section | None:
    """The load curve, where the load can be changed."""
    if not subject.curve:
        return None
    unit = subject.load_unit
    rows = [
        [point.load, point.ttft_s, point.tpot_s, _verdict(point.missed) if subject.has_slo else None,
         point.sessions_per_hour, *(point.row[name] for name in OF_ROW)]
        for point in subject.curve
    ]  # fmt: skip
    blocks: list[Block] = [_picture(subject), Sheet("load", f"Under other loads ({unit})", COLUMNS, rows)]
    return Section("load", "Load curve", blocks)


def _verdict(missed: tuple[str, ...]) -> str:
    return "missed" if missed else "met"


def _picture(subject: Subject) -> Picture:
    assert subject.curve
    scenario, unit = subject.scenario, subject.load_unit
    own = load_of(scenario)
    figures = curve_figures(subject.curve, own, unit, scenario.slo)
    loads = f"{subject.curve[0].load:,g} to {subject.curve[-1].load:,g} {unit}"
    panels = [panel(f"load_{key}", figure, f"{key} over the load, {loads}.") for key, figure in figures.items()]
    return Picture(f"{_caption(subject)} The scenario's own load is marked.", panels)


def _caption(subject: Subject) -> str:
    assert subject.curve
    curve, unit = subject.curve, subject.load_unit
    first, last = curve[0], curve[-1]
    more, gives = last.load / first.load, last.sessions_per_hour / first.sessions_per_hour
    words = (
        f"From {first.load:,g} to {last.load:,g} {unit}, {more:.3g} times the load, throughput grows "
        f"{human('n', gives)} times"
    )
    if subject.has_slo:
        met = [point.load for point in curve if not point.missed]
        words += f"; the SLO is met up to {max(met):,g}" if met else "; the SLO is met at none of these loads"
    told = replicas_told_by_one(subject.scenario)
    one = f" One of {told} equal replicas was simulated under its share of each load." if told > 1 else ""
    return f"{words}.{one}"

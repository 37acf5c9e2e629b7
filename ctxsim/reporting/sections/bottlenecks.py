"""What limits throughput: the bounds of every resource, how busy each was, and which number moves the outcome most."""

from __future__ import annotations

from math import isfinite

from ctxsim.explore.sensitivity import CHANGE_RATIO, Effect
from ctxsim.human import human
from ctxsim.reporting.blocks import Block, Column, Picture, Section, Sheet, Words
from ctxsim.reporting.figures import bars, style
from ctxsim.reporting.figures.tornado import tornado_figure, tornado_words
from ctxsim.reporting.names import RESOURCES, factor_words
from ctxsim.reporting.panels import panel
from ctxsim.reporting.subject import Subject
from ctxsim.units import SECONDS_PER_HOUR

_USD = ("dollars a session", "session_usd")
OUTCOMES = {
    "analyze": {"sessions_per_hour_bound": ("sessions an hour", "sessions_per_hour"), "cost_usd_per_session": _USD},
    "simulate": {"sessions_per_hour": ("sessions an hour", "sessions_per_hour"), "cost_usd_per_session": _USD},
}
"""What is followed, by how it is found: in words, and the end of its columns' names."""

HOW = {
    "analyze": "Elasticities are those of the tightest bound",
    "simulate": "Elasticities are those of simulations under this load, with the same draws",
}

BOUNDS = (
    Column("resource", "resource", words=True), Column("sessions_per_hour", "sessions an hour at most"),
    Column("worked_out", "worked out as", words=True),
)  # fmt: skip
USE = (Column("resource", "resource", words=True), Column("used_ratio", "used"), Column("meaning", "", words=True))


def bottlenecks(subject: Subject) -> Section:
    """Bounds, utilisation and sensitivities."""
    finite = [bound for bound in subject.analysis.bounds if isfinite(bound.sessions_per_s) and bound.sessions_per_s > 0]
    blocks: list[Block] = [_bounds_picture(subject)] if finite else []
    rows = [[RESOURCES[b.resource], b.sessions_per_s * SECONDS_PER_HOUR, f"3600 x {b.work}"] for b in finite]
    blocks.append(Sheet("bounds", "Sessions an hour that no schedule exceeds", BOUNDS, rows))
    if subject.served:
        blocks.append(_use(subject))
    blocks += _sensitivity(subject)
    return Section("bottlenecks", "Bottlenecks and sensitivity", blocks)


def _bounds_picture(subject: Subject) -> Picture:
    finite = [b for b in subject.analysis.bounds if isfinite(b.sessions_per_s) and b.sessions_per_s > 0]
    drawn = []
    for bound in finite:
        rate = bound.sessions_per_s * SECONDS_PER_HOUR
        color = style.INK if bound is finite[0] else style.SOFT
        drawn.append(bars.Bar(RESOURCES[bound.resource], rate, human("n", rate), color))
    found = subject.summary.get("sessions_per_hour")
    mark = (found, f"simulated {human('n', found)}") if found else None
    figure = bars.bars_figure(drawn, "sessions an hour, at most", log=True, mark=mark)
    said = "The most sessions an hour by resource: " + "; ".join(f"{bar.name} {bar.words}" for bar in drawn) + "."
    caption = f"The tightest bound is that of {drawn[0].name}, {drawn[0].words} sessions an hour"
    if len(drawn) > 1:
        caption += f"; the next, {drawn[1].name}, is {drawn[1].size / drawn[0].size:.3g} times that"
    return Picture(f"{caption}.", [panel("bounds", figure, said)])


def _use(subject: Subject) -> Sheet:
    summary = subject.summary
    rows = [
        ["FLOP/s", summary["mfu_ratio"], "FLOP done at the dense peaks, of the whole time"],
        ["HBM bandwidth", summary["mbu_ratio"], "bytes that had to move, of the whole time"],
        ["KV pool, mean", summary["kv_used_ratio"]["mean"], "taken by requests being served"],
        ["KV pool, peak", summary["kv_used_ratio"]["peak"], "of the fullest replica"],
        ["host links", summary["link_busy_ratio"], "share of time with a copy under way"],
    ]
    return Sheet("use", "How busy everything was in the simulation", USE, rows)


def _sensitivity(subject: Subject) -> list[Block]:
    """The numbers that move sessions per hour and dollars, in closed form or simulated."""
    by = subject.effects_by
    sheets = [_effects(subject, outcome) for outcome in OUTCOMES[by]]
    shown = [sheet for sheet in sheets if sheet.rows]
    if not shown:
        found = "in closed form" if by == "analyze" else "in simulations"
        return [Words(f"No single number of hardware or workload moves sessions per hour or dollars {found}.")]
    said = tornado_words(subject.effects, by)
    drawn = panel("tornado", tornado_figure(subject.effects, by, CHANGE_RATIO), said)
    return [Picture(_strongest(subject), [drawn]), *shown]


def _effects(subject: Subject, outcome: str) -> Sheet:
    """The outcome with each number smaller, as it is, and larger; the strongest first."""
    name, unit = OUTCOMES[subject.effects_by][outcome]
    columns = (
        Column("number", "number", words=True), Column("elasticity", "elasticity"),
        Column(f"smaller_{unit}", "a fifth smaller"), Column(f"base_{unit}", "as it is"),
        Column(f"larger_{unit}", "a quarter larger"),
    )  # fmt: skip
    rows = [[factor_words(e.factor), e.elasticity, e.low, e.base, e.high] for e in _moving(subject, outcome)]
    return Sheet(f"sensitivity_{unit}", f"What moves {name}", columns, rows)


def _moving(subject: Subject, outcome: str) -> list[Effect]:
    return [effect for effect in subject.effects if effect.outcome == outcome and effect.elasticity]


def _strongest(subject: Subject) -> str:
    words = []
    for outcome, (name, _) in OUTCOMES[subject.effects_by].items():
        if moving := _moving(subject, outcome):
            words.append(
                f"{name} follow the {factor_words(moving[0].factor)} most ({moving[0].elasticity:+.3g} % for 1 % more)"
            )
    text = "; ".join(words)
    return (
        f"{text[0].upper()}{text[1:]}. {HOW[subject.effects_by]}, each number made {CHANGE_RATIO:g} times larger and "
        "smaller, all else equal; numbers that are not listed do not move it."
    )

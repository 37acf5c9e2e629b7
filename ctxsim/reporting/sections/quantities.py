"""The four quantities, each with its number, what binds it and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ctxsim.analysis import analyze_grid
from ctxsim.analysis.work import work_by_part
from ctxsim.human import human
from ctxsim.reporting.blocks import Block, Code, Column, Number, Numbers, Picture, Section, Sheet
from ctxsim.reporting.figures.quantities import PANELS, quantities_grid, quantity_figures
from ctxsim.reporting.names import RESOURCES
from ctxsim.reporting.panels import panel
from ctxsim.reporting.subject import Subject
from ctxsim.units import show

NAMES = {"concurrency": "Concurrency", "prefill": "Prefill", "decode": "Decode", "switch": "Context switch"}
FURTHER = {"session": "One session alone", "bounds": "Bounds", "gap": "One gap between two turns"}
"""Arithmetic of what follows from the four."""

OPERATIONS = (
    Column("operation", "operation", words=True), Column("work_flop", "FLOP"), Column("hbm_bytes", "HBM"),
    Column("link_bytes", "link"), Column("time_s", "time"), Column("share_ratio", "share"),
    Column("bound", "bound by", words=True),
)  # fmt: skip


def quantities(subject: Subject) -> Section:
    """Numbers, curves over context length, operations and arithmetic."""
    analysis, keys = subject.analysis, subject.analysis.keys
    tokens = analysis.session.document_tokens
    work = work_by_part(analysis)
    blocks: list[Block] = [
        Numbers(list(_numbers(subject))),
        _picture(subject),
        *(Code(f"Arithmetic: {name.lower()}", "\n".join(work[key])) for key, name in NAMES.items()),
        _operations("prefill_operations", f"Prefill of {tokens:,} tokens in one pass", keys["breakdown"]["prefill"]),
        _operations("decode_operations", f"One decode step at {tokens:,} tokens", keys["breakdown"]["decode_step"]),
        *(
            Code(f"Arithmetic: {name.lower()}", "\n".join(work[key]), folded=True)
            for key, name in FURTHER.items()
            if work[key]
        ),
    ]
    return Section("quantities", "The four quantities", blocks, [_curves(subject)])


def _numbers(subject: Subject) -> Iterator[Number]:
    keys, session = subject.analysis.keys, subject.analysis.session
    document = f"{session.document_tokens:,} tokens"
    held, room = show(keys["kv_bytes_per_session"], "bytes"), show(keys["kv_capacity_bytes"], "bytes")
    link = show(subject.analysis.cost.host_link_bytes_per_s, "bytes_per_s")
    yield Number(
        "Concurrency", f"{keys['concurrent_sessions']:.4g}", f"sessions of {held} fit the {room} of one replica"
    )
    yield Number(
        "Prefill", human("prefill_s", keys["prefill_s"]), f"for {document}; {RESOURCES[keys['prefill_bound']]} binds"
    )
    yield Number(
        "Decode", human("decode_answer_s", keys["decode_answer_s"]),
        f"for {session.answer_tokens:,} tokens alone; {RESOURCES[keys['decode_bound']]} binds",
    )  # fmt: skip
    yield Number("Context switch", human("switch_s", keys["switch_s"]), f"one session out and one in, at {link}")


def _picture(subject: Subject) -> Picture:
    keys, tokens = subject.analysis.keys, subject.analysis.session.document_tokens
    figures = quantity_figures(subject.scenario, tokens)
    panels = []
    for key, figure in figures.items():
        value = show(keys[key], "seconds") if key.endswith("_s") else f"{keys[key]:.4g}"
        panels.append(panel(key, figure, f"{PANELS[key]} over context length; at {tokens:,} tokens it is {value}."))
    double = _doubling(subject)
    caption = (
        f"The four quantities of one replica over context length, the scenario's {tokens:,} tokens marked; {double}."
    )
    return Picture(caption, panels)


def _doubling(subject: Subject) -> str:
    """What twice the context would mean for prefill: more than twice, as attention grows with its square."""
    scenario, tokens = subject.scenario, subject.analysis.session.document_tokens
    once, twice = analyze_grid(scenario, document_tokens=[tokens, 2 * tokens])["prefill_s"]
    return f"twice the context takes {twice / once:.3g} times the prefill"


def _curves(subject: Subject) -> Sheet:
    grid = quantities_grid(subject.scenario, subject.analysis.session.document_tokens)
    columns = [Column(key, key) for key in ("document_tokens", *PANELS)]
    rows = zip(*(grid[column.name].tolist() for column in columns), strict=True)
    return Sheet("quantities_over_context", "The four quantities over context length", columns, [list(r) for r in rows])


def _operations(name: str, title: str, found: Sequence[dict[str, Any]]) -> Sheet:
    """A row an operation; the link's column only where it is used."""
    total_s = sum(row["seconds"] for row in found)
    columns = [c for c in OPERATIONS if c.name != "link_bytes" or any(row["link_bytes"] for row in found)]
    rows = []
    for row in found:
        values = row | {"work_flop": row["flop"], "time_s": row["seconds"]}
        values["bound"] = RESOURCES[row["bound"]]
        values["share_ratio"] = row["seconds"] / total_s if total_s else None
        rows.append([values[column.name] for column in columns])
    return Sheet(name, title, columns, rows)

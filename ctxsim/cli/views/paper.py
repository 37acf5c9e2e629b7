"""The paper's tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, paragraph
from ctxsim.paper import Row, four_digits

FACTOR_COLUMNS = ("case", "KV, GiB", "prefill, PFLOP", "prefill, s", "decode, s", "switch, s", "sessions")


def paper_view(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Each printed number beside its formula, then a table per factor."""
    yield paragraph("arXiv 2405.08944: formula value beside the printed one; nothing is tuned to the print.")
    yield heading("Printed against formula")
    columns = ("case", "quantity", "formula", "printed", "deviation", "why")
    yield grid(columns, [_compared(r) for r in rows if r.printed is not None], ("case", "quantity", "why"), ("why",))
    for table in dict.fromkeys(r.table for r in rows):
        yield heading(table)
        yield _factor([r for r in rows if r.table == table])


def _compared(r: Row) -> tuple[str, ...]:
    return (
        r.case,
        r.label,
        f"{four_digits(r.value)} {r.unit}".strip(),
        f"{r.printed:g}",
        f"{r.deviation_ratio:+.1%}",
        r.remark,
    )


def _factor(rows: Sequence[Row]) -> RenderableType:
    lines = [
        (case, *(four_digits(r.value) for r in rows if r.case == case)) for case in dict.fromkeys(r.case for r in rows)
    ]
    return grid(FACTOR_COLUMNS, lines, ("case",))

"""Tables and numbers of the pages that are generated here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = Sequence[Any]


def table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; none where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def plain(value: float | None) -> str:
    """The same to three digits and without powers of ten: thousands are whole, with separators."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")

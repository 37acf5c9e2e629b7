"""The look of every table: aligned columns, one line under the head, no colours that a pipe would lose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ctxsim.human import human


def paragraph(words: str) -> Text:
    """Words that are broken where the line ends."""
    return Text(words)


def heading(words: str) -> Text:
    """A line that opens a part of the output."""
    return Text(f"\n{words}", style="bold")


def grid(
    columns: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str], wrapped: Sequence[str] = ()
) -> Table:
    """A table with a head; columns named in ``left`` are words, the others numbers; ``wrapped`` ones may break."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        words = name in left
        table.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=name not in wrapped,
            overflow="fold" if name in wrapped else "ellipsis",
        )
    for row in rows:
        table.add_row(*row)
    return table


def pairs(values: Mapping[str, Any], across: int = 2) -> Table:
    """Keys and human values, ``across`` of them on a line, read down the columns."""
    cells = [(key, human(key, value)) for key, value in values.items()]
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(across):
        table.add_column(no_wrap=True, overflow="fold")
        table.add_column(no_wrap=True, overflow="fold")
    depth = -(-len(cells) // across)
    for line in range(depth):
        row = cells[line::depth]
        table.add_row(*(part for cell in row for part in cell))
    return table


def labelled(sentences: Mapping[str, str]) -> Table:
    """A label and a sentence a row, the sentences broken where the line ends."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, sentence in sentences.items():
        table.add_row(label, sentence)
    return table

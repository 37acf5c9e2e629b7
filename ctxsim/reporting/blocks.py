"""What a report is made of, before it is HTML or Markdown: sections of blocks, every number with its raw value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, NamedTuple

from ctxsim.human import human


class Column(NamedTuple):
    """A column of a sheet. name: in files, its unit at the end; head: for readers; words: text, not numbers."""

    name: str
    head: str
    words: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: shown on the page, and written as CSV and Parquet under its name. rows: raw values, None where missing.

    Columns that end in ``value`` hold quantities of many kinds, each with the unit of the key in its row's first cell.
    total: the last row sums up the others and stays last however the table is sorted. unit: of all amounts, said once
    with the title instead of in every cell.
    """

    kind: ClassVar[str] = "sheet"
    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    total: bool = False
    unit: str = ""

    @property
    def heading(self) -> str:
        """The title, with the unit of the amounts where the cells leave it out."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def cells(self) -> list[list[tuple[Column, str, str]]]:
        """By row: column, what is read (with its unit), and what the table is sorted by."""
        return [[self._cell(row, *pair) for pair in zip(self.columns, row, strict=True)] for row in self.rows]

    def _cell(self, row: Sequence[Any], column: Column, value: Any) -> tuple[Column, str, str]:
        text = human(str(row[0]) if column.name.endswith(VALUE) else column.name, value)
        return column, text.removesuffix(f" {self.unit}"), sort_key(value)


VALUE = "value"
"""The end of the names of columns of quantities of many kinds."""


def sort_key(value: Any) -> str:
    """The raw value as text: numbers in full, nothing where there is none."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Words:
    """A paragraph. lead: the answer itself."""

    kind: ClassVar[str] = "words"
    text: str
    lead: bool = False


class Number(NamedTuple):
    """One number that a reader should take away: what it is, the number, a remark; state: ``met``, ``missed`` or ""."""

    name: str
    value: str
    remark: str
    state: str = ""


@dataclass(frozen=True)
class Numbers:
    """The big numbers of the first screen."""

    kind: ClassVar[str] = "numbers"
    numbers: Sequence[Number]


@dataclass(frozen=True)
class Labelled:
    """Labels with a sentence each."""

    kind: ClassVar[str] = "labelled"
    sentences: Mapping[str, str]


class Panel(NamedTuple):
    """A drawing: its name among the files, SVG text, and what it says to whoever cannot see it."""

    name: str
    image: str
    said: str


@dataclass(frozen=True)
class Picture:
    """One or several drawings, and the sentence that says what they show; side by side, or ``stacked``."""

    kind: ClassVar[str] = "picture"
    caption: str
    panels: Sequence[Panel]
    stacked: bool = False

    @property
    def wide(self) -> bool:
        """Whether each drawing takes the whole width."""
        return self.stacked or len(self.panels) == 1


@dataclass(frozen=True)
class Code:
    """Lines of arithmetic or of a command; folded away under its title where ``folded``."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Warnings:
    """What a reader must know before relying on the numbers."""

    kind: ClassVar[str] = "warnings"
    sentences: Sequence[str]


Block = Sheet | Words | Numbers | Labelled | Picture | Code | Warnings


@dataclass(frozen=True)
class Section:
    """A part of the report. data: sheets that only the files hold, from which pictures were drawn."""

    key: str
    title: str
    blocks: Sequence[Block]
    data: Sequence[Sheet] = field(default=())


@dataclass(frozen=True)
class Report:
    """The whole: its question, and its sections, the answer first. stamp: version and digest, for the foot of pages."""

    name: str
    question: str
    subtitle: str
    stamp: str
    sections: Sequence[Section]

    @property
    def sheets(self) -> list[Sheet]:
        """Every table, shown or not, in order."""
        return [sheet for section in self.sections for sheet in (*_shown(section.blocks), *section.data)]

    @property
    def panels(self) -> list[Panel]:
        """Every drawing, in order."""
        pictures = (block for section in self.sections for block in section.blocks if isinstance(block, Picture))
        return [panel for picture in pictures for panel in picture.panels]


def _shown(blocks: Iterable[Block]) -> list[Sheet]:
    return [block for block in blocks if isinstance(block, Sheet)]

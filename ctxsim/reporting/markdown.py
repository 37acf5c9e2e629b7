"""A report as Markdown (GitHub's): the same blocks, drawings as files beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ctxsim.reporting.blocks import Code, Labelled, Numbers, Picture, Report, Section, Sheet, Warnings, Words

FIGURES = "figures"
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(report: Report) -> str:
    """The report as text; drawings are expected in the folder ``figures``."""
    parts = [f"# {escaped(report.question)}", f"{escaped(report.name)}. {escaped(report.subtitle)}"]
    for section in report.sections:
        parts += _section(section)
    return "\n\n".join([*parts, f"*{escaped(report.stamp)}*"]) + "\n"


def escaped(text: str) -> str:
    """The text as Markdown that reads as it is."""
    safe = "".join(_HTML.get(letter, letter) for letter in " ".join(text.split()))
    return re.sub(r"(?<!\w)_|_(?!\w)|[\\`*\[\]|~]|^[#+-]", lambda match: f"\\{match[0]}", safe)


def _section(section: Section) -> list[str]:
    return [f"## {escaped(section.title)}", *(_WRITERS[type(block)](block) for block in section.blocks)]


def _words(block: Words) -> str:
    text = escaped(block.text)
    return f"**{text}**" if block.lead else text


def _numbers(block: Numbers) -> str:
    rows = [(number.name, f"**{escaped(number.value)}**", escaped(number.remark)) for number in block.numbers]
    return _table(["", "", ""], [(escaped(name), value, remark) for name, value, remark in rows], [True, False, True])


def _labelled(block: Labelled) -> str:
    return "\n".join(f"- **{escaped(label)}**: {escaped(text)}" for label, text in block.sentences.items())


def _sheet(block: Sheet) -> str:
    heads = [escaped(column.head) for column in block.columns]
    rows = [[escaped(text) for _, text, _ in row] for row in block.cells]
    return f"**{escaped(block.heading)}**\n\n{_table(heads, rows, [column.words for column in block.columns])}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[bool]) -> str:
    rule = ["---" if left else "---:" for left in words]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def _picture(block: Picture) -> str:
    images = " ".join(f"![{escaped(panel.said)}]({FIGURES}/{panel.name}.svg)" for panel in block.panels)
    return f"{images}\n\n*{escaped(block.caption)}*"


def _code(block: Code) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
    return f"**{escaped(block.title)}**\n\n{fence}\n{block.text}\n{fence}"


def _warnings(block: Warnings) -> str:
    return "\n".join(f"> - {escaped(sentence)}" for sentence in block.sentences)


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    Words: _words, Numbers: _numbers, Labelled: _labelled, Sheet: _sheet, Picture: _picture, Code: _code,
    Warnings: _warnings,
}  # fmt: skip

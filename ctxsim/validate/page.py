"""Error tables as a page: Markdown, and HTML of the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isnan

import pandas as pd

from ctxsim.validate.errors import COLUMNS
from ctxsim.validate.targets import Target

PERCENT = 100
LONG = 12
"""Rows: a table of more is folded away in HTML."""

STYLE = """:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1f2933;background:#fff}
p{max-width:48rem}h2{font-size:1.15rem;margin-top:2rem}summary{cursor:pointer}
.box{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem;border-bottom:1px solid #d9e2ec;text-align:right;white-space:nowrap}
th:first-child,td:first-child,td.word,th.word{text-align:left}
.wide td:first-child{white-space:normal;min-width:14rem}
.no{font-weight:600;color:#b42318}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}th,td{border-color:#333c47}.no{color:#ff8a7a}}
@media(max-width:40rem){body{margin:1rem auto}h1{font-size:1.5rem}table{font-size:13px}th,td{padding:.2rem .35rem}
.wide td:first-child{min-width:8rem}}"""


@dataclass(frozen=True)
class Section:
    """A heading, what is to be said, a table (None where there is none), and targets that its numbers are of."""

    title: str
    words: str
    table: pd.DataFrame | None = None
    targets: tuple[Target, ...] = ()


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The page in Markdown."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", "", section.words, ""]
        if section.table is not None:
            lines += [*_markdown_table(section.table), ""]
    return "\n".join(lines)


def html(title: str, sections: Sequence[Section]) -> str:
    """The page as one HTML file that needs nothing else."""
    body = [f"<h1>{escape(title)}</h1>"]
    for section in sections:
        body += [f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.words)}</p>"]
        if section.table is not None:
            body.append(_html_table(section.table))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n'
    )


def meanings() -> str:
    """What the columns of error tables mean, in a sentence."""
    return "Columns: " + "; ".join(f"{_head(name)}: {meaning}" for name, meaning in COLUMNS.items()) + "."


def _markdown_table(table: pd.DataFrame) -> list[str]:
    heads = [_head(str(name)) for name in table.columns]
    ruler = ["---" if _is_word(table[name]) else "--:" for name in table.columns]
    rows = [[_cell(str(name), value) for name, value in row.items()] for row in table.to_dict("records")]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ruler, *rows)]


def _html_table(table: pd.DataFrame) -> str:
    """The table in a box of its own that scrolls sideways; folded away where it is long, but for the targets."""
    heads = "".join(f"<th{_mark(table, str(name))}>{escape(_head(str(name)))}</th>" for name in table.columns)
    rows = "".join(f"<tr>{_html_row(table, row)}</tr>" for row in table.to_dict("records"))
    wide = ' class="wide"' if "target" in table else ""
    box = (
        f'<div class="box" tabindex="0"><table{wide}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    if len(table) <= LONG or wide:
        return box
    return f"<details><summary>{len(table)} rows</summary>{box}</details>"


def _html_row(table: pd.DataFrame, row: Mapping[Hashable, object]) -> str:
    cells = [(str(name), _cell(str(name), value)) for name, value in row.items()]
    marks = [' class="word no"' if cell == ("met", "no") else _mark(table, cell[0]) for cell in cells]
    return "".join(f"<td{mark}>{escape(cell)}</td>" for mark, (_, cell) in zip(marks, cells, strict=True))


def _mark(table: pd.DataFrame, name: str) -> str:
    return ' class="word"' if _is_word(table[name]) else ""


def _is_word(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _head(name: str) -> str:
    return name.removesuffix("_ratio").replace("_", " ")


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        if isnan(value):
            return "-"
        if name.endswith("_ratio"):
            return f"{value * PERCENT:.1f} %"
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)

"""Error tables as a page: Markdown, and HTML of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isnan

import pandas as pd

from ctxsim.validate.errors import COLUMNS

PERCENT = 100
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1f2933}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;border-bottom:1px solid #d9e2ec;text-align:right}
th:first-child,td:first-child,td.word,th.word{text-align:left}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}th,td{border-color:#333c47}}"""


@dataclass(frozen=True)
class Section:
    """A heading, what is to be said, and a table (None where there is none)."""

    title: str
    words: str
    table: pd.DataFrame | None = None


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
    words = {str(name): ' class="word"' if _is_word(table[name]) else "" for name in table.columns}
    heads = "".join(f"<th{words[name]}>{escape(_head(name))}</th>" for name in words)
    rows = (
        "".join(f"<td{words[str(name)]}>{escape(_cell(str(name), value))}</td>" for name, value in row.items())
        for row in table.to_dict("records")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


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

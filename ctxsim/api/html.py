"""Results as HTML fragments for notebooks: a small table, and the warnings above it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ctxsim.human import human


def page(title: str, keys: Mapping[str, Any], warnings: Iterable[str]) -> str:
    """A fragment with title, warnings and a row for every key that has one value or a few."""
    noted = "".join(f"<p><b>warning:</b> {escape(warning)}</p>" for warning in warnings)
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in flat(keys))
    return f"<div><p><b>{escape(title)}</b></p>{noted}<table>{rows}</table></div>"


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A fragment with title and a table of the rows, a column for every name that occurs."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    cells = ("".join(f"<td>{escape(human(name, row.get(name)))}</td>" for name in names) for row in rows)
    body = "".join(f"<tr>{cell}</tr>" for cell in cells)
    return f"<div><p><b>{escape(title)}</b></p><table><tr>{heads}</tr>{body}</table></div>"


def flat(keys: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    """Names and human values; a mapping of numbers as one row a number, ``ttft_s.p50``; longer things left out."""
    for name, value in keys.items():
        if isinstance(value, Mapping):
            if not any(isinstance(item, list | Mapping) for item in value.values()):
                yield from flat(value, f"{inside}{name}.")
        elif not isinstance(value, list):
            yield f"{inside}{name}", human(f"{inside}{name}", value)

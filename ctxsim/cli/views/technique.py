"""Techniques as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, labelled
from ctxsim.units import show


def list_view(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """One line a technique, in the order in which they are applied."""
    columns = ("name", "dimension", "improves", "training", "needle", "what")
    yield grid(columns, (_row(row) for row in rows), columns, ("what",))
    yield "improves: Concurrency, Prefill, Decode, Switch of a long context"
    yield "needle: whether what stands somewhere in a long context is still found (see `ctxsim technique show NAME`)"


def show_view(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What a technique does, what it takes and risks, and a model's KV without and with it."""
    yield f"{result['name']}: {result['title']}"
    training, needle, claim = result["training"], result["needle"], result["claim"]
    yield labelled(
        {
            "dimension": result["dimension"],
            "parameters": _parameters(result["parameters"]),
            "changes nothing at": _identity(result),
            "stored": result["stored"],
            "read": result["read"],
            "computed": result["computed"],
            "moved": result["moved"],
            "improves": ", ".join(result["improves"]) or "none of the four quantities",
            "training": _sourced(training["effort"], training),
            "needle": _sourced(needle["state"], needle),
            "claim": f"{claim['text']} ({claim['source']})",
            "note": result["note"] or "none",
            "sources": "; ".join(result["sources"]),
        }
    )
    yield heading(f"KV of {result['model']}")
    yield grid(("tokens", "without", "with", "times"), _sizes(result["before"], result["after"]), ())


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    improves = " ".join(name[0].upper() for name in row["improves"]) or "-"
    return row["name"], row["dimension"], improves, row["training"], row["needle"], row["title"]


def _sizes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for tokens, held in before["kv_bytes_at"].items():
        left = after["kv_bytes_at"][tokens]
        yield f"{int(tokens):,}", show(held, "bytes"), show(left, "bytes"), f"{left / held:.4g}" if held else "-"


def _parameters(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'null' if value is None else value}" for name, value in values.items())


def _identity(result: Mapping[str, Any]) -> str:
    """The parameters at which it is none, and what is to be said of them."""
    written, note = _parameters(result.get("identity", {})), result["identity_note"]
    return f"{written} ({note})" if written and note else written or note


def _sourced(state: str, said: Mapping[str, Any]) -> str:
    note = f": {said['note']}" if said["note"] else ""
    return f"{state}{note} ({said['source']})"

"""Models as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, labelled
from ctxsim.units import MILLION, show


def list_view(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """One line a model."""
    columns = ("name", "parameters/1e9", "active/1e9", "layers", "KV a token", "state", "window")
    yield grid(columns, (_row(row) for row in rows), ("name",))
    yield "KV in bf16; layers with a window stop growing at it (see `ctxsim model show NAME`)"


def show_view(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A model's numbers, then what contexts of several lengths hold."""
    yield f"{result['name']} ({result['family']})"
    active = result["num_active_parameters"]
    kinds = ", ".join(f"{number} x {kind}" for kind, number in result["layer_kinds"].items())
    yield labelled(
        {
            "parameters": f"{result['num_parameters']:,} ({_billions(result['num_parameters'])} billion)",
            "active a token": f"{active:,} ({_billions(active)} billion)",
            "layers": f"{result['num_layers']}: {kinds}",
            "window": f"{result['max_context_tokens']:,} tokens",
            "KV a token": f"{result['kv_bytes_per_token']:,.0f} B in bf16, of the layers that keep every token",
            "state a sequence": f"{result['state_bytes_per_sequence']:,} B",
            "left to defaults": ", ".join(result["defaulted_fields"]) or "nothing",
        }
    )
    yield heading("Context held, bf16")
    rows = [(f"{int(tokens):,}", show(held, "bytes"), f"{held:,.0f}") for tokens, held in result["kv_bytes_at"].items()]
    yield grid(("tokens", "held", "bytes"), rows, ())


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        _billions(row["num_parameters"]),
        _billions(row["num_active_parameters"]),
        str(row["num_layers"]),
        show(row["kv_bytes_per_token"], "bytes"),
        show(row["state_bytes_per_sequence"], "bytes") if row["state_bytes_per_sequence"] else "-",
        f"{row['max_context_tokens']:,}",
    )


def _billions(parameters: int) -> str:
    """The parameters in billions: 34.39."""
    return f"{parameters / (1000 * MILLION):,.4g}"

"""Machines as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, paragraph
from ctxsim.human import number
from ctxsim.units import DIMENSIONS, show


def list_view(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The accelerators, then the hosts."""
    if "hardware" in result:
        yield "Accelerators (rates of one device; links one way, and how many devices share that to the host)"
        columns = ("name", "bf16", "HBM", "bandwidth", "scale-up, -out", "host link", "USD/hour")
        yield grid(columns, (_accelerator(row) for row in result["hardware"]), ("name",))
        yield ""
    yield "Hosts (memory and drives of one node); combine with `host: NAME` in a scenario"
    yield grid(("name", "memory", "rate", "NVMe", "NVMe read"), (_host(row) for row in result["hosts"]), ("name",))


def show_view(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Every value of a machine with its source, the accelerator's and then the host's."""
    yield paragraph(f"{result['name']} in {result['host_name']}: {result['description']}")
    for title, key in (("Accelerator", "values"), (f"Host {result['host_name']}", "host_values")):
        sources = list(dict.fromkeys(row["source"] for row in result[key]))
        yield heading(title)
        rows = [
            (row["field"], _quantity(row), f"[{sources.index(row['source']) + 1}]", row["note"]) for row in result[key]
        ]
        yield grid(("value", "", "source", "note"), rows, ("value", "source", "note"), wrapped=("note",))
        yield ""
        yield grid(
            ("source", "words"),
            [(f"[{i + 1}]", source) for i, source in enumerate(sources)],
            ("source", "words"),
            wrapped=("words",),
        )


def _accelerator(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        show(row["peak_flop_per_s"]["bf16"], "flop_per_s"),
        show(row["hbm_bytes"], "bytes"),
        show(row["hbm_bytes_per_s"], "bytes_per_s"),
        _joined(row["scale_up_bytes_per_s"], row["scale_out_bytes_per_s"]),
        f"{show(row['host_link_bytes_per_s'], 'bytes_per_s')} /{row['host_link_shared_by']}",
        show(row["accelerator_usd_per_s"], "usd_per_s").removesuffix(" USD/hour"),
    )


def _joined(scale_up_bytes_per_s: float | None, scale_out_bytes_per_s: float | None) -> str:
    """The rates of scale-up link and network, the unit once where they have the same."""
    up = "free" if scale_up_bytes_per_s is None else show(scale_up_bytes_per_s, "bytes_per_s")
    if scale_out_bytes_per_s is None:
        return up
    out = show(scale_out_bytes_per_s, "bytes_per_s")
    number, _, unit = up.partition(" ")
    return f"{number if out.endswith(f' {unit}') else up}, {out}"


def _host(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        show(row["memory_bytes"], "bytes"),
        show(row["memory_bytes_per_s"], "bytes_per_s"),
        show(row["nvme_bytes"], "bytes"),
        show(row["nvme_read_bytes_per_s"], "bytes_per_s"),
    )


def _quantity(row: Mapping[str, Any]) -> str:
    """The value with the unit that its dimension is shown in."""
    dimension = next((name for name, kind in DIMENSIONS.items() if kind.si_unit == row["unit"]), None)
    return number(row["value"]) if dimension is None else show(row["value"], dimension)

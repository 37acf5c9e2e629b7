"""The bill of a simulation for people: what it was paid for, and what a session, a turn and a million tokens cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, paragraph
from ctxsim.human import human

LABELS = {
    "prefill": "prefill",
    "decode": "decode",
    "switching": "switching",
    "holding_hbm": "holding in HBM",
    "holding_host": "holding in host memory",
    "holding_disk": "holding on disk",
    "idle": "idle",
}
UNIT_COSTS = {
    "per_session_usd": "a session",
    "per_turn_usd": "a turn",
    "per_million_input_tokens_usd": "1M tokens in",
    "per_million_output_tokens_usd": "1M tokens out",
}


def money_view(money: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A row a part of the bill and their total, a column a unit cost; what tokens cost alone; energy.

    shown: the same keys, perhaps as text with the half-widths of their intervals.
    """
    bill_usd = money["bill_usd"]
    yield heading("Money in USD")
    rows = [
        (
            label,
            _cell(shown["parts_usd"][part]),
            f"{money['parts_usd'][part] / bill_usd:.1%}" if bill_usd else "-",
            *(_cell(shown[name][part]) for name in UNIT_COSTS),
        )
        for part, label in LABELS.items()
    ]
    table = grid(("", "bill", "share", *UNIT_COSTS.values()), rows, ("",))
    table.add_section()
    totals = (_cell(shown[name]["total"]) for name in UNIT_COSTS)
    table.add_row("total", _cell(shown["bill_usd"]), "100.0%" if bill_usd else "-", *totals)
    yield table
    idle = shown["idle_usd"]
    yield paragraph(
        f"Idle: {_cell(idle['accelerators'])} USD of accelerators, {_cell(idle['host'])} USD of host memory and "
        f"{_cell(idle['disk'])} USD of disk set aside for KV."
    )
    each = shown["session_usd"]
    if money["session_usd"]["mean"] is not None:
        yield paragraph(
            f"Sessions, each charged for its part of runs, copies and what it left: {_cell(each['mean'])} USD on "
            f"average, half of them {_cell(each['p50'])} USD at most, 95 % {_cell(each['p95'])} USD; idle is nobody's."
        )
    own, energy = shown["own_per_million_tokens_usd"], "on the bill" if money["energy_billed"] else "not on the bill"
    yield paragraph(
        f"A million tokens alone, without idle: {_cell(own['computed_input'])} USD of prompts computed, "
        f"{_cell(own['cached_input'])} USD of prompts found in the cache, {_cell(own['output'])} USD of answers."
    )
    yield paragraph(
        f"Energy: at most {_cell(shown['energy_kwh'])} kWh, {_cell(shown['energy_usd'])} USD ({energy}): the board "
        "power of all accelerators for the whole run."
    )


def _cell(value: Any) -> str:
    return human("", value)

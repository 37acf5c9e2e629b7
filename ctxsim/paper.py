"""The running example of arXiv 2405.08944 and its factor analysis, formula beside print.

Every value is worked out by the same cost model as any other scenario; nothing is tuned to the print. Deviations
are of the print from the formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ctxsim.analysis import analyze
from ctxsim.spec.scenario import load_scenario
from ctxsim.units import parse

CONTEXTS = ("4k", "50k", "100k", "200k", "1m")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One of the paper's quantities: the key of ``analyze`` it is read from, the unit it is shown in, and its scale."""

    key: str
    label: str
    unit: str
    scale: float = 1.0


QUANTITIES = (
    Quantity("kv_bytes_per_session", "KV cache", "GiB", 1 / parse("1 GiB", "bytes")),
    Quantity("prefill_flop", "prefill", "PFLOP", 1 / parse("1 PFLOP/s", "flop_per_s")),
    Quantity("prefill_s", "prefill", "s"),
    Quantity("decode_answer_s", "decode of 250 tokens", "s"),
    Quantity("switch_s", "switch out + in", "s"),
    Quantity("concurrent_sessions", "sessions resident", ""),
)


@dataclass(frozen=True, slots=True)
class Printed:
    """A number as the paper prints it, and why it may differ from the paper's own formula."""

    value: float
    remark: str


# Printed in arXiv 2405.08944 (May 2024); the remarks are ours.
PRINTED: Mapping[tuple[str, str], Printed] = {
    ("4k", "kv_bytes_per_session"): Printed(0.91, "printed as GB, is GiB truncated"),
    ("50k", "kv_bytes_per_session"): Printed(11, "printed as GB, is GiB truncated"),
    ("100k", "kv_bytes_per_session"): Printed(22.8, "printed as GB, is GiB truncated"),
    ("4k", "prefill_s"): Printed(0.89, "truncated"),
    ("50k", "prefill_s"): Printed(14.1, "fits 48,000 tokens, not 50,000"),
    ("4k", "decode_answer_s"): Printed(8.5, "leaves the KV cache out"),
    ("50k", "decode_answer_s"): Printed(9.8, "fits 11 GB of KV (9.875), truncated"),
    ("50k", "switch_s"): Printed(1.1, "11 + 11 GiB taken as GB"),
    ("4k", "concurrent_sessions"): Printed(20, "about 20"),
    ("50k", "concurrent_sessions"): Printed(1, "whole sessions"),
    ("4k x2", "concurrent_sessions"): Printed(100, "about 100, two accelerators"),
    ("100k x2", "concurrent_sessions"): Printed(5, "about 5, two accelerators"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one case: formula value, and the print with its deviation where the paper has one."""

    table: str
    case: str
    key: str
    label: str
    unit: str
    value: float
    printed: float | None
    remark: str

    @property
    def deviation_ratio(self) -> float | None:
        """(printed - formula) / formula."""
        return None if self.printed is None else self.printed / self.value - 1


def _case_overrides() -> dict[str, list[tuple[str, str, dict[str, object]]]]:
    """Tables of (case, scenario, overrides)."""
    tp8: dict[str, object] = {"deployment.tensor_parallel": 8}
    return {
        "Context length, one A100": [(c, c, {}) for c in CONTEXTS],
        "Context length, two A100": [(f"{c} x2", c, {"deployment.tensor_parallel": 2}) for c in ("4k", "50k", "100k")],
        "Hardware generation, 50K": [
            (name, "50k", {"hardware": name}) for name in ("paper-a100", "h100-80gb-sxm", "h200-sxm", "b200-sxm")
        ],
        "Tensor parallelism, 50K": [(f"TP {g}", "50k", {"deployment.tensor_parallel": g}) for g in (1, 2, 4, 8)],
        "Attention kind, 50K": [
            (kind, "50k", {"model": name})
            for kind, name in (
                ("MHA", "paper-34b-mha"),
                ("GQA", "paper-34b"),
                ("MQA", "paper-34b-mqa"),
                ("MLA", "paper-34b-mla"),
            )
        ],
        "Experts, 50K, eight A100": [
            ("dense 34B", "50k", tp8),
            ("8 x 34B, 2 active", "50k", tp8 | {"model": "paper-8x34b"}),
        ],
    }


def paper_rows() -> list[Row]:
    """Every case of the paper's running example and factor analysis."""
    return [
        row
        for table, cases in _case_overrides().items()
        for case, context, overrides in cases
        for row in _rows(table, case, context, overrides)
    ]


def _rows(table: str, case: str, context: str, overrides: Mapping[str, object]) -> list[Row]:
    keys = analyze(load_scenario(f"paper-34b-{context}", overrides)).keys
    found = []
    for q in QUANTITIES:
        printed = PRINTED.get((case, q.key))
        value, remark = keys[q.key] * q.scale, printed.remark if printed else ""
        found.append(Row(table, case, q.key, q.label, q.unit, value, printed.value if printed else None, remark))
    return found


def paper_markdown() -> str:
    """``docs/paper.md``: the tables, and each printed number beside its formula."""
    rows = paper_rows()
    parts = [_HEAD, _printed_table([r for r in rows if r.printed is not None])]
    for table in dict.fromkeys(r.table for r in rows):
        parts.append(f"## {table}\n\n{_wide_table([r for r in rows if r.table == table])}")
    return "\n\n".join(parts) + "\n"


_HEAD = """# The running example of arXiv 2405.08944, reproduced

Generated by `ctxsim paper --markdown`. A 34B model (34e9 parameters, 60 layers, 8 KV heads of 128, attention width
4,096, bf16) on `paper-a100` (312 TFLOP/s, 2 TB/s, 80 GiB, host link 20 GB/s for the whole group, collectives free).
The formulas: KV(s) = s x 245,760 B; prefill s (2P + 2 L s H') / F; decode n (W + KV(s)) / M; switch 2 KV(s) / C;
sessions (HBM - W) / KV(s). Values come from the cost model that every other scenario uses.

## Printed against formula

The print is not always consistent with its own formulas; nothing here is tuned to it. Machines other than
`paper-a100` are the shipped profiles: driver-visible HBM, datasheet rates one way. With latent attention (MLA) prefill
costs more than the paper's "unchanged", since its expanded heads are wider than 128."""


def _printed_table(rows: list[Row]) -> str:
    lines = ["| case | quantity | formula | printed | deviation | why |", "|---|---|--:|--:|--:|---|"]
    for r in rows:
        deviation = f"{100 * (r.deviation_ratio or 0.0):+.1f} %"
        shown = f"{four_digits(r.value)} {r.unit}".strip()
        lines.append(f"| {r.case} | {r.label} | {shown} | {r.printed:g} | {deviation} | {r.remark} |")
    return "\n".join(lines)


def _wide_table(rows: list[Row]) -> str:
    heads = [f"{q.label}, {q.unit}" if q.unit else q.label for q in QUANTITIES]
    lines = ["| case | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for case in dict.fromkeys(r.case for r in rows):
        values = [four_digits(r.value) for r in rows if r.case == case]
        lines.append(f"| {case} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def four_digits(value: float) -> str:
    """The number to four significant digits, without an exponent."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"

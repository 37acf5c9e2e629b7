"""A simulation for people: summary, latencies, what was saved, definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ctxsim.api.results import with_half_widths
from ctxsim.cli.views.analysis import fidelity, intervals_view
from ctxsim.cli.views.money import money_view
from ctxsim.cli.views.tables import grid, heading, labelled, pairs, paragraph
from ctxsim.human import human
from ctxsim.metrics import DEFINITIONS
from ctxsim.spec.scenario import Scenario

LATENCIES = ("ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s")
PERCENT = 100


def simulation_view(scenario: Scenario, summary: Mapping[str, Any], out: Path | None) -> Iterator[RenderableType]:
    """The summary with units, latency quantiles as a table, the SLO, where it was saved, and the definitions.

    Of replications, every number is a mean with the half-width of its confidence interval.
    """
    gate = summary.get("slo_gate")
    shown = with_half_widths({key: value for key, value in summary.items() if key not in ("slo_gate", "intervals")})
    yield paragraph(_what_ran(scenario, summary.get("replications")))
    yield ""
    others = {key: value for key, value in shown.items() if key not in (*LATENCIES, "money")}
    yield pairs(_spread(others), across=1 if "replications" in summary else 2)
    yield heading("Latency")
    columns = list(shown[LATENCIES[0]])
    rows = [(name, *(_in_two_lines(human(name, shown[name][column])) for column in columns)) for name in LATENCIES]
    yield grid(("", *columns), rows, ("",))
    yield from money_view(summary["money"], shown["money"])
    yield from intervals_view(summary)
    if gate is not None:
        yield heading(f"SLO at the {gate['percentile']:g} % quantile: {'met' if gate['met'] else 'missed'}")
        limits = [(name, gate[name]) for name in LATENCIES if name in gate]
        rows = [(name, human(name, g["found_s"]), human(name, g["limit_s"]), human("", g["met"])) for name, g in limits]
        yield grid(("", "found", "limit", "met"), rows, ("",))
    if out is not None:
        yield f"\nWritten to {out}"
    yield heading("Definitions")
    yield labelled({name: meaning for name, meaning in DEFINITIONS.items() if name.partition(".")[0] in summary})


def _what_ran(scenario: Scenario, replications: Mapping[str, Any] | None) -> str:
    s = scenario
    machine = " and ".join(f"{of.deployment.replicas} x {of.deployment.ranks} {of.hardware.name}" for of in s.fleet)
    how = f"seed {s.run.seed}, {fidelity(s)}"
    what = f"{s.name}: {s.model.name} on {machine} (replicas x tensor parallel), {how}"
    if replications is None:
        return what
    if replications["n"] == 1:
        return f"{what}; one replication"
    confidence = f"{replications['confidence'] * PERCENT:g} %"
    return f"{what}; means of {replications['n']} replications \u00b1 half of their {confidence} intervals"


def _in_two_lines(shown: str) -> str:
    """A mean and its half-width, where it has one, so that five of them fit beside each other."""
    return shown.replace(" \u00b1", "\n\u00b1")


def _spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings of a key as keys of their own: kv_hit_ratio.hbm."""
    spread: dict[str, Any] = {}
    for key, value in values.items():
        spread |= (
            {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return spread

"""One self-contained page of a scenario: the four questions answered, the arithmetic, and what a simulation found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from ctxsim.analysis import Analysis, analyze
from ctxsim.analysis.work import show_work
from ctxsim.metrics import DEFINITIONS, QUANTILES
from ctxsim.reporting.drawings import quantities_drawing, simulated_drawings
from ctxsim.reporting.residency import residency
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import Scenario
from ctxsim.units import show

LATENCIES = ("ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s")


def write_report(scenario: Scenario, directory: str | Path) -> Path:
    """Writes ``index.html`` into the directory (made if needed) and returns its path.

    The scenario is analysed, and simulated where it is feasible. Same scenario, same bytes.
    """
    analysis = analyze(scenario)
    simulation = simulate(scenario) if analysis.feasible else None
    target = Path(directory) / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".tmp")
    partial.write_text(render(analysis, simulation), encoding="utf-8")
    os.replace(partial, target)
    return target


def render(analysis: Analysis, simulation: Simulation | None) -> str:
    """The page as text."""
    environment = Environment(loader=PackageLoader("ctxsim.reporting"), autoescape=select_autoescape(default=True))
    environment.filters["quantity"] = show
    return environment.get_template("page.html").render(
        analysis=analysis,
        scenario=analysis.scenario,
        keys=analysis.keys,
        answers=answers(analysis),
        work="\n".join(show_work(analysis)),
        simulation=simulation,
        latencies=_latency_rows(simulation),
        definitions=DEFINITIONS,
        quantiles=("mean", *QUANTILES),
        warnings=simulation.warnings if simulation else analysis.warnings,
        quantities=quantities_drawing(analysis),
        drawings=list(simulated_drawings(simulation)) if simulation else [],
        residency=residency(simulation) if simulation else None,
    )


def answers(analysis: Analysis) -> list[tuple[str, str, str]]:
    """The four questions: name, number, and the sentence that goes with it."""
    keys, session = analysis.keys, analysis.session
    document = f"{session.document_tokens:,} tokens"
    return [
        (
            "Concurrency",
            f"{keys['concurrent_sessions']:.4g} sessions",
            f"of {show(keys['kv_bytes_per_session'], 'bytes')} KV fit one replica's HBM at {document}",
        ),
        ("Prefill", show(keys["prefill_s"], "seconds"), f"for {document}, bound by {keys['prefill_bound']}"),
        (
            "Decode",
            show(keys["decode_answer_s"], "seconds"),
            f"for {session.answer_tokens} tokens alone, bound by {keys['decode_bound']}",
        ),
        ("Context switch", show(keys["switch_s"], "seconds"), "one session out to host memory and one in"),
    ]


def _latency_rows(simulation: Simulation | None) -> list[tuple[str, list[str]]]:
    if simulation is None:
        return []
    return [(name, [_seconds(v) for v in simulation.summary[name].values()]) for name in LATENCIES]


def _seconds(value: Any) -> str:
    return "none" if value is None else show(value, "seconds")

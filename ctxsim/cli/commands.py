"""The commands: each takes what was typed, calls one thing, and returns an Answer.

What a command needs is imported inside it, so that help and errors come up at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of
from ctxsim.errors import InfeasibleError


class Stepping(StrEnum):
    """How iterations are taken: in exact jumps, or one by one."""

    macro = "macro"
    single = "single"


class Description(StrEnum):
    """The kinds of file that have a schema."""

    scenario = "scenario"
    hardware = "hardware"
    host = "host"
    model = "model"


def hardware_list(
    hosts: Annotated[bool, typer.Option("--hosts", help="Only the hosts, without the accelerators.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """List the accelerators and the hosts that come with ctxsim."""
    from ctxsim.cli import listings

    result: dict[str, Any] = {} if hosts else {"hardware": listings.hardware_rows()}
    result["hosts"] = listings.host_rows()

    def text() -> Any:
        from ctxsim.cli.views.hardware import list_view

        return list_view(result)

    return Answer("hardware", result, text, as_json)


def hardware_show(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A name in hardware_profiles/, or a path.")],
    host: Annotated[str | None, typer.Option("--host", help="Another host: a name, or a path.")] = None,
    as_json: JsonOption = False,
) -> Answer:
    """Show a machine: every number with its source."""
    from ctxsim.cli import listings

    result = listings.hardware_details(name, host)

    def text() -> Any:
        from ctxsim.cli.views.hardware import show_view

        return show_view(result)

    return Answer("hardware", result, text, as_json)


def model_list(as_json: JsonOption = False) -> Answer:
    """List the models that come with ctxsim."""
    from ctxsim.cli import listings

    result = {"models": listings.model_rows()}

    def text() -> Any:
        from ctxsim.cli.views.model import list_view

        return list_view(result["models"])

    return Answer("model", result, text, as_json)


def model_show(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_PATH", help="A name in models/, a config.json or the folder that has one.")
    ],
    as_json: JsonOption = False,
) -> Answer:
    """Show a model and what its contexts hold.

    Parameters, layers, bytes of context in bf16, and what its file left to defaults.
    """
    from ctxsim.cli import listings

    result = listings.model_details(name)

    def text() -> Any:
        from ctxsim.cli.views.model import show_view

        return show_view(result)

    return Answer("model", result, text, as_json)


def technique_list(as_json: JsonOption = False) -> Answer:
    """List the techniques that come with ctxsim."""
    from ctxsim.cli.technique_listings import technique_rows

    result = {"techniques": technique_rows()}

    def text() -> Any:
        from ctxsim.cli.views.technique import list_view

        return list_view(result["techniques"])

    return Answer("technique", result, text, as_json)


def technique_show(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_PATH", help="A name in techniques/, or a path; name(key=value) too.")
    ],
    model: Annotated[str, typer.Option("--model", help="The model whose KV is shown.")] = "yi-34b-200k",
    as_json: JsonOption = False,
) -> Answer:
    """Show a technique: what it does, takes and risks.

    With the KV of a model without and with it.
    """
    from ctxsim.cli.technique_listings import technique_details

    result = technique_details(name, model)

    def text() -> Any:
        from ctxsim.cli.views.technique import show_view

        return show_view(result)

    return Answer("technique", result, text, as_json)


def analyze(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    work: Annotated[bool, typer.Option("--show-work", help="Print each formula with its numbers put in.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Answer in closed form, nothing simulated.

    Concurrency, prefill, decode, context switch, their breakdown, bounds on sessions per hour, and the price.
    Exits with 3 where not even one session fits; every other key is still printed.
    """
    from ctxsim.analysis import analyze as run_analysis
    from ctxsim.spec.scenario import load_scenario

    analysis = run_analysis(load_scenario(scenario, overrides_of(settings)))
    result = dict(analysis.keys)
    if work:
        from ctxsim.analysis.work import show_work

        result["work"] = show_work(analysis)

    def text() -> Any:
        from ctxsim.cli.views.analysis import analysis_view

        return analysis_view(analysis, result.get("work", []))

    reason = result.get("infeasible_reason")
    return Answer(
        "analyze",
        result,
        text,
        as_json,
        scenario_sha256=analysis.scenario.sha256,
        warnings=analysis.warnings,
        exit_code=0 if analysis.feasible else InfeasibleError.exit_code,
        failure=None if reason is None else f"infeasible: {reason}",
    )


def simulate(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Replace run.seed.")] = None,
    stepping: Annotated[Stepping, typer.Option(help="Jump over equal iterations, or take each.")] = Stepping.macro,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables, summary and scenario there.")] = None,
    fail_on_slo: Annotated[bool, typer.Option("--fail-on-slo", help="Exit with 4 where the SLO is missed.")] = False,
    replications: Annotated[
        int | None, typer.Option(min=1, help="Run it so many times with other draws; print means and intervals.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the replications' intervals.")] = 0.95,
    workers: Annotated[int, typer.Option(min=1, help="Processes that replications run in.")] = 1,
    trace_out: Annotated[
        Path | None, typer.Option(metavar="FILE.json[.gz]", help="Write a trace for ui.perfetto.dev there.")
    ] = None,
    trace_from: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Trace what ends then or later.  [default: 0]")
    ] = None,
    trace_until: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Trace what begins before.  [default: the end]")
    ] = None,
    trace_max_events: Annotated[
        int | None, typer.Option(min=1, help="Trace the earliest of them.  [default: 500000]")
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="At fidelity calibrated: what its fits are off by, in every result.")
    ] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bar.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Simulate the workload to its last request.

    Latencies, throughput, utilisation and cost. Exits with 3 where nothing can be served.
    """
    from ctxsim.cli.simulating import Order, carry_out
    from ctxsim.spec.scenario import load_scenario
    from ctxsim.tracing import asked

    overrides = overrides_of(settings)
    if seed is not None:
        overrides["run.seed"] = seed
    order = Order(
        load_scenario(scenario, overrides),
        stepping.value,
        out,
        fail_on_slo,
        not no_progress,
        replications,
        confidence,
        workers,
        asked(trace_out, trace_from, trace_until, trace_max_events, replications),
        intervals,
    )
    return carry_out(order, as_json)


def schema(
    kind: Annotated[Description, typer.Argument(help="The kind of file.")] = Description.scenario,
    as_json: JsonOption = False,
) -> Answer:
    """Print the JSON Schema of a kind of file.

    Draft-07, for editors and checks.
    """
    from ctxsim.cli.schemas import schema_of

    result = schema_of(kind.value)

    def text() -> Any:
        from ctxsim.api.jsonable import dumps

        yield dumps(result).rstrip()

    return Answer("schema", result, text, as_json)

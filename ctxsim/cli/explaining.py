"""The commands that say where the cost of a context comes from: explanations and cost curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.exploring import document_at
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of
from ctxsim.errors import Fault, InfeasibleError, SpecError

OutOption = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write rows.parquet and a figure there too.")
]


def explain(
    scenario: ScenarioArgument,
    against: Annotated[str, typer.Option(metavar="TOKENS", help="The other context: 4k, 50000, 1m.")] = "4k",
    simulate: Annotated[bool, typer.Option("--simulate", help="Also from two simulations, on the same draws.")] = False,
    show_work: Annotated[bool, typer.Option("--show-work", help="Print the arithmetic too.")] = False,
    out: OutOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Say why a session costs more than the same one over another context.

    Its extra cost by quantity (concurrency, prefill, decode, switching) and cause (KV bytes, quadratic FLOP, the rest),
    and what would stay of it if KV weighed nothing. Of a session at full load; exits with 3 where one does not fit.
    """
    from ctxsim.cli.views.explaining import explain_keys, explain_view
    from ctxsim.explore.explain import explain as run_explain
    from ctxsim.explore.explain_work import explain_work
    from ctxsim.spec.scenario import load_scenario

    found = run_explain(load_scenario(scenario, overrides_of(settings)), context_of("--against", against), simulate)
    work = explain_work(found) if show_work else []
    result: dict[str, Any] = explain_keys(found) | ({"work": work} if show_work else {})
    if out is not None:
        from ctxsim.reporting.figures.waterfall import write_waterfall

        result |= written(out, found.rows, "waterfall.svg", lambda path: write_waterfall(found, path))
    reason = found.infeasible_reason
    return Answer(
        "explain", result, lambda: explain_view(found, work), as_json, scenario_sha256=found.scenario.sha256,
        warnings=found.warnings, exit_code=0 if reason is None else InfeasibleError.exit_code,
        failure=None if reason is None else f"infeasible: {reason}",
    )  # fmt: skip


def curve(
    scenario: ScenarioArgument,
    contexts: Annotated[
        str, typer.Option(metavar="TOKENS", help="4k,50k,1m or LO:HI:N or log:LO:HI:N.")
    ] = "log:4k:1m:9",
    hardware: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Machines to compare.  [default: the scenario's]")
    ] = None,
    techniques: Annotated[
        str | None,
        typer.Option(
            metavar="STACK,STACK",
            help='Stacks of techniques: none,kv-int4,"cla+kv-int4".  [default: the scenario\'s]',
        ),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Each point on the smallest replica that holds it, weights in fp8 if need be.")
    ] = False,
    out: OutOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Say what a session costs over its context, by machine and stack of techniques.

    Dollars of a session at full load, of a thousand tokens more, and how they follow each number of the machine. Points
    that do not fit are rows with the reason; exits with 3 where none does.
    """
    from ctxsim.cli.views.explaining import curve_keys, curve_view
    from ctxsim.explore.cost_curve import cost_curve, parse_contexts, parse_stacks, warnings_of
    from ctxsim.explore.sweep import scenarios_of

    document = document_at(scenario, settings)
    (base,) = scenarios_of(document, [()])
    points = cost_curve(
        document, parse_contexts(contexts), None if hardware is None else names_of("--hardware", hardware),
        None if techniques is None else parse_stacks(techniques), fit,
    )  # fmt: skip
    result: dict[str, Any] = curve_keys(base, points, fit)
    if out is not None:
        from ctxsim.reporting.figures.cost_curve import write_cost_curve

        result |= written(
            out, [point.row for point in points], "curve.svg", lambda path: write_cost_curve(points, path)
        )
    failure = None if any(point.cost is not None for point in points) else f"infeasible: {points[0].reason}"
    return Answer(
        "curve", result, lambda: curve_view(points), as_json, scenario_sha256=base.sha256,
        warnings=(*base.warnings, *warnings_of(points)), exit_code=0 if failure is None else InfeasibleError.exit_code,
        failure=failure,
    )  # fmt: skip


def written(folder: Path, rows: Any, figure: str, draw: Callable[[Path], Path]) -> dict[str, Any]:
    """Writes rows and figure into the folder; returns where."""
    from ctxsim.api.storage import prepare_folder
    from ctxsim.explore.store import write_rows

    target = prepare_folder(folder)
    write_rows(rows, target / "rows.parquet", {})
    draw(target / figure)
    return {"folder": str(target)}


def context_of(option: str, text: str) -> int:
    """A number of tokens as an option says it; raises SpecError."""
    from ctxsim.units import UnitError, tokens

    try:
        return tokens(text)
    except UnitError as error:
        raise SpecError(Fault(option, None, None, "", str(error))) from None


def names_of(option: str, text: str) -> list[str]:
    """Names parted by commas, those in brackets left together; raises SpecError."""
    from ctxsim.explore.vary import split

    names = [name.strip() for name in split(text, ",")]
    if not all(names) or len(set(names)) < len(names):
        message = "expected names parted by commas, each once, found an empty one or one again; name each once"
        raise SpecError(Fault(f"{option} {text}", None, None, "", message))
    return names

"""The command that looks for the road from a long context to the cost of a short one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.explaining import OutOption, context_of, names_of, written
from ctxsim.cli.exploring import WorkersOption, document_at, workers_of
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption
from ctxsim.errors import InfeasibleError


def frontier(
    scenario: ScenarioArgument,
    target: Annotated[
        str, typer.Option(metavar="TOKENS", help="The context whose cost is wanted: 4k, 4k-parity, 8000.")
    ] = "4k",
    context: Annotated[
        str | None, typer.Option(metavar="TOKENS", help="The long context: 100k, 1m.  [default: the scenario's]")
    ] = None,
    within: Annotated[str, typer.Option(metavar="SHARE", help="How much worse still counts as parity: 10%.")] = "0%",
    most: Annotated[int, typer.Option(min=1, help="Techniques of a stack, at most.")] = 4,
    techniques: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help="Those that may be used.  [default: all that need no more accelerators]"
        ),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Every combination, without leaving out those that are beaten.")
    ] = False,
    workers: WorkersOption = None,
    out: OutOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Find the techniques that bring a long context to the cost of a short one, and say what cannot be reached.

    Concurrency, prefill, decode and switching each: at the target, without techniques, the best that a stack reaches,
    the cheapest at parity. Then dollars of a session against training and risk. Exits with 3 where no stack fits.
    """
    from ctxsim.cli.progress import StageProgress
    from ctxsim.cli.views.roads import frontier_keys, frontier_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.frontier import frontier as run_frontier
    from ctxsim.explore.frontier import parse_within

    with StageProgress() as progress:
        found = run_frontier(
            document_at(scenario, settings), context_of("--target", target.removesuffix("-parity")),
            None if context is None else context_of("--context", context), within_ratio=parse_within(within),
            most=most, techniques=None if techniques is None else names_of("--techniques", techniques),
            exhaustive=exhaustive, executor=local(workers_of(workers)), progress=progress.update,
        )  # fmt: skip
    result: dict[str, Any] = frontier_keys(found)
    if out is not None:
        from ctxsim.reporting.figures.road import write_road

        result |= written(out, found.rows, "frontier.svg", lambda path: write_road(found, path))
    reason = found.infeasible_reason
    return Answer(
        "frontier", result, lambda: frontier_view(found), as_json, scenario_sha256=found.scenario.sha256,
        warnings=found.warnings, exit_code=0 if reason is None else InfeasibleError.exit_code,
        failure=None if reason is None else f"infeasible: {reason}",
    )  # fmt: skip

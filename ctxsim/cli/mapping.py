"""The commands that map idle KV: what to do with it, and where it outgrows its room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer, StoppedError
from ctxsim.cli.exploring import WorkersOption, document_at, workers_of
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption
from ctxsim.errors import Fault, SpecError

OutOption = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write CSV, Parquet and a figure (SVG) there.")
]


class Over(StrEnum):
    """What is raised until KV no longer fits."""

    load = "load"
    context = "context"


def residency(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    contexts: Annotated[
        str | None, typer.Option(metavar="LO:HI:N", help="Tokens: a,b or log:1000:200000:20.  [default: all served]")
    ] = None,
    idles: Annotated[
        str | None,
        typer.Option(metavar="LO:HI:N", help='Idle times: "1 s,60 s" or "log:1 s:3600 s:20".  [default: to a day]'),
    ] = None,
    link_ratios: Annotated[str, typer.Option(metavar="X,X", help="A map for each: the host link times this.")] = "1",
    price_ratios: Annotated[
        str, typer.Option(metavar="X,X", help="A map for each: the accelerator's price times this.")
    ] = "1",
    return_ratios: Annotated[
        str, typer.Option(metavar="P,P", help="A map for each: the chance that the user comes back.")
    ] = "1",
    hardware: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Where swap and recompute break even on these machines.")
    ] = None,
    check: Annotated[int, typer.Option(min=0, metavar="N", help="Simulate so many points of the map too.")] = 0,
    check_seed: Annotated[int, typer.Option(min=0, help="Which points.")] = 0,
    out: OutOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Say what to do with a session's KV while its user thinks.

    Keep it in HBM, swap it to host memory or disk, drop it and compute it again, by context length and idle time: in
    closed form, with the boundaries as formulas, from the prices that analyze and simulate use.
    """
    from ctxsim.cli.views.mapping import residency_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.residency.answer import answer_of
    from ctxsim.explore.residency.check import check_map
    from ctxsim.explore.residency.machines import break_even_by_machine
    from ctxsim.explore.residency.map import residency_map
    from ctxsim.spec.scenario import resolve_scenario

    document = document_at(scenario, settings)
    base = resolve_scenario(document)
    mapped = residency_map(
        base, contexts=contexts, idles=idles, link_ratios=_numbers("--link-ratios", link_ratios),
        price_ratios=_numbers("--price-ratios", price_ratios), return_ratios=_numbers("--return-ratios", return_ratios),
    )  # fmt: skip
    tokens = mapped.own_tokens or mapped.contexts[-1]
    names = [] if hardware is None else [name.strip() for name in hardware.split(",")]
    machines = tuple(break_even_by_machine(document, names, tokens)) if names else ()
    checked = tuple(check_map(mapped, check, check_seed, local(workers_of(workers)))) if check else ()
    found = answer_of(mapped, machines, checked)
    files: Sequence[Path] = ()
    if out is not None:
        from ctxsim.reporting.mapped import write_residency

        files = write_residency(mapped, found, out)
    result = {**asdict(found), "files": [str(path) for path in files]}
    return Answer(
        "residency", result, lambda: residency_view(mapped, found, files), as_json,
        scenario_sha256=base.sha256, warnings=mapped.warnings,
    )  # fmt: skip


def cliff(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    over: Annotated[
        Over, typer.Option(help="Raise the load (users, arrivals), or the length of documents.")
    ] = Over.load,
    replications: Annotated[
        int, typer.Option(min=1, help="Runs of every point, for the interval; one where nothing is drawn.")
    ] = 5,
    out: OutOption = None,
    workers: WorkersOption = None,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Find where the KV that users want kept outgrows HBM, and HBM with host memory.

    Safe, offload pays, thrash: predicted in closed form, swept by simulation, the cliff located by bisection.
    """
    from ctxsim.cli.progress import StageProgress
    from ctxsim.cli.views.mapping import cliff_view
    from ctxsim.explore.cliff import cliff as find_cliff
    from ctxsim.explore.executors import local
    from ctxsim.spec.scenario import resolve_scenario

    base = resolve_scenario(document_at(scenario, settings))
    with StageProgress(not no_progress) as progress:
        try:
            found = find_cliff(
                base, over=over.value, replications=replications, executor=local(workers_of(workers)),
                tell=lambda done, of: progress.update("simulations", done, of),
            )  # fmt: skip
        except KeyboardInterrupt:
            raise StoppedError(f"interrupted ({progress.words}): a cliff is kept only when it is found") from None
    files: Sequence[Path] = ()
    if out is not None:
        from ctxsim.reporting.mapped import write_cliff

        files = write_cliff(found, out)
    result: dict[str, Any] = {**asdict(found), "files": [str(path) for path in files]}
    return Answer(
        "cliff", result, lambda: cliff_view(base, found, files), as_json,
        scenario_sha256=base.sha256, warnings=base.warnings,
    )  # fmt: skip


def _numbers(option: str, text: str) -> tuple[float, ...]:
    """``0.5,1,2``; raises SpecError for what is no number."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        message = f'expected numbers parted by commas, found "{text}"; write e.g. 0.5,1,2'
        raise SpecError(Fault(option, None, None, "", message)) from None

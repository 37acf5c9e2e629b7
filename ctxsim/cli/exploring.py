"""The commands that look at many scenarios: paired changes and sweeps."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctxsim.cli.answer import Answer, StoppedError
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of
from ctxsim.errors import Fault, SpecError

if TYPE_CHECKING:
    from ctxsim.spec.document import Document

WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes that simulations run in.  [default: one a core]")
]


class Method(StrEnum):
    """How a scenario is answered: by discrete events, or in closed form."""

    simulate = "simulate"
    analyze = "analyze"


class Where(StrEnum):
    """Where trials run: on this machine, or on the workers of a Dask cluster."""

    local = "local"
    dask = "dask"


def whatif(
    scenario: ScenarioArgument,
    changes: Annotated[
        list[str],
        typer.Option("--change", metavar='"K=V;K=V"', help="One change, of one key or several; may be given often."),
    ],
    settings: SetOption = None,
    by: Annotated[Method, typer.Option(help="Simulate base and changes, or answer in closed form.")] = Method.simulate,
    replications: Annotated[
        int, typer.Option(min=1, help="Runs of each, all on the same draws; one where nothing is drawn.")
    ] = 5,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Compare changes of a scenario with it, on the same draws.

    Base, changed, their difference with its 95 % interval, and which of the four quantities moved.
    """
    from ctxsim.analysis import prediction_warnings
    from ctxsim.cli.views.exploring import whatif_keys, whatif_view
    from ctxsim.explore import whatif as run_whatif
    from ctxsim.explore.executors import local
    from ctxsim.explore.whatif import changed_scenarios

    base, changed = changed_scenarios(document_at(scenario, settings), changes)
    found = run_whatif(base, changed, by=by.value, replications=replications, executor=local(workers_of(workers)))
    return Answer(
        "whatif", whatif_keys(found, by.value), lambda: whatif_view(base, found), as_json,
        scenario_sha256=base.sha256, warnings=prediction_warnings(base),
    )  # fmt: skip


def sweep(
    scenario: ScenarioArgument,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="a,b,c or LO:HI:N or log:LO:HI:N; K1;K2=a;x,b;y for keys that go together. Several make a grid.",
        ),
    ],
    settings: SetOption = None,
    by: Annotated[Method, typer.Option(help="Simulate every point, or answer in closed form.")] = Method.simulate,
    replications: Annotated[int, typer.Option(min=1, help="Runs of each point; then means and half-widths.")] = 1,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="So many points of a Sobol sequence instead of the grid; ranges are LO:HI."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Keep points there.  [default: sweeps/NAME]")
    ] = None,
    executor: Annotated[Where, typer.Option(help="Where points run.")] = Where.local,
    workers: WorkersOption = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of the Dask cluster: tcp://host:8786.")
    ] = None,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bar.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Answer a scenario at many points, each once.

    What was answered before is not worked out again: an interrupted sweep goes on where it stopped. Points that cannot
    be served are rows with a reason. Rows lie in DIR/points.parquet.
    """
    from ctxsim.cli.progress import PointProgress
    from ctxsim.cli.views.exploring import sweep_view
    from ctxsim.explore import grid_points, parse_axis, sobol_points
    from ctxsim.explore import sweep as run_sweep
    from ctxsim.explore.sweep import InterruptedSweepError, scenarios_of

    document = document_at(scenario, settings)
    (base,) = scenarios_of(document, [()])
    axes = [parse_axis(text) for text in vary]
    points = grid_points(axes) if samples is None else sobol_points(axes, samples, base.run.seed)
    folder = out or Path("sweeps") / base.name
    with PointProgress(not no_progress) as progress:
        try:
            found = run_sweep(
                document, points, by=by.value, replications=replications, folder=folder, progress=progress.update,
                executor=_executor(executor, workers, scheduler),
            )  # fmt: skip
        except InterruptedSweepError as error:
            done = sum(row["status"] != "waiting" for row in error.sweep.rows)
            message = f"interrupted: {done:,} of {len(points):,} points are in {folder}; the same command goes on there"
            raise StoppedError(message) from None
    result = {"folder": str(folder), "by": by.value, "points": len(points), "rows": list(found.rows)}
    return Answer(
        "sweep", result, lambda: sweep_view(found, by.value), as_json,
        scenario_sha256=base.sha256, warnings=(*base.warnings, *found.warnings),
    )  # fmt: skip


def document_at(scenario: str, settings: list[str] | None) -> Document:
    """The scenario file of that name or path with ``--set`` over it, not yet checked as a whole."""
    from ctxsim.spec.scenario import scenario_document

    return scenario_document(scenario, overrides_of(settings))


def workers_of(workers: int | None) -> int:
    """So many processes, or one a core."""
    return workers or os.cpu_count() or 1


def _executor(where: Where, workers: int | None, scheduler: str | None) -> Any:
    from ctxsim.explore.executors import dask, local

    if where is Where.local:
        if scheduler is not None:
            message = "expected --executor dask beside it, found local; add it, or leave the scheduler out"
            raise SpecError(Fault("--scheduler", None, None, "", message))
        return local(workers_of(workers))
    if scheduler is None or workers is not None:
        message = "expected --scheduler ADDRESS and no --workers with --executor dask; give the cluster's address"
        raise SpecError(Fault("--executor", None, None, "", message))
    return dask(scheduler)

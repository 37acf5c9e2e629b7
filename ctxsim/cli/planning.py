"""The commands that decide: capacity plans, and what outcomes follow from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer, StoppedError
from ctxsim.cli.exploring import Method, WorkersOption, document_at, workers_of
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of

DEFAULT_ACCELERATORS = 64


def plan(
    scenario: ScenarioArgument,
    users: Annotated[
        int | None, typer.Option(min=1, help="Users of the closed loop.  [default: the scenario's load]")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Arrivals a second of the open loop, instead of users.")] = None,
    accelerators: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Profiles to choose from.  [default: the scenario's]")
    ] = None,
    max_accelerators: Annotated[int, typer.Option(min=1, help="Of the whole fleet.")] = DEFAULT_ACCELERATORS,
    tensor_parallel: Annotated[str, typer.Option(metavar="N,N", help="How many make a replica.")] = "1,2,4,8",
    kv_dtype: Annotated[str | None, typer.Option(metavar="T,T", help="Formats of KV: bf16,fp8.")] = None,
    residency: Annotated[str | None, typer.Option(metavar="P,P", help="Policies for idle KV: keep,swap.")] = None,
    host_memory: Annotated[
        str | None, typer.Option(metavar='"256 GiB,1 TiB"', help="Host memory for KV on each node.")
    ] = None,
    batch_tokens: Annotated[str | None, typer.Option(metavar="N,N", help="Tokens of an iteration: 512,2048.")] = None,
    batch_seqs: Annotated[str | None, typer.Option(metavar="N,N", help="Sequences of a batch: 64,256.")] = None,
    runs: Annotated[
        int, typer.Option(min=2, help="Runs of the answer, for the probability that it holds; one if nothing is drawn.")
    ] = 20,
    settings: SetOption = None,
    workers: WorkersOption = None,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a report of the plan there too, as ctxsim report does.")
    ] = None,
    as_json: JsonOption = False,
) -> Answer:
    """Find the cheapest fleet of equal replicas that meets the scenario's SLO at a load.

    Closed form prunes, simulation decides: the answer was simulated whole, and one replica fewer misses the SLO. A list
    that is not given stays as the scenario has it. Exits with 3 where no fleet does, with the bound that forbids each.
    """
    from ctxsim.cli.progress import StageProgress
    from ctxsim.cli.views.planning import no_plan_keys, plan_keys, plan_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.plan import Goal, NoFleetError, Space
    from ctxsim.explore.plan import plan as run_plan

    goal = Goal.of(document_at(scenario, settings), users=users, rate=rate)
    listed = {
        "accelerators": accelerators, "tensor_parallel": tensor_parallel, "kv_dtype": kv_dtype,
        "residency": residency, "host_memory": host_memory, "batch_tokens": batch_tokens, "batch_seqs": batch_seqs,
    }  # fmt: skip
    space = Space.of(max_accelerators=max_accelerators, **{name: _values(text) for name, text in listed.items()})
    answer = partial(Answer, "plan", as_json=as_json, scenario_sha256=goal.base.sha256)
    with StageProgress(not no_progress) as progress:
        executor = local(workers_of(workers))
        try:
            found = run_plan(goal, space, executor=executor, progress=progress.update, confidence_runs=runs)
        except NoFleetError as error:
            failure = f"infeasible: {error}"
            return answer(no_plan_keys(error), list, exit_code=error.exit_code, failure=failure)
        except KeyboardInterrupt:
            raise StoppedError(f"interrupted ({progress.words}): a plan keeps nothing until it is done") from None
    asked = {"users": users, "rate": rate, **listed, "max_accelerators": max_accelerators, "runs": runs}
    keys = plan_keys(found, _command(scenario, settings, asked))
    _report(keys, report, workers)
    return answer(keys, lambda: plan_view(found), warnings=found.warnings)


def sensitivity(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    by: Annotated[Method, typer.Option(help="In closed form, or simulated on the same draws.")] = Method.analyze,
    ratio: Annotated[float, typer.Option(min=1.001, help="By how much each number is made larger and smaller.")] = 1.25,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw sessions per hour and dollars as a tornado.")
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Say how sessions per hour and dollars follow each number of hardware and workload.

    Elasticities: by how many percent an outcome moves for one percent more of a number, all else equal.
    """
    from dataclasses import asdict

    from ctxsim.analysis import prediction_warnings
    from ctxsim.cli.views.planning import sensitivity_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.sensitivity import sensitivity as run_sensitivity
    from ctxsim.spec.scenario import load_scenario

    base = load_scenario(scenario, overrides_of(settings))
    executor = local(1 if by is Method.analyze else workers_of(workers))
    effects = run_sensitivity(base, by=by.value, ratio=ratio, executor=executor)
    result: dict[str, Any] = {"by": by.value, "ratio": ratio, "effects": [asdict(effect) for effect in effects]}
    if figure is not None:
        from ctxsim.reporting.figures.tornado import write_tornado

        result["figure"] = str(write_tornado(effects, by.value, ratio, figure))
    return Answer(
        "sensitivity", result, lambda: sensitivity_view(base, effects, by.value, ratio), as_json,
        scenario_sha256=base.sha256, warnings=prediction_warnings(base),
    )  # fmt: skip


def _report(keys: Mapping[str, Any], folder: Path | None, workers: int | None) -> None:
    """Writes the plan's report where one is asked for."""
    if folder is not None:
        from ctxsim.cli.reporting import report_of_plan

        report_of_plan(keys, folder, workers)


def _command(scenario: str, settings: list[str] | None, asked: Mapping[str, Any]) -> list[str]:
    """The words that ask for the same plan again; what does not change the answer is left out."""
    words = ["ctxsim", "plan", scenario, *(word for setting in settings or () for word in ("--set", setting))]
    for name, value in asked.items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return words


def _values(text: str | None) -> tuple[object, ...] | None:
    from ctxsim.spec.document import plain_scalar

    return None if text is None else tuple(plain_scalar(part.strip()) for part in text.split(","))

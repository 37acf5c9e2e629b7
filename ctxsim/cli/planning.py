"""The commands that decide: capacity plans, and what outcomes follow from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.exploring import Method, WorkersOption
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of
from ctxsim.errors import Fault, SpecError

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
    tensor_parallel: Annotated[str, typer.Option(metavar="N,N", help="Accelerators of a replica.")] = "1,2,4,8",
    kv_dtype: Annotated[str | None, typer.Option(metavar="T,T", help="Formats of KV.")] = None,
    residency: Annotated[str | None, typer.Option(metavar="P,P", help="What becomes of idle KV.")] = None,
    host_memory: Annotated[
        str | None, typer.Option(metavar='"256 GiB,1 TiB"', help="Host memory for KV on each node.")
    ] = None,
    batch_tokens: Annotated[str | None, typer.Option(metavar="N,N", help="max_num_batched_tokens.")] = None,
    batch_seqs: Annotated[str | None, typer.Option(metavar="N,N", help="max_num_seqs.")] = None,
    runs: Annotated[int, typer.Option(min=2, help="Runs of the answer, for the probability that it holds.")] = 20,
    settings: SetOption = None,
    workers: WorkersOption = None,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a report of the plan there too, as ctxsim report does.")
    ] = None,
    as_json: JsonOption = False,
) -> Answer:
    """Find the cheapest fleet that meets the scenario's SLO at a load.

    Closed form prunes, simulation decides. Exits with 3 where no fleet does, with the bound that forbids each.
    """
    from ctxsim.cli.progress import StageProgress
    from ctxsim.cli.views.planning import plan_keys, plan_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.plan import Goal, Space
    from ctxsim.explore.plan import plan as run_plan
    from ctxsim.explore.plan.goal import (
        BATCH_SEQUENCES,
        BATCH_TOKENS,
        HARDWARE,
        HOST_MEMORY,
        KV_DTYPE,
        RANKS,
        RESIDENCY,
    )
    from ctxsim.spec import catalog
    from ctxsim.spec.document import read_document
    from ctxsim.spec.overrides import apply_overrides

    if users is not None and rate is not None:
        message = "expected users or a rate, found both; give one of them"
        raise SpecError(Fault("--users", None, None, "", message))
    document = apply_overrides(read_document(catalog.find("scenario", scenario)), overrides_of(settings))
    goal = Goal.of(document, users if users is not None else rate)
    if (users is not None and not goal.closed) or (rate is not None and goal.closed):
        wanted = "--users" if goal.closed else "--rate"
        raise SpecError(Fault("--users", None, None, "", f"expected {wanted} for this workload, found the other"))
    listed = {
        HARDWARE: accelerators, RANKS: tensor_parallel, KV_DTYPE: kv_dtype, RESIDENCY: residency,
        HOST_MEMORY: host_memory, BATCH_TOKENS: batch_tokens, BATCH_SEQUENCES: batch_seqs,
    }  # fmt: skip
    _check_names(accelerators)
    space = Space(tuple((key, _values(text)) for key, text in listed.items()), max_accelerators)
    with StageProgress(not no_progress) as progress:
        found = run_plan(
            goal, space, executor=local(workers or os.cpu_count() or 1), progress=progress.update, confidence_runs=runs
        )
    keys = plan_keys(found, _command(scenario, settings, users, rate, max_accelerators, runs, listed))
    if report is not None:
        from ctxsim.cli.reporting import report_of_plan

        report_of_plan(keys, report, workers)
    return Answer(
        "plan", keys, lambda: plan_view(found), as_json,
        scenario_sha256=goal.base.sha256, warnings=found.warnings,
    )  # fmt: skip


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

    from ctxsim.cli.views.planning import sensitivity_view
    from ctxsim.explore.executors import local
    from ctxsim.explore.sensitivity import sensitivity as run_sensitivity
    from ctxsim.spec.scenario import load_scenario

    base = load_scenario(scenario, overrides_of(settings))
    executor = local(1 if by is Method.analyze else workers or os.cpu_count() or 1)
    effects = run_sensitivity(base, by=by.value, ratio=ratio, executor=executor)
    result: dict[str, Any] = {"by": by.value, "ratio": ratio, "effects": [asdict(effect) for effect in effects]}
    if figure is not None:
        from ctxsim.reporting.figures.tornado import write_tornado

        result["figure"] = str(write_tornado(effects, by.value, figure))
    return Answer(
        "sensitivity", result, lambda: sensitivity_view(base, effects, by.value, ratio), as_json,
        scenario_sha256=base.sha256, warnings=base.warnings,
    )  # fmt: skip


OPTIONS = {
    "hardware": "--accelerators", "deployment.tensor_parallel": "--tensor-parallel", "serving.kv_dtype": "--kv-dtype",
    "serving.residency": "--residency", "serving.host_kv_capacity": "--host-memory",
    "serving.max_num_batched_tokens": "--batch-tokens", "serving.max_num_seqs": "--batch-seqs",
}  # fmt: skip
"""The option that lists the choices of each key."""


def _command(
    scenario: str, settings: list[str] | None, users: int | None, rate: float | None, most: int, runs: int,
    listed: Mapping[str, str | None],
) -> list[str]:  # fmt: skip
    """The words that ask for the same plan again; what does not change the answer is left out."""
    given = {"--users": users, "--rate": rate, **{OPTIONS[key]: text for key, text in listed.items()}}
    given |= {"--max-accelerators": most, "--runs": runs}
    words = ["ctxsim", "plan", scenario]
    for setting in settings or ():
        words += ["--set", setting]
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return words


def _values(text: str | None) -> tuple[object, ...]:
    from ctxsim.spec.document import plain_scalar

    return () if text is None else tuple(plain_scalar(part.strip()) for part in text.split(","))


def _check_names(accelerators: str | None) -> None:
    """Raises SpecError for a profile that there is none of: else every design with it would be refused one by one."""
    from ctxsim.spec import catalog

    for name in _values(accelerators):
        catalog.find("hardware", str(name))

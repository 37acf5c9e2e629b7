"""The report command's work: what its argument is, and the report of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctxsim.api.storage import load_result
from ctxsim.cli.exploring import workers_of
from ctxsim.cli.options import overrides_of
from ctxsim.errors import Fault, SpecError
from ctxsim.explore.executors import local
from ctxsim.explore.outcomes import By
from ctxsim.reporting import Planned, Subject, study, write_report
from ctxsim.reporting.pdf import check_pdf
from ctxsim.sim import Simulation
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import Scenario, load_scenario, resolve_scenario

PLAN_SCHEMA = "ctxsim.plan/"


@dataclass(frozen=True)
class Written:
    """Where the page lies, every file beside it, and what a reader of the terminal should know."""

    page: Path
    files: list[str]
    scenario_sha256: str
    warnings: tuple[str, ...]


def report_of(
    name: str, settings: list[str] | None, out: Path, *, as_pdf: bool, other_loads: bool, effects_by: By,
    workers: int | None,
) -> Written:  # fmt: skip
    """Writes the report of a scenario, of a saved simulation or of a plan, whichever the name stands for.

    Raises MissingExtraError before anything else where PDF cannot be had.
    """
    if as_pdf:
        check_pdf()
    scenario, simulation, plan = _found(name, settings)
    command = ["ctxsim", "report", name, *(word for s in settings or () for word in ("--set", s))]
    command += [] if other_loads else ["--no-load-curve"]
    command += [] if effects_by == "analyze" else ["--sensitivity", effects_by]
    command += [*(["--pdf"] if as_pdf else []), "-o", f"reports/{scenario.name}"]
    subject = study(
        scenario, command, simulation=simulation, plan=plan, other_loads=other_loads, effects_by=effects_by,
        executor=_executor(workers),
    )  # fmt: skip
    return _written(subject, out, as_pdf)


def report_of_plan(keys: Mapping[str, Any], out: Path, workers: int | None) -> Written:
    """Writes the report of a plan that was just made, the same as that of its JSON in ``plan.json``."""
    plan = Planned.of({"schema": f"{PLAN_SCHEMA}1", "result": keys}, "plan.json")
    command = ["ctxsim", "report", "plan.json", "-o", f"reports/{plan.scenario.name}"]
    return _written(study(plan.scenario, command, plan=plan, executor=_executor(workers)), out, as_pdf=False)


def _executor(workers: int | None) -> Any:
    return local(workers_of(workers))


def _written(subject: Subject, out: Path, as_pdf: bool) -> Written:
    page = write_report(subject, out, as_pdf)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return Written(page, files, subject.scenario.sha256, subject.warnings)


def _found(name: str, settings: Sequence[str] | None) -> tuple[Scenario, Simulation | None, Planned | None]:
    """The scenario that the name stands for, and its simulation or plan where that is what was named."""
    if Path(name).is_dir():
        _refuse_settings(settings, "a saved simulation")
        simulation = saved_simulation(Path(name))
        return simulation.scenario, simulation, None
    if (envelope := _plan(name)) is not None:
        _refuse_settings(settings, "a plan")
        plan = Planned.of(envelope, name)
        return plan.scenario, None, plan
    return load_scenario(name, overrides_of(list(settings or ()))), None, None


def _refuse_settings(settings: Sequence[str] | None, found: str) -> None:
    if settings:
        message = f"expected a scenario to change, found {found}, which is done; leave --set out, or name a scenario"
        raise SpecError(Fault("--set", None, None, "", message))


def _plan(name: str) -> Mapping[str, Any] | None:
    """The contents of a JSON file that a plan printed; None for anything else."""
    if not name.endswith(".json") or not Path(name).is_file():
        return None
    try:
        contents = json.loads(Path(name).read_text(encoding="utf-8"))
    except ValueError:
        return None
    is_plan = isinstance(contents, dict) and str(contents.get("schema", "")).startswith(PLAN_SCHEMA)
    return contents if is_plan else None


def saved_simulation(folder: Path) -> Simulation:
    """The simulation that was saved in the folder; raises SpecError for the means of replications."""
    result = load_result(folder)
    if result.replications is not None:
        number = result.replications["n"]
        message = f"expected one simulation, found the means of {number} replications, which have no requests, runs or "
        message += "copies of their own to draw (their intervals are in summary.json); name one of them, e.g. "
        raise SpecError(Fault(str(folder), None, None, "", f"{message}{folder / 'replication-000'}"))
    scenario = resolve_scenario(parse_document(result.scenario_yaml, str(folder / "scenario.yaml")))
    tables = {name: rows.table() for name, rows in result.tables.items()}
    return Simulation(scenario, scenario.run.seed, result.summary, **tables, warnings=result.warnings)

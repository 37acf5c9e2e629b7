"""Own measurements: kernels by fits that did not see their shapes, and reported runs of the torch engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ctxsim.calibrate import evaluate_plan
from ctxsim.calibrate.own import OwnFile, own_plan
from ctxsim.records.measured import read
from ctxsim.spec import catalog
from ctxsim.validate.kernels import SHAPES, kernel_tables
from ctxsim.validate.page import Section
from ctxsim.validate.served import JUDGED, MEAN_TARGET, P90_TARGET
from ctxsim.validate.targets import Target, at_most
from ctxsim.validate.workers import Spread

RUNS = "engine-*.json"
ENGINE = (
    "Scenarios served by the torch engine of ctxsim measure, which shares the simulator's scheduler, cache and "
    "policies, against predictions that were on disk before it ran; from the reports that ctxsim validate SCENARIO "
    "--engine wrote."
)


def own_kernel_checks(folder: Path, spread: Spread) -> list[Section]:
    """One section for each file of measurements that a shipped profile is named after."""
    return [section for sections in spread(_file_sections, sorted(folder.glob("*.parquet"))) for section in sections]


def engine_checks(folder: Path, spread: Spread) -> list[Section]:
    """The runs of the engine that were reported, as one table; a scenario may have been served more than once."""
    reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(RUNS))}
    said = [(run, one["scenario"], row) for run, one in reports.items() for row in one["quantities"]]
    rows = [{"run": run, "scenario": scenario, **row} for run, scenario, row in said]
    words = " ".join([ENGINE, *(f"{run}: {one['words']}" for run, one in reports.items())])
    return [Section("The torch engine", words, pd.DataFrame(rows), _targets(rows))] if rows else []


def _file_sections(path: Path) -> list[Section]:
    if path.stem not in catalog.names("hardware"):
        return []
    plan, _ = own_plan(path.stem, [OwnFile(path.name, *read(path))])
    shapes, _ = kernel_tables(evaluate_plan(plan, Path()))
    return [Section(f"{path.stem}: own measurements, shapes left out", SHAPES, shapes)]


def _targets(rows: list[dict[str, Any]]) -> tuple[Target, ...]:
    limits = {"mean": MEAN_TARGET, "p90": P90_TARGET}
    return tuple(
        at_most(f"{row['run']}: {label} of {row['quantity']}", abs(row[f"{label}_error_ratio"]), limit)
        for row in rows
        if row["quantity"] in JUDGED
        for label, limit in limits.items()
    )

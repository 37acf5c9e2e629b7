"""The loop closed: a scenario is predicted, the prediction written, then the engine serves it and both are compared."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ctxsim.api.calls import simulate
from ctxsim.api.parquet import write_table
from ctxsim.api.storage import load_result
from ctxsim.measure.devices import device_of
from ctxsim.measure.refresh import Speeds, speeds
from ctxsim.measure.served import Served
from ctxsim.measure.serving import serve
from ctxsim.spec.scenario import Scenario
from ctxsim.validate.page import html, markdown
from ctxsim.validate.served import served_errors, served_sections

PREDICTED, SERVED = "predicted", "served"
"""Folders of the tables, below the report's."""


def check_engine(
    scenario: Scenario, device: str, folder: Path, command: str, refresh: Path | None = None
) -> tuple[pd.DataFrame, list[Path]]:
    """The table of errors (validate.served), and where the report lies: engine.md, engine.html and engine.json.

    The prediction is on disk, flushed, before the engine is made. refresh: own measurements of the calibration; some
    of their points are timed again first, and the prediction is of the machine as it is then (measure.refresh).
    Raises what a simulation and the engine raise.
    """
    before = None if refresh is None else _speeds(refresh, device, scenario)
    now = scenario if before is None else before.of(scenario)
    predict(now, folder / PREDICTED)
    predicted_at = datetime.now(UTC)
    served = serve(now, device)
    served.save(folder / SERVED, write_table)
    prediction = load_result(folder / PREDICTED)
    measured = {name: served.tables[name].table().frame() for name in ("requests", "transfers")}
    table = served_errors(measured, {"requests": prediction.requests, "transfers": prediction.transfers})
    words = _words(served, predicted_at, command)
    if refresh is not None:
        words += f" {_drift(before, _speeds(refresh, device, scenario))}"
    return table, _report(folder, table, served, words)


def _speeds(refresh: Path, device: str, scenario: Scenario) -> Speeds:
    return speeds(refresh, device_of(device), scenario)


def _drift(before: Speeds | None, after: Speeds) -> str:
    """How fast the machine was."""
    return (
        f"Before the prediction some points of the calibration were timed again; their times, over those that it was "
        f"made from, scale the prediction: {before}. The same after the run, for comparison: {after}."
    )


def predict(scenario: Scenario, folder: Path) -> None:
    """Simulates the scenario into that folder; what was written is on disk when this returns."""
    simulate(scenario, out=folder)
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _words(served: Served, predicted_at: datetime, command: str) -> str:
    """What was run, on what, and what the tables do not tell."""
    meta = served.meta
    moved = meta["moved_within_device_tokens"]
    return (
        f"Scenario {served.scenario.name} on {meta['device']} ({meta['threads']} threads, torch {meta['torch']}, load "
        f"{meta['load']:.2f} before), in {meta['dtype']}, calibration {served.scenario.calibration_name}; made by "
        f"`{command}`. The prediction was on disk at {predicted_at:%Y-%m-%d %H:%M:%S} UTC, before the engine was made. "
        f"{meta['iterations']} iterations; {moved} tokens were moved within the device to make room in one piece, "
        "which a simulation does not know of."
    )


def _report(folder: Path, table: pd.DataFrame, served: Served, words: str) -> list[Path]:
    sections = served_sections(table, words)
    title = f"{served.scenario.name}: prediction and engine"
    contents = {
        "schema": "ctxsim.engine-check/1", "scenario": served.scenario.name, "scenario_sha256": served.scenario.sha256,
        "words": words, "engine": dict(served.meta), "quantities": table.to_dict("records"),
    }  # fmt: skip
    texts = {
        "engine.md": markdown(title, sections),
        "engine.html": html(title, sections),
        "engine.json": json.dumps(contents, indent=1) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]

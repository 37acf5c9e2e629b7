"""Results on disk: tables as Parquet, summary as JSON, the resolved scenario as YAML; every file whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ctxsim
from ctxsim.api.jsonable import dumps
from ctxsim.api.parquet import SavedTable, unreadable, write_table
from ctxsim.api.results import SimulationResult
from ctxsim.errors import Fault, SpecError

SUMMARY = "summary.json"
SCENARIO = "scenario.yaml"
TABLES = ("requests", "sessions", "runs", "transfers", "gaps")
SCHEMA = "ctxsim.simulate/1"


def save(result: SimulationResult, folder: str | Path) -> Path:
    """Writes the result into the folder, which is made where there is none; raises SpecError where that fails.

    Files are first written under temporary names and then moved, the summary last: what bears a final name is whole.
    """
    target = prepare_folder(folder)
    writers: dict[str, Callable[[Path], object]] = {
        f"{name}.parquet": partial(write_table, name, rows, result.scenario_sha256)
        for name, rows in result.tables.items()
    }
    writers[SCENARIO] = lambda path: path.write_text(result.scenario_yaml, encoding="utf-8")
    writers[SUMMARY] = lambda path: path.write_text(dumps(_summary(result)), encoding="utf-8")
    try:
        _write_whole(target, writers)
    except OSError as error:
        raise _not_a_folder(target, f"one that cannot be written to ({error.strerror})") from None
    return target


def prepare_folder(folder: str | Path, empty: bool = False) -> Path:
    """The folder, made where there is none; raises SpecError where something else stands there, or in it."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise _not_a_folder(target, "a file of that name")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_a_folder(target, f"a place where none can be made ({error.strerror})") from None
    if empty and (found := sorted(path.name for path in target.iterdir())):
        raise _not_a_folder(target, f"one that has {found[0]} in it, where replications need an empty one")
    return target


def load_result(folder: str | Path) -> SimulationResult:
    """The result that was saved in the folder; raises SpecError where a file is missing or is not one of ours.

    Tables are read when they are asked for. The means of replications have none.
    """
    source = Path(folder)
    summary = _read_summary(source / SUMMARY)
    names = () if "replications" in summary["result"] else TABLES
    return SimulationResult(
        summary=summary["result"],
        warnings=tuple(summary["warnings"]),
        scenario_sha256=summary["scenario_sha256"],
        scenario_yaml=_read_text(source / SCENARIO),
        tables={name: SavedTable.of(source / f"{name}.parquet") for name in names},
    )


def _summary(result: SimulationResult) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": ctxsim.__version__,
        "scenario_sha256": result.scenario_sha256,
        "warnings": list(result.warnings),
        "result": result.summary,
    }


def _write_whole(folder: Path, writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Every file under a temporary name, then all moved in order; nothing is left behind where one fails."""
    temporary = {name: folder / f".{name}.{os.getpid()}" for name in writers}
    try:
        for name, write in writers.items():
            write(temporary[name])
        for name, path in temporary.items():
            os.replace(path, folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise unreadable(path, "none of that name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, str(error)) from None


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(_read_text(path))
    except ValueError:
        raise unreadable(path, "no JSON text") from None
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise unreadable(path, f"no summary of {SCHEMA}")
    return summary


def _not_a_folder(path: Path, found: str) -> SpecError:
    message = f"expected a folder for results, found {found}; name another one"
    return SpecError(Fault(str(path), None, None, "", message))

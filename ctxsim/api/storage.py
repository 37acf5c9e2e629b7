"""Results on disk: tables as Parquet, summary as JSON, the resolved scenario as YAML; every file whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctxsim
from ctxsim.api.jsonable import dumps
from ctxsim.api.results import SimulationResult
from ctxsim.errors import Fault, SpecError
from ctxsim.records import REQUEST_COLUMNS, SESSION_COLUMNS, Column, Table, run_columns

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY = "summary.json"
SCENARIO = "scenario.yaml"
TABLES = ("requests", "sessions", "runs")
SCHEMA = "ctxsim.simulate/1"


def save(result: SimulationResult, folder: str | Path) -> Path:
    """Writes the result into the folder, which is made where there is none; raises SpecError where that fails.

    Files are first written under temporary names and then moved, the summary last: what bears a final name is whole.
    """
    target = prepare_folder(folder)
    writers: dict[str, Callable[[Path], object]] = {
        f"{name}.parquet": partial(_write_table, name, result) for name in TABLES
    }
    writers[SCENARIO] = lambda path: path.write_text(result.scenario_yaml, encoding="utf-8")
    writers[SUMMARY] = lambda path: path.write_text(dumps(_summary(result)), encoding="utf-8")
    try:
        _write_whole(target, writers)
    except OSError as error:
        raise _not_a_folder(target, f"one that cannot be written to ({error.strerror})") from None
    return target


def prepare_folder(folder: str | Path) -> Path:
    """The folder, made where there is none; raises SpecError where something else stands there."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise _not_a_folder(target, "a file of that name")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_a_folder(target, f"a place where none can be made ({error.strerror})") from None
    return target


def load_result(folder: str | Path) -> SimulationResult:
    """The result that was saved in the folder; raises SpecError where a file is missing or is not one of ours."""
    source = Path(folder)
    summary = _read_summary(source / SUMMARY)
    return SimulationResult(
        summary=summary["result"],
        warnings=tuple(summary["warnings"]),
        scenario_sha256=summary["scenario_sha256"],
        scenario_yaml=_read_text(source / SCENARIO),
        tables={name: _read_table(source / f"{name}.parquet") for name in TABLES},
    )


def columns_of(name: str, table: Table) -> tuple[Column, ...]:
    """The columns of one of the tables, with their meanings."""
    if name == "runs":
        return run_columns(sum(column.startswith("pairs_growth_") for column in table.columns))
    return REQUEST_COLUMNS if name == "requests" else SESSION_COLUMNS


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


def _write_table(name: str, result: SimulationResult, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(arrow_table(name, result.tables[name], result.scenario_sha256), path)


def arrow_table(name: str, table: Table, scenario_sha256: str) -> pa.Table:
    """The table in Arrow: each field's metadata has its meaning, the schema's the version and digest; NaN is null."""
    import pyarrow as pa

    columns = columns_of(name, table)
    schema = pa.schema(
        [pa.field(c.name, pa.from_numpy_dtype(c.dtype), metadata={"meaning": c.meaning}) for c in columns],
        metadata={
            "ctxsim.schema": f"ctxsim.{name}/1",
            "ctxsim.version": ctxsim.__version__,
            "ctxsim.scenario_sha256": scenario_sha256,
            "ctxsim.meanings": json.dumps({c.name: c.meaning for c in columns}),
        },
    )
    return pa.table([pa.array(table[c.name], from_pandas=True) for c in columns], schema=schema)


def _read_table(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(path)
    except FileNotFoundError:
        raise _unreadable(path, "none of that name") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, str(error)) from None
    return Table({name: read[name].to_numpy() for name in read.column_names})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _unreadable(path, "none of that name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from None


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(_read_text(path))
    except ValueError:
        raise _unreadable(path, "no JSON text") from None
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise _unreadable(path, f"no summary of {SCHEMA}")
    return summary


def _not_a_folder(path: Path, found: str) -> SpecError:
    message = f"expected a folder for results, found {found}; name another one"
    return SpecError(Fault(str(path), None, None, "", message))


def _unreadable(path: Path, found: str) -> SpecError:
    message = f"expected a file of a saved simulation, found {found}; name the folder that --out wrote"
    return SpecError(Fault(str(path), None, None, "", message))

"""What the torch engine leaves of a served scenario, and how it is saved: the tables of a simulation, measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario

META = "engine.json"

WriteTable = Callable[[str, Records, str, Path], None]
"""Writes a table of that name, of the scenario with that digest, to a file: api.parquet.write_table."""


@dataclass(frozen=True)
class Served:
    """A scenario that was served.

    tables: requests, transfers and runs (one row an iteration), with the columns in ctxsim.records. meta: the device,
    the software, the dtype, and what the tables do not tell.
    """

    scenario: Scenario
    tables: Mapping[str, Records]
    meta: Mapping[str, Any]

    def save(self, folder: Path, write_table: WriteTable) -> None:
        """Writes the tables as Parquet, the resolved scenario, and the meta data last; each file appears whole."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            _write_whole(folder / f"{name}.parquet", partial(write_table, name, rows, self.scenario.sha256))
        _write_whole(folder / "scenario.yaml", partial(_write_text, self.scenario.to_yaml()))
        _write_whole(folder / META, partial(_write_text, json.dumps(dict(self.meta), indent=2)))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    write(beside)
    os.replace(beside, path)


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")

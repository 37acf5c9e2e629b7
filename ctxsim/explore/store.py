"""Outcomes on disk, one Parquet part each under the digest of all that it follows from.

What was worked out once is found again, by whatever sweep asks: after an interrupt, or when points overlap.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.outcomes import Outcome, columns_of

PARTS = "parts"
METADATA_KEY = b"ctxsim"


class Store:
    """A folder of outcomes; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is None:
            return
        try:
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"expected a folder for results, found a place where none can be made ({error.strerror})"
            raise SpecError(Fault(str(folder), None, None, "", f"{message}; name another one")) from None

    def find(self, key: str) -> Outcome | None:
        """The outcome of that key, if it is there and whole."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import read_table

        try:
            (row,) = read_table(path).to_pylist()
        except (ArrowInvalid, OSError, ValueError):
            return None  # worked out again, and then whole
        return Outcome(row.pop("status"), row.pop("reason"), row)

    def put(self, key: str, outcome: Outcome) -> None:
        """Writes the outcome in one step."""
        path = self._path(key)
        if path is not None:
            write_rows([{"status": outcome.status, "reason": outcome.reason, **outcome.row}], path, {"key": key})

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / PARTS / f"{key}.parquet"


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path, about: Mapping[str, Any]) -> None:
    """Writes rows as a Parquet file in one step, the same bytes for the same rows; what a row lacks is null."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = {name: pa.array([row.get(name) for row in rows]) for name in columns_of(rows)}
    metadata = {METADATA_KEY: json.dumps(dict(about), sort_keys=True).encode()}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    write_table(pa.table(columns).replace_schema_metadata(metadata), beside)
    os.replace(beside, path)

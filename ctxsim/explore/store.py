"""Outcomes on disk, one Parquet part each under the digest of all that it follows from.

What was worked out once is found again, by whatever sweep asks: after an interrupt, or when points overlap.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.outcomes import Outcome, columns_of

PARTS = "parts"
METADATA_KEY = b"ctxsim"
KEPT = ("ok", "infeasible")


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
        """The outcome of that key, if it is there and whole; any other file of that name is written anew."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(path) as part:  # half the time of read_table, which looks for many
                (row,) = part.read(use_threads=False).to_pylist()
            return Outcome(row.pop("status"), row.pop("reason"), row)
        except (ArrowInvalid, OSError, ValueError, KeyError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Writes the outcome in one step; one that failed is not kept, as the next time may end otherwise."""
        path = self._path(key)
        if path is not None and outcome.status in KEPT:
            row = {"status": outcome.status, "reason": outcome.reason, **outcome.row}
            write_rows([row], path, {"key": key}, plain=True)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / PARTS / f"{key}.parquet"


def write_rows(
    rows: Sequence[Mapping[str, Any]], path: Path, about: Mapping[str, Any], plain: bool = False
) -> None:  # fmt: skip
    """Writes rows as a Parquet file in one step, the same bytes for the same rows; what a row lacks is null.

    plain: without compression, dictionaries and statistics, which cost more than a single row is worth.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = {name: pa.array([row.get(name) for row in rows]) for name in columns_of(rows)}
    metadata = {METADATA_KEY: json.dumps(dict(about), sort_keys=True).encode()}
    with whole_file(path) as beside:
        table = pa.table(columns).replace_schema_metadata(metadata)
        packing = "none" if plain else "snappy"
        write_table(table, beside, compression=packing, use_dictionary=not plain, write_statistics=not plain)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside the path, moved there when the block ends well; raises SpecError where nothing can be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        message = f"expected a place that can be written to, found one that cannot ({error.strerror}); name another one"
        raise SpecError(Fault(str(path), None, None, "", message)) from None
    finally:
        beside.unlink(missing_ok=True)

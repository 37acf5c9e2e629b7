"""Tables as Parquet: written and read part by part, so that memory does not grow with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ctxsim
from ctxsim.errors import Fault, SpecError
from ctxsim.records import (
    GAP_COLUMNS,
    MONEY_COLUMNS,
    REQUEST_COLUMNS,
    SESSION_COLUMNS,
    TRANSFER_COLUMNS,
    Column,
    Records,
    Table,
    run_columns,
    simulated_run_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 65_536
"""Rows of a row group, at most."""

COLUMNS = {
    "requests": REQUEST_COLUMNS,
    "sessions": SESSION_COLUMNS,
    "transfers": TRANSFER_COLUMNS,
    "gaps": GAP_COLUMNS,
}


def columns_of(name: str, names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of one of the tables, with their meanings; ``names``: what it has: some are of simulations alone."""
    if name in COLUMNS:
        return COLUMNS[name] + (MONEY_COLUMNS if "cost_usd" in names else ())
    of_runs = simulated_run_columns if "slowed_s" in names else run_columns
    return of_runs(sum(n.startswith("pairs_growth_") for n in names))


def write_table(name: str, records: Records, scenario_sha256: str, path: Path) -> None:
    """Writes the table: each field's metadata has its meaning, the schema's the version and digest; NaN is null."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    columns = columns_of(name, records.names)
    schema = _schema(name, columns, scenario_sha256)
    # Times are hardly ever equal: looking them up in a dictionary only takes time.
    with ParquetWriter(path, schema, use_dictionary=[c.name for c in columns if c.dtype == "int64"]) as writer:
        for part in records.parts():
            arrays = [pa.array(part[c.name], from_pandas=True) for c in columns]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=PART_ROWS)


@dataclass(frozen=True)
class SavedTable:
    """A table in a Parquet file, of which only what is asked for is read."""

    path: Path
    names: tuple[str, ...]
    rows: int

    @classmethod
    def of(cls, path: Path) -> SavedTable:
        """The table in the file; raises SpecError where it is missing or is no Parquet file."""
        import pyarrow as pa
        from pyarrow.parquet import read_metadata

        try:
            found = read_metadata(path)
        except FileNotFoundError:
            raise unreadable(path, "none of that name") from None
        except (OSError, pa.ArrowInvalid) as error:
            raise unreadable(path, str(error)) from None
        return cls(path, tuple(found.schema.names), found.num_rows)

    def __len__(self) -> int:
        """Rows."""
        return self.rows

    def __getitem__(self, name: str) -> np.ndarray:
        """One column of all rows."""
        return self.column(name)

    def parts(self) -> Iterator[Table]:
        """All rows in order, a row group at a time."""
        from pyarrow.parquet import ParquetFile

        with ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                yield _table(file.read_row_group(group))

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; only that column is read."""
        from pyarrow.parquet import read_table

        return _table(read_table(self.path, columns=[name]))[name]

    def table(self) -> Table:
        """All rows in memory."""
        from pyarrow.parquet import read_table

        return _table(read_table(self.path))


def unreadable(path: Path, found: str) -> SpecError:
    """The fault of a file that should be one of a saved simulation."""
    message = f"expected a file of a saved simulation, found {found}; name the folder that --out wrote"
    return SpecError(Fault(str(path), None, None, "", message))


def _schema(name: str, columns: Sequence[Column], scenario_sha256: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [pa.field(c.name, pa.from_numpy_dtype(c.dtype), metadata={"meaning": c.meaning}) for c in columns],
        metadata={
            "ctxsim.schema": f"ctxsim.{name}/1",
            "ctxsim.version": ctxsim.__version__,
            "ctxsim.scenario_sha256": scenario_sha256,
            "ctxsim.meanings": json.dumps({c.name: c.meaning for c in columns}),
        },
    )


def _table(read: pa.Table) -> Table:
    return Table({name: read[name].to_numpy() for name in read.column_names})

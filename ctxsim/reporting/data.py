"""The tables of a report as CSV and Parquet: raw values in the units that column names end in."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.reporting.blocks import Sheet, sort_key

if TYPE_CHECKING:
    import pyarrow as pa


def csv_text(sheet: Sheet) -> str:
    """A line a row, numbers in full, nothing where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in sheet.columns])
    writer.writerows([sort_key(value) for value in row] for row in sheet.rows)
    return stream.getvalue()


def write_parquet(sheet: Sheet, path: Path) -> None:
    """The same as Parquet; what readers call a column is in its metadata."""
    from pyarrow.parquet import write_table

    write_table(_table(sheet), path)


def _table(sheet: Sheet) -> pa.Table:
    import pyarrow as pa

    columns = list(zip(*sheet.rows, strict=True)) or [() for _ in sheet.columns]
    arrays = [_array(list(values), column.words) for column, values in zip(sheet.columns, columns, strict=True)]
    fields = [
        pa.field(column.name, array.type, metadata={"head": column.head})
        for column, array in zip(sheet.columns, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields, metadata={"title": sheet.title}))


def _array(values: list[Any], words: bool) -> pa.Array:
    import pyarrow as pa

    if words:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    whole = all(isinstance(value, int) for value in values if value is not None)
    return pa.array(values, pa.int64() if whole and values else pa.float64())

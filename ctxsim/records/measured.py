"""The table of measurements: its columns, and Parquet files that carry the device and the command as metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.errors import Fault, SpecError
from ctxsim.records.columns import Column

if TYPE_CHECKING:
    import pandas as pd

METADATA_KEY = b"ctxsim"
"""The key of the schema's metadata under which the file's own lies, as JSON."""

KEY_COLUMNS = (
    Column("family", "object", "kind of kernel or copy"),
    Column("dtype", "object", "number format of the operands: bf16, fp16, fp32, fp8"),
    Column("kv_dtype", "object", "number format of keys and values"),
    Column("m", "int64", "rows of the product (tokens)"),
    Column("n", "int64", "columns of the product (outputs)"),
    Column("k", "int64", "length of the sums (inputs)"),
    Column("batch", "int64", "sequences"),
    Column("heads", "int64", "query heads"),
    Column("kv_heads", "int64", "key and value heads"),
    Column("head_dim", "int64", "values of a head"),
    Column("new_tokens", "int64", "tokens of each sequence that are computed"),
    Column("past_tokens", "int64", "tokens of each sequence before them, whose keys and values are there"),
    Column("window_tokens", "int64", "sliding window; 0 for full attention"),
    Column("moved_bytes", "int64", "bytes copied (each way), reduced (on each accelerator), or read and written"),
    Column("block_bytes", "int64", "size of one contiguous piece"),
    Column("descriptors", "int64", "contiguous pieces, or launches"),
    Column("direction", "object", "device, to_host, to_device or both"),
    Column("pinned", "bool", "whether the host's memory is page-locked"),
    Column("beside", "object", "what runs on the device meanwhile: nothing or gemm (a CPU: passes of a model)"),
    Column("accelerators", "int64", "devices that take part in a collective"),
    Column("variant", "object", "which small kernel: norm, activation, rotary, kv_store, embedding or sampling"),
)

RESULT_COLUMNS = (
    Column("flop", "float64", "FLOP of the matrix products by formula, visible query-key pairs only"),
    Column("seconds", "float64", "median time of one call"),
    Column("iqr_s", "float64", "interquartile range of the runs, a call"),
    Column("n_runs", "int64", "runs that were timed"),
)

COLUMNS = KEY_COLUMNS + RESULT_COLUMNS

BARE_NORM = "bare_norm"
"""The small kernel of files without ``variant``: a norm without a residual sum."""


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a frame with every column in its order and type; an empty one has them too."""
    import pandas as pd

    return pd.DataFrame({c.name: pd.Series([r[c.name] for r in rows], dtype=c.dtype) for c in COLUMNS})


def write(frame: pd.DataFrame, meta: Mapping[str, Any], path: Path) -> None:
    """Writes the file in one step: whoever reads it sees the old one or the new one, whole."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    table = pa.Table.from_arrays([pa.array(frame[c.name], type=_type(c)) for c in COLUMNS], schema=_schema(meta))
    beside = path.with_name(f".{path.name}.partial")
    write_table(table, beside)
    os.replace(beside, path)


def read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and the metadata of a file; raises SpecError where it is none of ours or lacks columns."""
    import pyarrow as pa
    from pyarrow.parquet import read_table

    try:
        table = read_table(path)
    except FileNotFoundError:
        raise _unusable(path, "none of that name") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise _unusable(path, str(error)) from None
    metadata = (table.schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        raise _unusable(path, "a Parquet file without them")
    if "variant" not in table.column_names:
        families = table.column("family").to_pylist() if "family" in table.column_names else []
        small = [BARE_NORM if family == "elementwise" else "" for family in families]
        table = table.append_column("variant", pa.array(small, pa.string()))
    missing = [c.name for c in COLUMNS if c.name not in table.column_names]
    if missing:
        raise _unusable(path, f"a file without {', '.join(missing)}")
    return table.select([c.name for c in COLUMNS]).to_pandas(), dict(json.loads(metadata))


def _type(column: Column) -> Any:
    import pyarrow as pa

    return pa.string() if column.dtype == "object" else pa.from_numpy_dtype(column.dtype)


def _schema(meta: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    fields = [pa.field(c.name, _type(c), metadata={"meaning": c.meaning}) for c in COLUMNS]
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(dict(meta), sort_keys=True)})


def _unusable(path: Path, found: str) -> SpecError:
    message = f"expected measurements, found {found}; name a file that ctxsim measure wrote"
    return SpecError(Fault(str(path), None, None, "", message))

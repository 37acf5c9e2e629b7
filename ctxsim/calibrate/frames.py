"""The one shape of frame that fits read, whatever was measured by whom: a row is an operation, its sizes and seconds.

Columns are those of own measurement files (SI units; 0 or "" where one does not apply), with ``variant`` (what has a
fit of its own), ``context_tokens`` (past and new together) and, for modules, those of MODULE_COLUMNS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ctxsim.calibrate.robust import Array
from ctxsim.errors import Fault, SpecError

SIZE_COLUMNS = (
    "m", "n", "k", "batch", "heads", "kv_heads", "head_dim", "new_tokens", "past_tokens", "window_tokens",
    "moved_bytes", "descriptors", "accelerators",
)  # fmt: skip
"""Sizes of own measurement files."""

MODULE_COLUMNS = (
    "latent_dim", "rope_dim", "key_dim", "value_dim", "top_k", "index_heads", "index_dim", "projection_weights",
    "tokens", "hidden", "intermediate", "experts", "local_experts", "sequences", "beside_s",
)  # fmt: skip
"""Sizes that only tables of whole modules, and of hosts, have."""

WORD_COLUMNS = ("family", "variant", "dtype", "kv_dtype")


def framed(rows: pd.DataFrame, **constant: Any) -> pd.DataFrame:
    """The rows with every column, ``constant`` ones set for all; repeats of one operation become their median.

    Raises SpecError where there are no rows, or seconds that are no time.
    """
    rows = rows.copy()
    for name, value in constant.items():
        rows[name] = value
    if rows.empty or not (rows["seconds"] > 0).all():
        raise _unusable("rows with seconds above zero", "none" if rows.empty else "a row without")
    for name in (*SIZE_COLUMNS, *MODULE_COLUMNS):
        rows[name] = rows[name].fillna(0.0).astype(float) if name in rows else 0.0
    for name in WORD_COLUMNS:
        rows[name] = rows.get(name, "")
    rows["context_tokens"] = rows["past_tokens"] + rows["new_tokens"]
    keys = [*WORD_COLUMNS, *SIZE_COLUMNS, *MODULE_COLUMNS, "context_tokens"]
    medians: pd.DataFrame = rows.groupby(keys, as_index=False, sort=True)[["seconds"]].median()
    return medians


def select(rows: pd.DataFrame, columns: Mapping[str, str], place: str) -> pd.DataFrame:
    """The columns of a table under our names, {theirs: ours}; raises SpecError with those that it lacks."""
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        known = ", ".join(map(str, rows.columns))
        raise _unusable(f"columns {', '.join(missing)} in {place}", f"only {known}")
    return rows[list(columns)].rename(columns=dict(columns))


def of(rows: pd.DataFrame, family: str, variant: str) -> pd.DataFrame:
    """The rows of one family and variant, numbered anew."""
    return rows[(rows["family"] == family) & (rows["variant"] == variant)].reset_index(drop=True)


def sizes(rows: pd.DataFrame, *names: str) -> dict[str, Array]:
    """Columns as arrays by name, as a form takes them."""
    return {name: rows[name].to_numpy(float) for name in names}


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several frames as one."""
    return pd.concat(parts, ignore_index=True)


def _unusable(expected: str, found: str) -> SpecError:
    return SpecError(Fault("", None, None, "", f"expected {expected}, found {found}; give a table that has them"))

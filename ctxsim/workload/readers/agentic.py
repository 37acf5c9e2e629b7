"""Agentic coding sessions: Parquet, one row a request, times in seconds from the start of its conversation.

A session is one (trace, agent). Read are ``t_s``, ``input_tokens``, ``output_tokens`` and, where they are there,
``think_time_s`` (from the answer before to this request; may be null) and ``prefix_blocks_shared_with_prev`` (blocks of
64 tokens). Format: converted from callanjfox/kv-cache-tester, whose build_traces_from_neon.py writes ``think_time``
as the request's time minus the end of the response before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctxsim.spec.lengths import MAX_TOKENS
from ctxsim.workload.blocks import Ints
from ctxsim.workload.readers.agents import Placed, Sessions, known_think_times, number_sessions, place_agents
from ctxsim.workload.readers.faults import MAX_TIME, TraceFaults, refuse, time_fault, token_fault
from ctxsim.workload.readers.files import PARQUET_MAGIC, read_bytes, read_text
from ctxsim.workload.readers.formats import FORMAT_KEYS, check_format, keys_seen
from ctxsim.workload.traces import NO_PARENT, Floats, TraceTable, build_table

BLOCK_TOKENS = 64
"""Tokens of a block of ``prefix_blocks_shared_with_prev``."""

REQUIRED = FORMAT_KEYS["agentic"]
SHARED, THINK = "prefix_blocks_shared_with_prev", "think_time_s"


def read_agentic(path: Path) -> TraceTable:
    """The requests by time, equal times in file order: all conversations begin together, at 0.

    Raises SpecError with all bad rows (counted from 0).
    """
    columns = _columns(path)
    faults = TraceFaults(path)
    t_s = _times(columns["t_s"], "t_s", faults)
    prompt_tokens = _tokens(columns["input_tokens"], "input_tokens", 1, faults)
    output_tokens = _tokens(columns["output_tokens"], "output_tokens", 0, faults)
    sessions = _sessions(columns, faults)
    shared = columns.get(SHARED)
    blocks = None if shared is None else _tokens(shared, SHARED, 0, faults)
    think = columns.get(THINK)
    written_s = np.full(len(t_s), np.nan) if think is None else _times(think, THINK, faults, may_be_null=True)
    faults.raise_if_any()
    think_time_s = known_think_times(sessions, t_s, written_s)
    placed = place_agents(sessions, t_s, think_time_s)
    return build_table(
        source=f"agentic:{path.name}",
        arrival_s=placed.arrival_s,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        session_id=sessions.of_row,
        think_time_s=think_time_s,
        shared_prefix_tokens=None if blocks is None else np.minimum(blocks * BLOCK_TOKENS, prompt_tokens),
        begins_after=placed.begins_after,
        release_delay_s=placed.release_delay_s,
        warnings=_agent_warning(sessions, placed),
    )


def _agent_warning(sessions: Sessions, placed: Placed) -> tuple[str, ...]:
    """How many sub-agents were moved from their own clock to that of their conversation."""
    moved = len(np.unique(sessions.of_row[placed.begins_after != NO_PARENT]))
    if not moved:
        return ()
    return (f"{moved:,} sub-agents count from their own start: each begins with the answer it stands behind",)


def _columns(path: Path) -> dict[str, Any]:
    """The columns that are read, as pyarrow arrays by name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not read_bytes(path).startswith(PARQUET_MAGIC):
        check_format(path, "agentic", keys_seen(read_text(path)))
        refuse(path, "expected a Parquet file, found text; write the table with DataFrame.to_parquet")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        refuse(path, f"expected a whole Parquet file, found one that cannot be read ({error}); fetch it again")
    check_format(path, "agentic", table.column_names)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        refuse(path, f"expected the columns {', '.join(REQUIRED)}, found {found}; add {', '.join(missing)}")
    if table.num_rows == 0:
        refuse(path, "expected a trace with at least one request, found a table without rows")
    wanted = [name for name in (*REQUIRED, SHARED, THINK) if name in table.column_names]
    return {name: table.column(name).combine_chunks() for name in wanted}


def _tokens(column: Any, name: str, least: int, faults: TraceFaults) -> Ints:
    """The column as whole numbers; a fault is added for every value that is no number of tokens."""
    if column.type not in _whole_types() or column.null_count:
        _explain(column, name, range(len(column)), partial(token_fault, least=least), faults)
        return np.zeros(len(column), np.int64)
    values = column.to_numpy()
    bad = np.flatnonzero((values < least) | (values > MAX_TOKENS))
    _explain(column, name, bad.tolist(), partial(token_fault, least=least), faults)
    tokens: Ints = values.astype(np.int64)
    return tokens


def _times(column: Any, name: str, faults: TraceFaults, *, may_be_null: bool = False) -> Floats:
    """The column as seconds, NaN where it may be null and is; a fault is added for every value that is no time."""
    check = partial(time_fault, unit="seconds")
    if column.type not in _number_types():
        _explain(column, name, range(len(column)), check, faults)
        return np.zeros(len(column))
    values: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    allowed = (values >= 0) & (values <= MAX_TIME) | (np.isnan(values) & may_be_null)
    _explain(column, name, np.flatnonzero(~allowed).tolist(), check, faults)
    return values


def _sessions(columns: dict[str, Any], faults: TraceFaults) -> Sessions:
    """Each row's (trace, agent), numbered in order of first appearance of the two names."""
    traces, agents = (_names(columns[name], name, faults) for name in ("trace", "agent"))
    return number_sessions(traces[0], *agents)


def _names(column: Any, name: str, faults: TraceFaults) -> tuple[Ints, list[str]]:
    """The column as numbers and the texts they stand for, in order of first appearance; a fault for every null."""
    nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    _explain(column, name, nulls.tolist(), lambda _: "expected a name, found null; remove the row", faults)
    encoded = column.dictionary_encode()
    numbers: Ints = encoded.indices.fill_null(0).to_numpy().astype(np.int64)
    return numbers, [str(value) for value in encoded.dictionary.to_pylist()] or [""]


def _explain(
    column: Any, name: str, rows: Iterable[int], check: Callable[[Any], str | None], faults: TraceFaults
) -> None:
    """Adds the faults of those of the given rows that ``check`` words one for."""
    for row in rows:
        message = check(column[row].as_py())
        if message is not None:
            faults.add(None, f"row {row}: {name}", message)


def _whole_types() -> frozenset[Any]:
    import pyarrow as pa

    return frozenset((pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()))


def _number_types() -> frozenset[Any]:
    import pyarrow as pa

    return _whole_types() | {pa.float32(), pa.float64()}

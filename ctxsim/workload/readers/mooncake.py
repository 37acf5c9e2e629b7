"""Mooncake traces: JSON lines of ``timestamp`` (ms), ``input_length``, ``output_length`` and ``hash_ids``.

One hash stands for 512 prompt tokens; equal ids mean an equal prefix up to that block. Format:
kvcache-ai/Mooncake, FAST25-release.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ctxsim.spec.lengths import MAX_TOKENS
from ctxsim.workload.blocks import Blocks
from ctxsim.workload.readers.faults import MAX_TIME, TraceFaults, shown, time_fault, token_fault
from ctxsim.workload.readers.files import read_text
from ctxsim.workload.readers.formats import FORMAT_KEYS, check_format, keys_seen, likely_format
from ctxsim.workload.traces import TraceTable, backward_warning, build_table

TICKS_PER_S = 1000
"""The format's timestamps count milliseconds."""

BLOCK_TOKENS = 512
"""Prompt tokens that one hash id stands for."""

KEYS = FORMAT_KEYS["mooncake"]
_HASH_RANGE = np.iinfo(np.int64)

Row = dict[str, Any]


def read_mooncake(path: Path) -> TraceTable:
    """The trace in order of arrival, arrivals as the file counts them (its own zero is kept).

    Raises SpecError with all bad lines. ``hash_ids`` may be missing; other keys are left unread with a warning.
    """
    text = read_text(path)
    rows = _rows(path, text)
    arrival_s = np.array([row["timestamp"] for row in rows], np.float64) / TICKS_PER_S
    return build_table(
        source=f"mooncake:{path.name}",
        arrival_s=arrival_s,
        prompt_tokens=np.array([row["input_length"] for row in rows], np.int64),
        output_tokens=np.array([row["output_length"] for row in rows], np.int64),
        blocks=_blocks(rows),
        warnings=(*backward_warning(arrival_s), *_key_warnings(rows)),
    )


def _rows(path: Path, text: str) -> list[Row]:
    """The lines as checked records; raises SpecError with every fault where a line is no request."""
    keys = keys_seen(text)
    if likely_format(keys) is not None:
        check_format(path, "mooncake", keys)
    faults = TraceFaults(path)
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        row = _parsed(line, number, faults)
        if row is not None:
            if not _is_sound(row):
                _explain(row, number, faults)
            rows.append(row)
    faults.raise_if_any()
    return rows


def _parsed(line: str, number: int, faults: TraceFaults) -> Row | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        message = f"expected a JSON object, found {shown(line.strip())} ({error.msg}); correct or remove the line"
        faults.add(number, "", message, error.colno)
        return None
    except (ValueError, RecursionError):
        faults.add(number, "", f"expected a JSON object, found {shown(line)}; correct or remove the line")
        return None
    if isinstance(row, dict):
        return row
    faults.add(number, "", f"expected a JSON object, found {shown(row)}; write {{...}} with {', '.join(KEYS)}")
    return None


def _is_sound(row: Row) -> bool:
    """Whether the record is a request: one quick test for the many good lines."""
    timestamp, prompt, output = row.get("timestamp"), row.get("input_length"), row.get("output_length")
    hashes = row.get("hash_ids", ())
    return (
        (type(timestamp) is int or type(timestamp) is float)
        and 0 <= timestamp <= MAX_TIME
        and type(prompt) is int
        and 0 < prompt <= MAX_TOKENS
        and type(output) is int
        and 0 <= output <= MAX_TOKENS
        and ("hash_ids" not in row or _are_hashes(hashes, prompt))
    )


def _are_hashes(hashes: object, prompt_tokens: int) -> bool:
    if type(hashes) is not list or len(hashes) > -(-prompt_tokens // BLOCK_TOKENS):
        return False
    return not hashes or (
        set(map(type, hashes)) == {int} and _HASH_RANGE.min <= min(hashes) and max(hashes) <= _HASH_RANGE.max
    )


def _explain(row: Row, number: int, faults: TraceFaults) -> None:
    """Adds what is wrong with a record that ``_is_sound`` refused."""
    for key in KEYS[:3]:
        if key not in row:
            found = ", ".join(row) or "an empty object"
            faults.add(number, key, f"expected this key, found only {shown(found)}; correct or remove the line")
    problems = {
        "timestamp": time_fault(row.get("timestamp"), "milliseconds"),
        "input_length": token_fault(row.get("input_length"), least=1),
        "output_length": token_fault(row.get("output_length"), least=0),
        "hash_ids": _hash_fault(row.get("hash_ids"), row.get("input_length")),
    }
    for key, message in problems.items():
        if key in row and message is not None:
            faults.add(number, key, message)


def _hash_fault(hashes: object, prompt_tokens: object) -> str | None:
    if type(hashes) is not list:
        return f"expected a list of whole numbers, found {shown(hashes)}; leave the key out where there are none"
    if type(prompt_tokens) is not int or prompt_tokens < 1 or _are_hashes(hashes, prompt_tokens):
        return None
    most = -(-prompt_tokens // BLOCK_TOKENS)
    if len(hashes) > most:
        wanted = f"at most {most:,} ids ({prompt_tokens:,} prompt tokens in blocks of {BLOCK_TOKENS})"
        return f"expected {wanted}, found {len(hashes):,}; is the trace's block shorter?"
    return f"expected whole numbers of 64 bits, found {shown(hashes)}; number the blocks"


def _blocks(rows: list[Row]) -> Blocks:
    hashes = [row.get("hash_ids", ()) for row in rows]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(ids) for ids in hashes], out=offsets[1:])
    values = np.fromiter(chain.from_iterable(hashes), np.int64, count=int(offsets[-1]))
    return Blocks(offsets, values, BLOCK_TOKENS if len(values) else 0)


def _key_warnings(rows: list[Row]) -> tuple[str, ...]:
    """What of the lines was left unread, and how many name no blocks."""
    unread = sorted(set().union(*(row.keys() for row in rows)) - set(KEYS))
    without = sum("hash_ids" not in row for row in rows)
    warnings = [f"keys left unread: {', '.join(unread)}"] if unread else []
    if without:
        warnings.append(f"{without:,} of {len(rows):,} requests have no hash_ids: they share no prefix with any other")
    return tuple(warnings)

"""Which trace format a file is written in, from the keys it uses."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from ctxsim.workload.readers.faults import refuse

FORMAT_KEYS: dict[str, tuple[str, ...]] = {
    "mooncake": ("timestamp", "input_length", "output_length", "hash_ids"),
    "azure": ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "agentic": ("trace", "agent", "t_s", "input_tokens", "output_tokens"),
    "vllm-bench": ("input_lens", "output_lens", "start_times", "num_prompts", "completed", "request_throughput"),
}
"""Keys that tell the formats that are read apart."""

FOREIGN_KEYS: dict[str, tuple[str, ...]] = {
    # Same keys as Mooncake, but timestamps in seconds and 16-token blocks: read as Mooncake it would be wrong.
    "Bailian": ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "turn", "hash_ids"),
    "BurstGPT": ("Timestamp", "Session ID", "Elapsed time", "Request tokens", "Response tokens", "Log Type"),
    "WEKA": ("hash_id_scope", "tool_tokens", "system_tokens", "requests", "block_size", "models"),
}
"""Keys of formats that are known but not read."""

LISTED_KEYS = 5
LISTED_CHARACTERS = 24
"""How many keys a message lists, and how much of each."""

LEAST_MATCHES = 2
"""Keys that must agree before a format is suggested: one may be chance."""


def likely_format(keys: Collection[str]) -> str | None:
    """The format, read or foreign, with most of its keys among ``keys``; None where none has two."""
    matches = {name: len(set(known) & set(keys)) for name, known in (FORMAT_KEYS | FOREIGN_KEYS).items()}
    best = max(matches, key=lambda name: matches[name])
    return best if matches[best] >= LEAST_MATCHES else None


def keys_seen(text: str) -> tuple[str, ...]:
    """The keys of the first record: of the JSON object on the first line or in the whole file, or the CSV header."""
    first = next(line for line in text.split("\n") if line.strip()).strip()
    if first.startswith("{"):
        return _object_keys(first) or _object_keys(text)
    return tuple(cell.strip() for cell in first.split(",")) if "," in first else ()


def _object_keys(text: str) -> tuple[str, ...]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(record) if isinstance(record, dict) else ()


def check_format(path: Path, wanted: str, keys: Collection[str]) -> None:
    """Raises SpecError where the keys speak for another format than ``wanted``, or for none at all."""
    found = likely_format(keys)
    if found == wanted or (found is None and set(FORMAT_KEYS[wanted]) & set(keys)):
        return
    message = f"expected the {wanted} format ({_few(FORMAT_KEYS[wanted])}), found {_few(keys) or 'no keys'}"
    refuse(path, message + _would_do(found))


def _few(keys: Iterable[str]) -> str:
    """The first keys of a list, each cut to a readable length."""
    listed = [key[:LISTED_CHARACTERS] for key in keys]
    more = ["..."] if len(listed) > LISTED_KEYS else []
    return ", ".join(listed[:LISTED_KEYS] + more)


def _would_do(found: str | None) -> str:
    if found in FORMAT_KEYS:
        return f'; did you mean format "{found}"?'
    if found in FOREIGN_KEYS:
        return f"; this looks like the {found} format, which is not read: convert it first"
    return f"; formats that are read: {', '.join(FORMAT_KEYS)}"

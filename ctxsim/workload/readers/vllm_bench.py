"""Results of ``vllm bench serve --save-result --save-detailed``: one JSON object with a list for each quantity.

``input_lens``, ``output_lens`` (tokens) and ``start_times`` (s) have one entry a request; ``errors`` holds a text
for each request that failed.
"""

from __future__ import annotations

import json
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from ctxsim.workload.readers.faults import TraceFaults, refuse, shown, time_fault, token_fault
from ctxsim.workload.readers.files import read_text
from ctxsim.workload.readers.formats import check_format, keys_seen
from ctxsim.workload.traces import TraceTable, backward_warning, build_table

COLUMNS = ("input_lens", "output_lens", "start_times")


def read_vllm_bench(path: Path) -> TraceTable:
    """The requests that were answered, in order of their start, in seconds from the first of them.

    Raises SpecError with all bad entries. Requests that failed are left out with a warning.
    """
    record = _record(path)
    columns = _columns(path, record)
    kept, warnings = _answered(path, record, len(columns["start_times"]))
    prompts, outputs, starts = (list(compress(columns[name], kept)) for name in COLUMNS)
    _check(path, columns, kept)
    start_s = np.array(starts, np.float64)
    return build_table(
        source=f"vllm-bench:{path.name}",
        arrival_s=start_s - start_s.min(),
        prompt_tokens=np.array(prompts, np.int64),
        output_tokens=np.array(outputs, np.int64),
        warnings=(*backward_warning(start_s), *warnings),
    )


def _record(path: Path) -> dict[str, Any]:
    """The file's one JSON object."""
    text = read_text(path)
    check_format(path, "vllm-bench", keys_seen(text))
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"expected one JSON object, found {error.msg} at line {error.lineno} column {error.colno}"
        refuse(path, f"{message}; keep one result a file (no --append-result)")
    except (ValueError, RecursionError) as error:
        refuse(path, f"expected one JSON object, found text that is none ({error})")
    return dict(record)


def _columns(path: Path, record: dict[str, Any]) -> dict[str, list[Any]]:
    """The three lists, of one length and not empty."""
    missing = [name for name in COLUMNS if name not in record]
    if missing:
        wanted = f"expected the keys {', '.join(COLUMNS)}, found no {', '.join(missing)}"
        refuse(path, f"{wanted}; write the result with --save-result --save-detailed")
    columns = {name: record[name] for name in COLUMNS}
    for name, values in columns.items():
        if not isinstance(values, list):
            refuse(path, f"expected a list in {name}, found {shown(values)}; write the result with --save-detailed")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        refuse(path, f"expected lists of one length, found {found}; write the result again")
    if not lengths["start_times"]:
        refuse(path, "expected a trace with at least one request, found empty lists")
    return columns


def _answered(path: Path, record: dict[str, Any], rows: int) -> tuple[list[bool], tuple[str, ...]]:
    """Which requests did not fail, and a warning that counts the others."""
    errors = record.get("errors")
    if not isinstance(errors, list) or len(errors) != rows:
        return [True] * rows, ()
    kept = [not error for error in errors]
    failed = rows - sum(kept)
    if failed == rows:
        refuse(path, f"expected at least one answered request, found {rows:,} failed ones; see the list errors")
    return kept, (f"{failed:,} of {rows:,} requests failed and were left out",) if failed else ()


def _check(path: Path, columns: dict[str, list[Any]], kept: list[bool]) -> None:
    """Raises SpecError with every kept entry that is no length or no time."""
    faults = TraceFaults(path)
    rows = compress(zip(range(len(kept)), *columns.values(), strict=True), kept)
    for row, prompt, output, start in rows:
        problems = (token_fault(prompt, 1), token_fault(output, 0), time_fault(start, "seconds"))
        for name, message in zip(COLUMNS, problems, strict=True):
            if message is not None:
                faults.add(None, f"{name}[{row}]", message)
    faults.raise_if_any()

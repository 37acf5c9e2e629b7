"""Azure LLM inference traces: CSV of ``TIMESTAMP`` (wall clock), ``ContextTokens`` and ``GeneratedTokens``.

Format: AzurePublicDataset, 2023 (seven fractional digits) and 2024 (with an offset of +00:00).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ctxsim.workload.readers.faults import TraceFaults, refuse, shown, token_fault
from ctxsim.workload.readers.files import read_text
from ctxsim.workload.readers.formats import FORMAT_KEYS, check_format, keys_seen
from ctxsim.workload.traces import Floats, TraceTable, backward_warning, build_table

COLUMNS = FORMAT_KEYS["azure"]

# Years that fit into 64 bits of nanoseconds; numpy wraps around silently beyond them.
_WALL_CLOCK = re.compile(r"((?:19|20|21)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|\+00:00)?", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)

Row = tuple[np.datetime64, int, int]


def read_azure(path: Path) -> TraceTable:
    """The trace in order of arrival, in seconds from its first request (exact to the nanosecond).

    Raises SpecError with all bad lines. Other columns are left unread with a warning.
    """
    text = read_text(path)
    keys = keys_seen(text)
    check_format(path, "azure", keys)
    missing = [column for column in COLUMNS if column not in keys]
    if missing:
        refuse(path, f"expected the columns {', '.join(COLUMNS)}, found {', '.join(keys)}; add {', '.join(missing)}")
    rows = _rows(path, text, keys)
    arrival_s = _since_first([row[0] for row in rows])
    return build_table(
        source=f"azure:{path.name}",
        arrival_s=arrival_s,
        prompt_tokens=np.array([row[1] for row in rows], np.int64),
        output_tokens=np.array([row[2] for row in rows], np.int64),
        warnings=(*backward_warning(arrival_s), *_unread_warning(keys)),
    )


def _rows(path: Path, text: str, header: tuple[str, ...]) -> list[Row]:
    """The lines after the header; raises SpecError with every fault where a line is no request."""
    faults = TraceFaults(path)
    rows: list[Row] = []
    places = [header.index(column) for column in COLUMNS]
    lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
    next(lines)  # the header
    for number, line in lines:
        cells = line.strip().split(",")
        if len(cells) != len(header):
            wanted = f"expected {len(header)} cells ({', '.join(header)})"
            faults.add(number, "", f"{wanted}, found {len(cells)}; correct or remove the line")
            continue
        row = _row([cells[place] for place in places], number, faults)
        if row is not None:
            rows.append(row)
    faults.raise_if_any()
    if not rows:
        refuse(path, "expected a trace with at least one request, found only a header")
    return rows


def _row(cells: list[str], line: int, faults: TraceFaults) -> Row | None:
    """The three cells as a request, or None with their faults added."""
    arrival = _wall_clock(cells[0])
    prompt, output = (int(cell) if _WHOLE.fullmatch(cell) else cell for cell in cells[1:])
    if arrival is None:
        wanted = "expected a time like 2023-11-16 18:17:03.9799600"
        faults.add(line, COLUMNS[0], f"{wanted}, found {shown(cells[0])}; correct or remove the line")
    for column, value, least in ((COLUMNS[1], prompt, 1), (COLUMNS[2], output, 0)):
        message = token_fault(value, least)
        if message is not None:
            faults.add(line, column, message)
    if arrival is None or isinstance(prompt, str) or isinstance(output, str):
        return None
    return arrival, prompt, output


def _wall_clock(cell: str) -> np.datetime64 | None:
    """The point in time, or None where the text is none (not the form, or no such day or hour)."""
    match = _WALL_CLOCK.fullmatch(cell)
    if match is None:
        return None
    try:
        return np.datetime64(match[1], "ns")
    except ValueError:
        return None


def _since_first(stamps: list[np.datetime64]) -> Floats:
    """Seconds from the earliest stamp; subtracted in whole nanoseconds, so nothing is lost before the division."""
    arrival = np.array(stamps, "datetime64[ns]")
    since_s: Floats = (arrival - arrival.min()) / np.timedelta64(1, "s")
    return since_s


def _unread_warning(header: tuple[str, ...]) -> tuple[str, ...]:
    unread = [column for column in header if column not in COLUMNS]
    return (f"columns left unread: {', '.join(unread)}",) if unread else ()

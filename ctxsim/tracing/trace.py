"""Trace files: written whole or not at all, the same bytes for the same rows."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import IO, Any

import numpy as np

from ctxsim.errors import Fault, SpecError
from ctxsim.records import Records
from ctxsim.tracing.copies import copy_lanes
from ctxsim.tracing.events import Event, Lane, names_of
from ctxsim.tracing.iterations import iteration_lanes, memory_lanes
from ctxsim.tracing.requests import request_lane
from ctxsim.tracing.window import Choice, Window, choose

SUFFIXES = (".json", ".json.gz")
LEVEL = 6
"""Of compression: higher ones take several times as long and save little."""

WORDS = {"requests": "requests", "runs": "runs of iterations", "transfers": "copies"}


@dataclass(frozen=True)
class Trace:
    """A trace that was written: where, with how many events, and what a reader must know of it."""

    path: Path
    events: int
    warnings: tuple[str, ...]


def write_trace(
    path: str | Path, tables: Mapping[str, Records], about: Mapping[str, Any], window: Window | None = None
) -> Trace:
    """Writes a simulation's requests, runs and transfers as a trace, gzipped where the name ends in ``.json.gz``.

    tables: those of a simulation, or of a result that was loaded. about: what the file says of itself in
    ``otherData``. Every row that overlaps the window is in it whole. Raises SpecError where it cannot be written.
    """
    target = check_path(path)
    window = window or Window()
    choice = choose(tables, window)
    lanes = [
        request_lane(choice.requests),
        *iteration_lanes(choice.runs),
        *memory_lanes(choice.runs, choice.transfers),
        *copy_lanes(choice.transfers),
    ]
    shown = (choice.requests["replica"], choice.runs["replica"], choice.transfers["replica"])
    replicas = np.unique(np.concatenate(shown)).astype(int).tolist()
    with _whole(target) as stream:
        _write(stream, _other_data(about, window, choice), names_of(replicas), lanes)
    return Trace(target, sum(len(lane.time_us) for lane in lanes), tuple(_warnings(target, window, choice)))


def check_path(path: str | Path) -> Path:
    """The path; raises SpecError where no trace can be written to it."""
    target = Path(path)
    if not target.name.endswith(SUFFIXES):
        found = f'expected a name that ends in .json or .json.gz, found "{target.name}"'
        raise _unwritable(target, f"{found}; write e.g. {target.stem or 'trace'}.json.gz")
    if target.is_dir():
        raise _unwritable(target, "expected a file to write the trace to, found a folder of that name; name another")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        found = "one that cannot be written to" if target.parent.is_dir() else "none"
        raise _unwritable(target, f"expected a folder to write the trace in, found {found}; name another file")
    return target


def _unwritable(path: Path, message: str) -> SpecError:
    return SpecError(Fault(str(path), None, None, "", message))


def _other_data(about: Mapping[str, Any], window: Window, choice: Choice) -> dict[str, Any]:
    return {
        **about,
        "from_s": window.from_s,
        "until_s": choice.until_s if isfinite(choice.until_s) else None,
        "truncated": choice.truncated,
        "left_out": choice.left_out,
    }


def _warnings(path: Path, window: Window, choice: Choice) -> Iterator[str]:
    """What the trace does not show, and how to see it."""
    if not any(choice.in_window.values()):
        yield f"{path}: nothing happens {window}; the trace is empty"
    if choice.truncated:
        numbers = (f"{left:,} of {choice.in_window[name]:,} {WORDS[name]}" for name, left in choice.left_out.items())
        yield (
            f"{path}: has what begins before {choice.until_s:.6g} s, in {window.max_events:,} events at most; left out "
            f"are {', '.join(numbers)}. To see them: --trace-from {choice.until_s:.6g}, or a larger --trace-max-events"
        )


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """A stream whose bytes stand under that name once the block has ended; nothing is left behind where it fails."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb") as file:
            if path.suffix == ".gz":
                # Neither name nor time goes into the file: the same trace is the same bytes.
                with gzip.GzipFile("", "wb", LEVEL, fileobj=file, mtime=0) as zipped:
                    yield zipped
            else:
                yield file
        os.replace(unfinished, path)
    except OSError as error:
        message = f"expected a file that can be written to, found {error.strerror}; name another one"
        raise _unwritable(path, message) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _write(
    stream: IO[bytes] | gzip.GzipFile, other: Mapping[str, Any], names: Iterable[Event], lanes: Sequence[Lane]
) -> None:
    """One event a line, in order of time. Perfetto reads what stands before the events only at the very beginning."""
    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    stream.write(f'{{"displayTimeUnit":"ms","otherData":{encode(other)},"traceEvents":['.encode())
    separator = "\n"
    for event in _events(names, lanes):
        stream.write(f"{separator}{encode(event)}".encode())
        separator = ",\n"
    stream.write(b"\n]}\n")


def _events(names: Iterable[Event], lanes: Sequence[Lane]) -> Iterator[Event]:
    yield from names
    sizes = [len(lane.time_us) for lane in lanes]
    lane_of = np.repeat(np.arange(len(lanes)), sizes)
    within = np.concatenate([np.arange(size) for size in sizes])
    order = np.argsort(np.concatenate([lane.time_us for lane in lanes]), kind="stable")
    for number, i in zip(lane_of[order].tolist(), within[order].tolist(), strict=True):
        yield lanes[number].event(i)

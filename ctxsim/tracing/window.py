"""Which rows go into a trace: those of a window of time, and of these the earliest where they are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from ctxsim.errors import Fault, SpecError
from ctxsim.metrics.utilisation import run_s
from ctxsim.records import Records, Table

MAX_EVENTS = 500_000
"""Some 70 MB of JSON text, which browsers still open at ease."""

Array = np.ndarray


@dataclass(frozen=True)
class Window:
    """The time to be shown, and how many events at most; raises SpecError where nothing could be in it."""

    from_s: float = 0.0
    until_s: float = inf
    max_events: int = MAX_EVENTS

    def __post_init__(self) -> None:
        if not 0 <= self.from_s < self.until_s:
            message = f"expected times from 0 on, the second after the first, found {self}"
            raise SpecError(Fault("", None, None, "--trace-from, --trace-until", f"{message}; leave one of them out"))

    def __str__(self) -> str:
        """The times, for a reader."""
        return f"from {self.from_s:g} s on" + (f", until {self.until_s:g} s" if self.until_s < inf else "")


class Kind:
    """One table's share of a trace.

    events: what a row becomes, at most. start_s, end_s: the time that a row stands for.
    """

    def __init__(self, events: int, start: str, end_s: Callable[[Table], Array]) -> None:
        self.events = events
        self.start = start
        self.end_s = end_s


KINDS = {
    # Begin and end of the request and of its four phases, and the first token.
    "requests": Kind(11, "arrival_s", lambda part: part["finished_s"]),
    # The slice, sequences that run at its start and where none follows at once, the queue, KV in it and after it.
    "runs": Kind(6, "start_s", lambda part: part["start_s"] + run_s(part)),
    # The slice, its rate and the end of that, KV from its end on.
    "transfers": Kind(4, "start_s", lambda part: part["end_s"]),
}


@dataclass(frozen=True)
class Choice:
    """The rows of a trace, in order of their start.

    until_s: rows that start then or later were left out, where there were any: left_out says how many of each table,
    in_window how many there were.
    """

    requests: Table
    runs: Table
    transfers: Table
    until_s: float
    in_window: dict[str, int]
    left_out: dict[str, int]

    @property
    def truncated(self) -> bool:
        """Whether rows of the window were left out."""
        return any(self.left_out.values())


def choose(tables: Mapping[str, Records], window: Window) -> Choice:
    """The rows of the window; memory grows with the events that are asked for, not with the tables."""
    earliest = _Earliest(window.max_events)
    for name, kind in KINDS.items():
        for part in _in_window(tables[name], kind, window):
            earliest.add(part[kind.start], kind.events)
    chosen, in_window, left_out = {}, {}, {}
    for name, kind in KINDS.items():
        in_window[name] = 0
        kept = []
        for part in _in_window(tables[name], kind, window):
            in_window[name] += len(part)
            kept.append(_rows(part, part[kind.start] < earliest.cut_s))
        chosen[name] = _in_order(kept, tables[name].names, kind.start)
        left_out[name] = in_window[name] - len(chosen[name])
    until_s = min(window.until_s, earliest.cut_s)
    return Choice(**chosen, until_s=until_s, in_window=in_window, left_out=left_out)


class _Earliest:
    """The start times of the earliest rows that have room together; ``cut_s``: when the first starts that has none."""

    def __init__(self, room: int) -> None:
        self.cut_s = inf
        self._room = room
        self._start_s = np.empty(0)
        self._events = np.empty(0, np.int64)

    def add(self, start_s: Array, events: int) -> None:
        """Rows that begin then, each of so many events."""
        self._start_s = np.concatenate((self._start_s, start_s))
        self._events = np.concatenate((self._events, np.full(len(start_s), events)))
        if np.sum(self._events) > self._room:
            order = np.argsort(self._start_s, kind="stable")
            over = int(np.searchsorted(np.cumsum(self._events[order]), self._room, side="right"))
            self.cut_s = min(self.cut_s, float(self._start_s[order[over]]))
        before = self._start_s < self.cut_s
        self._start_s, self._events = self._start_s[before], self._events[before]


def _in_window(records: Records, kind: Kind, window: Window) -> Iterator[Table]:
    for part in records.parts():
        inside = _rows(part, (part[kind.start] < window.until_s) & (kind.end_s(part) >= window.from_s))
        if len(inside):
            yield inside


def _rows(part: Table, wanted: Array) -> Table:
    return Table({name: column[wanted] for name, column in part.columns.items()})


def _in_order(parts: list[Table], names: tuple[str, ...], start: str) -> Table:
    """The parts as one table; rows of one start stay in their order."""
    if not parts:
        return Table(dict.fromkeys(names, np.empty(0)))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    order = np.argsort(whole[start], kind="stable")
    return Table({name: column[order] for name, column in whole.items()})

"""Sources of recorded requests: each at its recorded time, or each when its session's earlier answers are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctxsim.workload.blocks import Blocks, Ints
from ctxsim.workload.demand import Demand
from ctxsim.workload.traces import NO_PARENT, Floats, TraceTable

ROWS_AT_A_TIME = 4096
"""Rows turned into demands in one go, so that a long trace is never a list of Python objects as a whole."""


class TraceSource:
    """The requests of a trace, each at its recorded time whether or not earlier ones were answered."""

    releases = False

    def __init__(self, table: TraceTable) -> None:
        self.table = table
        self.warnings = table.warnings
        self._rows = _Rows(table)

    @property
    def num_requests(self) -> int | None:
        """The number of rows."""
        return len(self.table)

    def initial(self) -> Iterator[Demand]:
        """All rows in order of arrival."""
        return self._rows.demands(np.arange(len(self.table)))

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """None: a recorded request waits for nothing."""
        return ()


class ThinkTimeSource:
    """The requests of a trace, each turn of a session when its user has read the answer to the one before.

    The first turn comes at its recorded time, a later one its think time after the answer; where that is not known,
    as long after it as it was recorded after the request before. A session that another one sent out begins when the
    row it waits for is answered (and its recorded delay is over); the one that sent it out does not wait for its
    end, but thinks for as long as was recorded.
    """

    releases = True

    def __init__(self, table: TraceTable) -> None:
        self.table = table
        self.warnings = (*table.warnings, *_gap_warning(table))
        self._rows = _Rows(table)
        waits_for, self._delay_s = _waits(table)
        self._begins = np.flatnonzero(waits_for == NO_PARENT)
        self._followers = np.argsort(waits_for, kind="stable")
        self._first_follower = np.searchsorted(waits_for[self._followers], np.arange(len(table) + 1))

    @property
    def num_requests(self) -> int | None:
        """The number of rows."""
        return len(self.table)

    def initial(self) -> Iterator[Demand]:
        """The rows that wait for no other: the first turn of each session that was not sent out by another."""
        return self._rows.demands(self._begins)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The next turn of the session and the first turns of sessions sent out by this one, in order of arrival."""
        first, end = self._first_follower[demand.index : demand.index + 2].tolist()
        rows = self._followers[first:end].tolist()
        released = [self._rows.demand(row, finished_s + self._delay_s.item(row)) for row in rows]
        return tuple(sorted(released, key=lambda following: following.arrival_s))


class _Rows:
    """The rows of a trace as demands; ``index`` is the row."""

    def __init__(self, table: TraceTable) -> None:
        self._arrival_s = table.arrival_s
        self._blocks = table.blocks.full(table.prompt_tokens)
        self._columns: tuple[NDArray[np.int64] | NDArray[np.bool_], ...] = (
            table.prompt_tokens,
            table.output_tokens,
            table.session_id,
            table.turn,
            _reusable_tokens(table, self._blocks),
            _is_last(table, self._blocks),
        )

    def demands(self, rows: Ints) -> Iterator[Demand]:
        """The given rows at their recorded times."""
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            few = rows[start : start + ROWS_AT_A_TIME]
            columns = (column[few].tolist() for column in (self._arrival_s, *self._columns))
            yield from map(Demand, few.tolist(), *columns, self._blocks.of_each(few))

    def demand(self, row: int, arrival_s: float) -> Demand:
        """One row, at a time that need not be the recorded one."""
        columns: list[Any] = [column.item(row) for column in self._columns]
        return Demand(row, arrival_s, *columns, *self._blocks.of_each(np.array([row])))


def _reusable_tokens(table: TraceTable, full: Blocks) -> Ints:
    """Tokens found by hash in any earlier row, or shared with the prompt of the previous turn."""
    previous = np.where(table.parent_id == NO_PARENT, 0, table.prompt_tokens[table.parent_id])
    # Where the file does not say, NO_PARENT is below any number found.
    return np.maximum(full.found_tokens(), np.minimum(table.shared_prefix_tokens, previous))


def _is_last(table: TraceTable, full: Blocks) -> NDArray[np.bool_]:
    """Whether nobody will ask for the row's KV: no later turn, and no blocks that any request may share."""
    last: NDArray[np.bool_] = full.lengths == 0
    last[table.parent_id[table.parent_id != NO_PARENT]] = False
    return last


def _waits(table: TraceTable) -> tuple[Ints, Floats]:
    """The row whose answer each row waits for (or ``NO_PARENT``), and how long after it the row comes."""
    recorded_s = table.arrival_s - table.arrival_s[table.parent_id]
    pause_s = np.where(np.isnan(table.think_time_s), recorded_s, table.think_time_s)
    begins = table.turn == 0
    return np.where(begins, table.begins_after, table.parent_id), np.where(begins, table.release_delay_s, pause_s)


def _gap_warning(table: TraceTable) -> tuple[str, ...]:
    """How many rows have no think time to wait for, where there are any."""
    later = table.turn > 0
    unknown = int(np.count_nonzero(np.isnan(table.think_time_s) & later))
    if not unknown:
        return ()
    total = int(np.count_nonzero(later))
    gap = "the recorded gap between the two requests (recorded answer included)"
    return (f"{unknown:,} of {total:,} later turns have no think time of use: each comes {gap} after its answer",)

"""The canonical trace: one row a request, whatever format it was recorded in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctxsim.workload.blocks import Blocks, Ints

Floats = NDArray[np.float64]

NO_PARENT = -1
"""``parent_id`` of a request that continues no other, ``begins_after`` of a session that waits for none."""


@dataclass(frozen=True, slots=True)
class TraceTable:
    """Requests in order of arrival (non-decreasing); equal arrivals in file order.

    Shapes: every column has one entry a row. ``session_id`` numbers conversations from 0 (a request of none is
    one of its own), ``parent_id`` is the row of the previous turn or ``NO_PARENT``. ``think_time_s`` (from the
    answer to the previous turn to this request) is NaN and ``shared_prefix_tokens`` (how much of the prompt the
    previous turn's prompt began with) ``NO_PARENT`` where the file does not say.

    A session that another one sent out (a sub-agent) begins ``release_delay_s`` after the answer to the row
    ``begins_after``, an earlier one; both stand in its first row, all other rows have ``NO_PARENT`` and 0.
    ``warnings`` says what was changed or left unread.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    session_id: Ints
    turn: Ints
    parent_id: Ints
    think_time_s: Floats
    shared_prefix_tokens: Ints
    begins_after: Ints
    release_delay_s: Floats
    blocks: Blocks
    source: str
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def block_hashes(self) -> Ints:
        """Hashes of all rows, one after another; ``block_offsets`` cuts them into rows."""
        return self.blocks.hashes

    @property
    def block_offsets(self) -> Ints:
        """Where each row's hashes begin, and the end of the last."""
        return self.blocks.offsets

    @property
    def block_tokens(self) -> int:
        """Prompt tokens that one hash stands for; 0 where the trace carries none."""
        return self.blocks.block_tokens

    def first(self, num_requests: int) -> TraceTable:
        """The first ``num_requests`` rows; all, with a warning, where there are fewer."""
        if num_requests > len(self):
            warning = f"num_requests is {num_requests:,}, the trace holds {len(self):,}: all of them are used"
            return replace(self, warnings=(*self.warnings, warning))
        return self._take(np.arange(num_requests))

    def stretched(self, time_scale: float) -> TraceTable:
        """The same requests, arrivals and the gaps between them ``time_scale`` times their own; think times stay."""
        return replace(self, arrival_s=self.arrival_s * time_scale, release_delay_s=self.release_delay_s * time_scale)

    def _take(self, rows: Ints) -> TraceTable:
        """The given leading rows (so that the rows others wait for keep their place)."""
        return replace(
            self,
            arrival_s=self.arrival_s[rows],
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            session_id=self.session_id[rows],
            turn=self.turn[rows],
            parent_id=self.parent_id[rows],
            think_time_s=self.think_time_s[rows],
            shared_prefix_tokens=self.shared_prefix_tokens[rows],
            begins_after=self.begins_after[rows],
            release_delay_s=self.release_delay_s[rows],
            blocks=self.blocks.take(rows),
        )


def turns(session_id: Ints) -> tuple[Ints, Ints]:
    """``(turn, parent_id)`` of rows in their order: the rank within the session, and the row before it."""
    grouped = np.argsort(session_id, kind="stable")
    begins = np.diff(session_id[grouped], prepend=np.int64(-1)) != 0
    place = np.arange(len(grouped))
    turn = np.empty(len(grouped), np.int64)
    parent = np.empty(len(grouped), np.int64)
    turn[grouped] = place - np.maximum.accumulate(np.where(begins, place, 0))
    parent[grouped] = np.where(begins, NO_PARENT, np.roll(grouped, 1))
    return turn, parent


def build_table(
    source: str,
    arrival_s: Floats,
    prompt_tokens: Ints,
    output_tokens: Ints,
    *,
    session_id: Ints | None = None,
    think_time_s: Floats | None = None,
    shared_prefix_tokens: Ints | None = None,
    begins_after: Ints | None = None,
    release_delay_s: Floats | None = None,
    blocks: Blocks | None = None,
    warnings: tuple[str, ...] = (),
) -> TraceTable:
    """The rows, given in file order, as a table in order of arrival (a stable sort).

    Without ``session_id`` every request is a session of its own. Sessions must be numbered from 0.
    ``begins_after`` (a row of the file) and ``release_delay_s`` say of each row what would hold if its session
    began with it.
    """
    rows = len(arrival_s)
    order = np.argsort(arrival_s, kind="stable")
    session = np.arange(rows) if session_id is None else session_id[order]
    turn, parent = turns(session)
    begins_after = _moved(_known(begins_after, rows), order)
    return TraceTable(
        arrival_s=arrival_s[order],
        prompt_tokens=prompt_tokens[order],
        output_tokens=output_tokens[order],
        session_id=session,
        turn=turn,
        parent_id=parent,
        think_time_s=np.full(rows, np.nan) if think_time_s is None else think_time_s[order],
        shared_prefix_tokens=_known(shared_prefix_tokens, rows)[order],
        begins_after=np.where(turn == 0, begins_after, NO_PARENT),
        release_delay_s=np.zeros(rows) if release_delay_s is None else np.where(turn == 0, release_delay_s[order], 0.0),
        blocks=Blocks.none(rows) if blocks is None else blocks.take(order),
        source=source,
        warnings=warnings,
    )


def backward_warning(arrival_s: Floats) -> tuple[str, ...]:
    """The warning that rows were sorted, where a timestamp is smaller than the one before it; else nothing."""
    backward = int(np.count_nonzero(np.diff(arrival_s) < 0))
    if not backward:
        return ()
    return (f"{backward:,} timestamps go backwards: the requests were sorted by arrival, equal ones in file order",)


def _known(column: Ints | None, rows: int) -> Ints:
    return np.full(rows, NO_PARENT) if column is None else column


def _moved(row: Ints, order: Ints) -> Ints:
    """A column of row numbers (or ``NO_PARENT``) after both the column and the rows it names were put in order."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return np.where(row == NO_PARENT, NO_PARENT, place[row])[order]

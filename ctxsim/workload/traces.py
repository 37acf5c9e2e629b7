"""The canonical trace: one row a request, whatever format it was recorded in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctxsim.workload.demand import Demand

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_PARENT = -1
"""``parent_id`` of a request that continues no other."""

ROWS_AT_A_TIME = 4096
"""Rows turned into demands in one go, so that a long trace is never a list of Python objects as a whole."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Hashes of the prompt blocks of each row; equal hashes are equal prefixes.

    ``offsets`` (rows + 1) cut ``hashes`` into rows; ``block_tokens`` is the length of a block, 0 without blocks.
    """

    offsets: Ints
    hashes: Ints
    block_tokens: int

    @classmethod
    def none(cls, rows: int) -> Blocks:
        """No hashes for any of ``rows`` rows."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, np.int64), 0)

    def of(self, row: int) -> Ints:
        """The hashes of one row, first block first."""
        return self.hashes[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: Ints) -> Blocks:
        """The blocks of ``rows``, in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        # Position within the taken row, moved to where that row begins in the old values.
        old = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[rows], lengths)
        return Blocks(offsets, self.hashes[old], self.block_tokens)


@dataclass(frozen=True, slots=True)
class TraceTable:
    """Requests in order of arrival (non-decreasing); equal arrivals in file order.

    Shapes: every column has one entry a row. ``session_id`` numbers conversations from 0 (a request of none is
    one of its own), ``parent_id`` is the row of the previous turn or ``NO_PARENT``. ``think_time_s`` is NaN and
    ``shared_prefix_tokens`` (how much of the prompt the previous turn's prompt began with) ``NO_PARENT`` where
    the file does not say. ``warnings`` says what was changed or left unread.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    session_id: Ints
    turn: Ints
    parent_id: Ints
    think_time_s: Floats
    shared_prefix_tokens: Ints
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
        """The same requests with every arrival at ``time_scale`` times its own; think times stay."""
        return replace(self, arrival_s=self.arrival_s * time_scale)

    def demands(self) -> Iterator[Demand]:
        """The rows as demands, in order; ``index`` is the row."""
        for start in range(0, len(self), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            columns = (self.arrival_s, self.prompt_tokens, self.output_tokens, self.session_id, self.turn)
            yield from map(Demand, range(start, len(self)), *(column[rows].tolist() for column in columns))

    def _take(self, rows: Ints) -> TraceTable:
        """The given leading rows (so that parents keep their place)."""
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
            blocks=self.blocks.take(rows),
        )


def turns(session_id: Ints) -> tuple[Ints, Ints]:
    """``(turn, parent_id)`` of rows in order of arrival: the rank within the session, and the row before it."""
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
    blocks: Blocks | None = None,
    warnings: tuple[str, ...] = (),
) -> TraceTable:
    """The rows, given in file order, as a table in order of arrival (a stable sort).

    Without ``session_id`` every request is a session of its own. Sessions must be numbered from 0.
    """
    rows = len(arrival_s)
    order = np.argsort(arrival_s, kind="stable")
    session = np.arange(rows) if session_id is None else session_id[order]
    turn, parent = turns(session)
    return TraceTable(
        arrival_s=arrival_s[order],
        prompt_tokens=prompt_tokens[order],
        output_tokens=output_tokens[order],
        session_id=session,
        turn=turn,
        parent_id=parent,
        think_time_s=np.full(rows, np.nan) if think_time_s is None else think_time_s[order],
        shared_prefix_tokens=_known(shared_prefix_tokens, rows)[order],
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

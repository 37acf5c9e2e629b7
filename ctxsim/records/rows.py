"""A table that grows row by row in little memory: packed as it grows, its full parts on disk where asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from math import gcd
from pathlib import Path
from struct import Struct

import numpy as np

from ctxsim.records.columns import Column
from ctxsim.records.tables import Table

PART_ROWS = 65_536
BUFFER_ROWS = 4_096
"""Rows held as tuples, at some 32 bytes a number, before they are packed into 8 each."""

CODES = {"int64": "q", "float64": "d"}
"""Dtypes of columns in the words of ``struct``, which refuses what does not fit instead of rounding it."""


class Rows:
    """A table to which rows are added at the end, readable at any time.

    spool: a folder for full parts of ``part_rows`` rows, made with the first of them; the rows after the last full
    part stay in memory. A part is an Arrow file (``pandas.read_feather``), written under a temporary name and then
    moved, so that what bears its name after an interrupt is whole. Without a folder all parts stay packed in memory.
    """

    def __init__(self, columns: Sequence[Column], spool: Path | None = None, part_rows: int = PART_ROWS) -> None:
        self.columns = tuple(columns)
        self._spool = spool
        self._part_rows = part_rows
        self._cells = Struct("=" + "".join(CODES[c.dtype] for c in self.columns))
        self._parts: list[Table | Path] = []
        self._packed = bytearray()
        self._buffer: list[tuple[float, ...]] = []
        self._buffer_rows = gcd(BUFFER_ROWS, part_rows)
        self._rest = self._unpacked(b"")
        self._read_at_rows = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return tuple(c.name for c in self.columns)

    def __len__(self) -> int:
        """Rows."""
        return len(self._parts) * self._part_rows + len(self._packed) // self._cells.size + len(self._buffer)

    def __getitem__(self, name: str) -> np.ndarray:
        """One column of all rows."""
        return self.column(name)

    def append(self, row: tuple[float, ...]) -> None:
        """Adds a row, its numbers in the order of the columns; whole numbers where the column is of int64."""
        buffer = self._buffer
        buffer.append(row)
        if len(buffer) == self._buffer_rows:
            self._pack()

    def parts(self) -> Iterator[Table]:
        """All rows in order, a part at a time."""
        for part in (*self._parts, self._after_parts()):
            if found := _read(part):
                yield found

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; only that column is held in memory."""
        whole = np.empty(len(self), self._rest[name].dtype)
        filled = 0
        for part in self.parts():
            whole[filled : (filled := filled + len(part))] = part[name]
        return whole

    def table(self) -> Table:
        """All rows in memory."""
        return Table({name: self.column(name) for name in self.names})

    def take(self, places: np.ndarray) -> Table:
        """The rows at these places, in their order; only parts that have any of them are read."""
        taken = {c.name: np.empty(len(places), c.dtype) for c in self.columns}
        part_of = places // self._part_rows
        stored = (*self._parts, self._after_parts())
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            part, within = _read(stored[number]), places[here] - number * self._part_rows
            for name, column in taken.items():
                column[here] = part[name][within]
        return Table(taken)

    def _pack(self) -> None:
        """The buffered rows as bytes, and a part once there are enough of them."""
        self._packed += self._buffered()
        self._buffer.clear()
        if len(self._packed) == self._part_rows * self._cells.size:
            part = self._unpacked(self._packed)
            self._parts.append(part if self._spool is None else _write(part, self._spool, len(self._parts)))
            self._packed = bytearray()

    def _buffered(self) -> bytes:
        return b"".join(starmap(self._cells.pack, self._buffer))

    def _after_parts(self) -> Table:
        """The rows after the last full part, unpacked again where rows came since the last reading."""
        if self._read_at_rows != len(self):
            self._read_at_rows = len(self)
            self._rest = self._unpacked(self._packed + self._buffered())
        return self._rest

    def _unpacked(self, packed: bytes | bytearray) -> Table:
        """A contiguous array a column."""
        cells = np.frombuffer(packed, np.int64).reshape(-1, len(self.columns)).T.copy()
        return Table({c.name: cells[i].view(c.dtype) for i, c in enumerate(self.columns)})


def table(columns: Sequence[Column], rows: Iterable[tuple[float, ...]]) -> Table:
    """A table of these columns from rows of numbers in their order."""
    growing = Rows(columns)
    for row in rows:
        growing.append(row)
    return growing.table()


def _write(part: Table, folder: Path, number: int) -> Path:
    import pyarrow as pa
    from pyarrow import feather

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{number:06d}.arrow"
    unfinished = path.with_suffix(".tmp")
    feather.write_feather(pa.table(part.columns), unfinished, compression="uncompressed", chunksize=len(part))
    os.replace(unfinished, path)
    return path


def _read(part: Table | Path) -> Table:
    """The part; of one on disk, only what is used of its columns is read."""
    if isinstance(part, Table):
        return part
    from pyarrow import feather

    mapped = feather.read_table(part, memory_map=True)
    return Table({name: mapped[name].chunk(0).to_numpy() for name in mapped.column_names})

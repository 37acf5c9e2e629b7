"""Rows in another order than the one in which they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ctxsim.records.rows import PART_ROWS, Rows
from ctxsim.records.tables import Records, Table


def sorted_by(records: Records, *names: str) -> Records:
    """The records in ascending order of the first of these columns, then of the next; rows that grew stay in place."""
    order = np.lexsort([records.column(name) for name in reversed(names)])
    if isinstance(records, Rows):
        return _Ordered(records, order)
    return Table({name: records.column(name)[order] for name in records.names})


@dataclass(frozen=True)
class _Ordered:
    """The rows in the given order, a part of them gathered at a time."""

    rows: Rows
    order: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return self.rows.names

    def __len__(self) -> int:
        """Rows."""
        return len(self.order)

    def __getitem__(self, name: str) -> np.ndarray:
        """One column of all rows."""
        return self.column(name)

    def parts(self) -> Iterator[Table]:
        """All rows in order, some at a time."""
        for start in range(0, len(self.order), PART_ROWS):
            yield self.rows.take(self.order[start : start + PART_ROWS])

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; only that column is held in memory."""
        column: np.ndarray = self.rows.column(name)[self.order]
        return column

    def table(self) -> Table:
        """All rows in memory."""
        return Table({name: self.column(name) for name in self.names})

"""Rows with more columns than they were written with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ctxsim.records.tables import Records, Table


def widened(records: Records, columns: dict[str, np.ndarray]) -> Records:
    """The records with these columns, a value a row, after their own; rows that grew stay in place."""
    if isinstance(records, Table):
        return Table(records.columns | columns)
    return _Widened(records, columns)


@dataclass(frozen=True)
class _Widened:
    """The rows, and the columns beside them in memory."""

    rows: Records
    beside: dict[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return (*self.rows.names, *self.beside)

    def __len__(self) -> int:
        """Rows."""
        return len(self.rows)

    def __getitem__(self, name: str) -> np.ndarray:
        """One column of all rows."""
        return self.column(name)

    def parts(self) -> Iterator[Table]:
        """All rows in order, some at a time."""
        begun = 0
        for part in self.rows.parts():
            end = begun + len(part)
            yield Table(part.columns | {name: column[begun:end] for name, column in self.beside.items()})
            begun = end

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; only that column is held in memory."""
        return self.beside[name] if name in self.beside else self.rows.column(name)

    def table(self) -> Table:
        """All rows in memory."""
        return Table({name: self.column(name) for name in self.names})

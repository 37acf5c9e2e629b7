"""Tables in memory, and what every kind of table can do: be read part by part, or one whole column at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class Records(Protocol):
    """Rows of one table, wherever they lie: in memory, in packed parts, on disk."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""

    def __len__(self) -> int:
        """Rows."""

    def __getitem__(self, name: str) -> np.ndarray:
        """One column of all rows."""

    def parts(self) -> Iterator[Table]:
        """All rows in order, some at a time; none where the table is empty."""

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; only that column is held in memory."""

    def table(self) -> Table:
        """All rows in memory."""


@dataclass(frozen=True)
class Table:
    """Named numpy columns of one length."""

    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        """One column."""
        return self.columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return tuple(self.columns)

    def parts(self) -> Iterator[Table]:
        """The table as its only part; none where it is empty."""
        if len(self):
            yield self

    def column(self, name: str) -> np.ndarray:
        """One column."""
        return self.columns[name]

    def table(self) -> Table:
        """Itself."""
        return self

    def frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns)

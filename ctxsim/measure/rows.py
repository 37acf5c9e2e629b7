"""Rows of measurements as they are taken: saved as they come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ctxsim.errors import Fault, SpecError
from ctxsim.measure.points import Point
from ctxsim.records.measured import frame_of, write

if TYPE_CHECKING:
    import pandas as pd

SAVE_EVERY_S = 5.0
"""How long measured rows may wait before they are on disk."""


def row(point: Point, seconds: float, iqr_s: float, n_runs: int) -> dict[str, Any]:
    """One row: the point and what was measured."""
    return asdict(point) | {"flop": point.flop, "seconds": seconds, "iqr_s": iqr_s, "n_runs": n_runs}


class RowsFile:
    """Rows that are saved as they come: every few seconds, and when the block ends, however it ends.

    path: None keeps them in memory only.
    """

    def __init__(self, path: Path | None, meta: Mapping[str, Any]) -> None:
        self.rows: list[dict[str, Any]] = []
        self._path, self._meta = path, meta
        self._saved_s = time.monotonic()

    def __enter__(self) -> RowsFile:
        """Writes the file without rows, so that a place that cannot be written is known before any work."""
        self._save()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Saves what there is."""
        self._save()

    def add(self, measured: dict[str, Any]) -> None:
        """One more row."""
        self.rows.append(measured)
        if time.monotonic() >= self._saved_s + SAVE_EVERY_S:
            self._save()

    def frame(self) -> pd.DataFrame:
        """All rows so far."""
        return frame_of(self.rows)

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write(self.frame(), self._meta, self._path)
        except OSError as error:
            message = f"expected a place to write measurements to, {error.strerror}; name another file"
            raise SpecError(Fault(str(self._path), None, None, "", message)) from None
        self._saved_s = time.monotonic()

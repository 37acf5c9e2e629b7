"""A progress bar on stderr for long runs, and the count that an interrupted run reports."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 1.0
"""How long a run goes on before it gets a bar."""


class _Bar:
    """A bar of so many of something, on a terminal, from the first time it is shown until the block ends."""

    def __init__(self, what: str, wanted: bool) -> None:
        self._what = what
        self._wanted = wanted and sys.stderr.isatty()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Begins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, done: int, of: int | None) -> None:
        if not self._wanted:
            return
        if self._bar is None or self._task is None:
            self._bar, self._task = _begun(self._what, of)
        self._bar.update(self._task, completed=done)


class RunProgress(_Bar):
    """Counts finished requests; after a second, on a terminal, shows them as a bar until the block ends.

    total: requests of the run, or None where only its end tells. finished: requests so far.
    """

    def __init__(self, total: int | None, wanted: bool = True) -> None:
        super().__init__("requests", wanted)
        self.total = total
        self.finished = 0
        self._shown_from_s = time.monotonic() + PATIENCE_S

    def update(self, finished: int) -> None:
        """So many requests are finished."""
        self.finished = finished
        if time.monotonic() >= self._shown_from_s:
            self._show(finished, self.total)

    def __str__(self) -> str:
        """How far it got."""
        return f"{self.finished:,}" + ("" if self.total is None else f" of {self.total:,}") + " requests were finished"


class PointProgress(_Bar):
    """Shows how many points of a sweep are answered, with the time left, on a terminal."""

    def __init__(self, wanted: bool = True) -> None:
        super().__init__("points", wanted)

    def update(self, done: int, of: int) -> None:
        """So many points are answered."""
        self._show(done, of)


def _begun(what: str, total: int | None) -> tuple[Progress, TaskID]:
    """A bar of so many of these on stderr, with the time that is left where their number is known."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    clock = TimeElapsedColumn() if total is None else TimeRemainingColumn()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), clock)
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.start()
    return bar, bar.add_task(what, total=total)


class StageProgress:
    """Says on a terminal what a plan is at, on one line that the next words replace. words: what it is at."""

    def __init__(self, wanted: bool = True) -> None:
        self.words = "nothing was done yet"
        self._wanted = wanted and sys.stderr.isatty()

    def __enter__(self) -> StageProgress:
        """Begins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clears the line."""
        self._write("")

    def update(self, what: str, done: int, of: int) -> None:
        """So many of these are done."""
        self.words = f"{what}: {done:,} of {of:,}" if done < of else f"{what}: {done:,}"
        self._write(self.words)

    def _write(self, words: str) -> None:
        if self._wanted:
            sys.stderr.write(f"\r\x1b[K{words}")
            sys.stderr.flush()

"""The clock of the torch engine: the wall's, less what need not be waited for."""

from __future__ import annotations

import time


class Clock:
    """Seconds since the start, without those that were skipped because there was nothing to do.

    skips: whether waiting without any work is skipped; else it is really waited for.
    """

    def __init__(self, skips: bool) -> None:
        self._origin_s = time.perf_counter()
        self._skips = skips

    def now_s(self) -> float:
        """The time."""
        return time.perf_counter() - self._origin_s

    def wait_until(self, at_s: float) -> None:
        """Returns at that time or later; nothing else may be under way."""
        left_s = at_s - self.now_s()
        if left_s > 0 and self._skips:
            self._origin_s -= left_s
        elif left_s > 0:
            time.sleep(left_s)

"""Whether a processor is left alone: threads that wait for one that another process has put aside measure that process.

Such a wait is a slice of the scheduler, often far longer than what is timed, and it can come in every run, so that
no spread of the runs shows it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = slice(3, 5)
"""Of the fields of a processor's line: idle, and idle while waiting for a disk."""

_COUNTED = 8
"""Fields that add up to all time; those after them are counted in these already."""

OTHERS_RATIO = 0.1
"""What other processes may take of one processor."""

_COARSE_TICKS = 3
"""The system counts in ticks; so many may be a matter of rounding."""


_MOMENT_S = 0.25


class Others:
    """What other processes take of all processors, from when this is made."""

    def __init__(self) -> None:
        self._machine_s, self._own_s, self._begins_s = machine_busy_s(), own_busy_s(), time.perf_counter()

    def disturb(self) -> bool:
        """Whether they took enough to be felt; never, where the system does not tell."""
        machine_s = machine_busy_s()
        if machine_s is None or self._machine_s is None:
            return False
        theirs_s = machine_s - self._machine_s - (own_busy_s() - self._own_s)
        passed_s = time.perf_counter() - self._begins_s
        return theirs_s > OTHERS_RATIO * passed_s + _COARSE_TICKS / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(most_s: float) -> None:
    """Waits until others have done next to nothing for a moment, or so long at most."""
    ends_s = time.perf_counter() + most_s
    while time.perf_counter() < ends_s:
        others = Others()
        time.sleep(_MOMENT_S)
        if not others.disturb():
            return


def machine_busy_s() -> float | None:
    """Seconds that all processors have been busy since the system began; None where it does not tell."""
    try:
        first = _STAT.read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    ticks = [int(field) for field in first.split()[1 : 1 + _COUNTED]]
    return (sum(ticks) - sum(ticks[_IDLE])) / os.sysconf("SC_CLK_TCK")


def own_busy_s() -> float:
    """Seconds that this process has been busy, on all processors."""
    return time.process_time()

"""Threads that copy at once while all others of the process compute: what a GPU's copy engines are to its kernels.

Threads that multiply and one that copies are more than there are cores, and with equal claims one copy in ten waited:
beside passes of a decoder on two cores, copies of 32 MiB took 1.9 to 2.0 ms in the median and one in ten over 3, up to
6.5. Where those that compute have Linux's idle policy it was one in eighty; with a niceness of 10 or 19 one in thirty.
Passes took the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

Threads = tuple[ThreadPoolExecutor, ...]
"""Each of one thread."""

_TASKS = Path("/proc/self/task")


@contextmanager
def copy_threads(count: int) -> Iterator[Threads]:
    """So many threads; while they last, all others of the process yield to them, where the system is Linux.

    Afterwards all have the policy of the thread that asked for them. A process without the right to raise its own
    priority goes on at the low one.
    """
    with ExitStack() as stack:
        threads = tuple(stack.enter_context(ThreadPoolExecutor(1)) for _ in range(count))
        copying = {thread.submit(threading.get_native_id).result() for thread in threads}
        if not _TASKS.is_dir():
            yield threads
            return
        before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
        _set_others(copying, os.SCHED_IDLE, os.sched_param(0))
        try:
            yield threads
        finally:
            _set_others(copying, before, parameters)


def _set_others(copying: set[int], policy: int, parameters: os.sched_param) -> None:
    """Every thread but those gets the policy; one that has ended, or may not have it, is left as it is."""
    for task in {int(task.name) for task in _TASKS.iterdir()} - copying:
        with suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(task, policy, parameters)

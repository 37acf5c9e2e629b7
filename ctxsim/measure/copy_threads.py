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

    A process without the right to raise its own priority goes on at the low one afterwards.
    """
    with ExitStack() as stack:
        threads = tuple(stack.enter_context(ThreadPoolExecutor(1)) for _ in range(count))
        copying = {thread.submit(threading.get_native_id).result() for thread in threads}
        _set_others(copying, "SCHED_IDLE")
        try:
            yield threads
        finally:
            _set_others(copying, "SCHED_OTHER")


def _set_others(copying: set[int], policy: str) -> None:
    """Every thread but those gets the policy; one that has ended, or may not have it, is left as it is."""
    others = {int(task.name) for task in _TASKS.iterdir()} - copying if _TASKS.is_dir() else set()
    for task in others:
        with suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(task, getattr(os, policy), os.sched_param(0))

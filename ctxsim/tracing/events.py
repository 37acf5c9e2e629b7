"""Events in Chrome's JSON format as viewers take them: whole microseconds, one process a replica.

Perfetto wants slices of a thread to nest perfectly and readers cut decimals each in their own way, so times are whole
microseconds. Its thread names go by thread number alone, so no two threads of a file share one, nor a process and a
thread; a process 0 would be taken for the idle one. What overlaps (requests) is asynchronous: events of one category
and id nest; with an id that is the process's own (id2.local) they are drawn within it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctxsim.records import Table
from ctxsim.units import parse

Event = dict[str, Any]
Array = np.ndarray

MICROSECOND_S = parse("1 us", "seconds")
ITERATIONS = 0
LINKS = {(0, 1): "HBM -> host", (1, 0): "host -> HBM", (1, 2): "host -> disk", (2, 0): "disk -> HBM"}
"""The directions of copies by source and target tier."""

THREADS = ("iterations", *LINKS.values())
NUMBERS_A_PROCESS = 10


class Lane(NamedTuple):
    """Events of one kind: when they are, in an order that events of one time keep, and how the i-th reads."""

    time_us: Sequence[int]
    event: Callable[[int], Event]


def microseconds(seconds: Array) -> Array:
    """Times in whole microseconds."""
    return np.rint(seconds / MICROSECOND_S).astype(np.int64)


def plain(rows: Table) -> dict[str, list[Any]]:
    """The columns as Python numbers, which are read one by one much faster than those of arrays."""
    return {name: column.tolist() for name, column in rows.columns.items()}


def process(replica: int) -> int:
    """The number of a replica's process."""
    return (replica + 1) * NUMBERS_A_PROCESS


def thread(replica: int, name: str) -> int:
    """The number of one of its threads."""
    return process(replica) + 1 + THREADS.index(name)


def event(phase: str, name: str, replica: int, time_us: int, args: Event) -> Event:
    """An event on the iterations' thread of a replica."""
    number = process(replica)
    return {"name": name, "ph": phase, "pid": number, "tid": number + 1, "ts": time_us, "args": args}


def counter(name: str, replica: int, time_us: int, values: Event) -> Event:
    """New values of a counter, which hold until its next ones."""
    return event("C", name, replica, time_us, values)


def names_of(replicas: Sequence[int]) -> Iterator[Event]:
    """The names of the replicas' processes and threads, and their places."""
    for replica in replicas:
        number = process(replica)
        yield _name("process_name", number, number + 1, {"name": f"replica {replica}"})
        yield _name("process_sort_index", number, number + 1, {"sort_index": replica})
        for i, name in enumerate(THREADS):
            yield _name("thread_name", number, number + 1 + i, {"name": name})
            yield _name("thread_sort_index", number, number + 1 + i, {"sort_index": i})


def until_next(end_us: Array, start_us: Array, *keys: Array) -> tuple[Array, Array]:
    """Ends no later than the next start of the same keys, and whether nothing follows at once; rows in order of start.

    Times that are one and the same before rounding may differ in their last bits, and by a microsecond after it.
    """
    order = np.lexsort((start_us, *keys))
    ends, followed = end_us[order], np.zeros(len(order), bool)
    same = np.ones(max(0, len(order) - 1), bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    following = np.where(same, start_us[order][1:], np.iinfo(np.int64).max)
    ends[:-1] = np.minimum(ends[:-1], following)
    followed[:-1] = following <= ends[:-1]
    clipped, alone = np.empty_like(end_us), np.empty(len(order), bool)
    clipped[order], alone[order] = ends, ~followed
    return clipped, alone


def _name(kind: str, process_number: int, thread_number: int, args: Event) -> Event:
    return {"name": kind, "ph": "M", "pid": process_number, "tid": thread_number, "args": args}

"""Independent pieces of work, in turn or over several processes; what comes of them is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""What a function makes of each item, in the order of the items."""


def in_turn(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """One after the other, in this process."""
    return [function(item) for item in items]


@contextmanager
def spreading(workers: int) -> Iterator[Spread]:
    """A Spread over so many processes; functions and items must be picklable where there are several."""
    if workers == 1:
        yield in_turn
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield lambda function, items: list(pool.map(function, items))

"""Independent pieces of work over processes of one thread each; what comes of them does not depend on their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""What a function makes of each item, in the order of the items; both must be picklable."""

# Fits are thousands of small products and decompositions, on which threads of BLAS wait for each other: four times as
# long on two cores, and far longer where others work on them too. Libraries read these when they are loaded.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def spreading(workers: int) -> Iterator[Spread]:
    """A Spread over so many processes."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield lambda function, items: list(pool.map(function, items))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""Where tasks run: in this process, in worker processes, or on the workers of a Dask cluster; the same answers.

Tasks go out in chunks; answers come back chunk by chunk as they are done, with the tasks' numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from typing import Any, Protocol

from ctxsim.errors import Fault, MissingExtraError, SpecError
from ctxsim.sim.workers import worker_pool
from ctxsim.version import __version__


class Task(Protocol):
    """Something that can be sent to another process and answered there, as a Trial."""

    def run(self) -> Any:
        """The answer."""
        ...


PATIENCE_S = 10
"""How long a cluster may take to answer."""

Numbered = tuple[int, Task]
Done = tuple[int, Any]
Executor = Callable[[Sequence[Sequence[Numbered]]], Iterator[Done]]
"""Runs chunks of numbered tasks; yields each answer with its number, in any order."""


def run_chunk(chunk: Sequence[Numbered]) -> list[Done]:
    """The answers of a chunk; a function of a module, so that other processes find it."""
    return [(number, task.run()) for number, task in chunk]


def answers(tasks: Sequence[Task], executor: Executor) -> list[Any]:
    """The answer of each task, in their order, every task a chunk of its own."""
    found = dict(executor([[numbered] for numbered in enumerate(tasks)]))
    return [found[number] for number in range(len(tasks))]


def local(workers: int) -> Executor:
    """This process for one worker, else so many processes of their own, which stay until the executor is dropped.

    Where a task fails, or nobody waits for the rest, they are stopped at once.
    """
    held = ExitStack()
    pools: list[ProcessPoolExecutor] = []

    def run(chunks: Sequence[Sequence[Numbered]]) -> Iterator[Done]:
        if workers == 1 or len(chunks) <= 1:
            yield from (done for chunk in chunks for numbered in chunk for done in run_chunk([numbered]))
            return
        if not pools:
            pools.append(held.enter_context(worker_pool(workers)))
        try:
            for job in as_completed([pools[0].submit(run_chunk, chunk) for chunk in chunks]):
                yield from job.result()
        except BaseException as error:
            pools.clear()
            held.__exit__(type(error), error, error.__traceback__)
            raise

    return run


def dask(scheduler: str) -> Executor:
    """The workers of the Dask cluster at that address, which need ctxsim of this version.

    Raises MissingExtraError where Dask is not there; SpecError where nothing answers.
    """
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ImportError:
        raise MissingExtraError("dask", "sweep --executor dask") from None

    def run(chunks: Sequence[Sequence[Numbered]]) -> Iterator[Done]:
        if not chunks:
            return
        with _connected(Client, scheduler) as client:
            _check_workers(client, scheduler)
            jobs = [client.submit(run_chunk, chunk, pure=False) for chunk in chunks]
            for job in completed(jobs):
                yield from job.result()
                job.release()

    return run


def _connected(client: Callable[..., Any], scheduler: str) -> Any:
    try:
        return client(scheduler, timeout=PATIENCE_S)
    except (OSError, ValueError) as error:
        message = f"expected a Dask scheduler at {scheduler}, found none ({error}); start one with: dask scheduler"
        raise _no_cluster(message) from None


def _check_workers(client: Any, scheduler: str) -> None:
    """Raises SpecError where nobody works, or somebody with another version, whose numbers may be others."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        versions = set(client.run(_version_there).values())
    except TimeoutError:
        would_do = f"start some with: dask worker {scheduler}"
        raise _no_cluster(f"expected workers at {scheduler}, found none; {would_do}") from None
    if versions != {__version__}:
        found = ", ".join(sorted(versions))
        raise _no_cluster(f"expected ctxsim {__version__} on every worker, found {found}; install it there")


def _version_there() -> str:
    from ctxsim.version import __version__ as version

    return version


def _no_cluster(message: str) -> SpecError:
    return SpecError(Fault("--scheduler", None, None, "", message))

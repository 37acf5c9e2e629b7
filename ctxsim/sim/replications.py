"""Independent replications of a simulation: the same scenario with other random draws, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from numpy.random import SeedSequence

from ctxsim.sim.cluster import Progress, Stepping
from ctxsim.sim.simulate import Simulation, simulate
from ctxsim.sim.workers import worker_pool
from ctxsim.spec.scenario import Scenario

T = TypeVar("T")
Task = Callable[[int, Simulation], T]
"""What becomes of a finished replication, by its number from 0; for several processes both must be picklable."""

SEEDS_KEY = 1 << 31
"""Sets the seeds of replications apart from all streams of workload.draws, whose keys are small numbers."""

SEED_BITS = 53
"""Seeds are whole in JSON readers that know no other numbers than doubles."""


def replication_seeds(seed: int, replications: int) -> tuple[int, ...]:
    """The seeds of so many replications: the given one first, then others that follow from it and their number alone.

    Each is the first word of a numpy SeedSequence of its own, so that the streams drawn from them are independent.
    """
    drawn = (
        SeedSequence(seed, spawn_key=(SEEDS_KEY, i)).generate_state(1, "uint64")[0] for i in range(1, replications)
    )
    return (seed, *(int(word) >> (64 - SEED_BITS) for word in drawn))


@contextmanager
def spooling(place: Path | None) -> Iterator[Path]:
    """A folder for rows until the block ends, in that place or where the system keeps what is temporary."""
    with TemporaryDirectory(prefix=".rows-", dir=place) as folder:
        yield Path(folder)


def reseeded(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with another seed."""
    return replace(scenario, run=scenario.run.model_copy(update={"seed": seed}))


def replicate(
    scenario: Scenario, replications: int, task: Task[T], *,
    stepping: Stepping = "macro", workers: int = 1, spool: Path | None = None, progress: Progress | None = None,
) -> list[T]:  # fmt: skip
    """What the task makes of each replication, in their order, whatever the number of worker processes.

    spool: as for ``spooling``. progress: called with the number of finished requests of all replications; where there
    are several workers, when one is done. Where one fails or the user interrupts, the others end too.
    """
    scenarios = [reseeded(scenario, seed) for seed in replication_seeds(scenario.run.seed, replications)]
    tell = progress or (lambda _: None)
    # A worker that is stopped leaves its rows behind, which go with the folder around them.
    with spooling(spool) as place:
        if workers == 1:
            return _in_turn(scenarios, task, stepping, place, tell)
        return _side_by_side(scenarios, task, stepping, place, tell, workers)


def _in_turn(
    scenarios: Sequence[Scenario], task: Task[T], stepping: Stepping, spool: Path, progress: Progress
) -> list[T]:
    results: list[T] = []
    finished = 0
    for number, scenario in enumerate(scenarios):

        def tell(more: int, before: int = finished) -> None:
            progress(before + more)

        requests, result = _replication(number, scenario, task, stepping, spool, tell)
        results.append(result)
        finished += requests
    return results


def _side_by_side(
    scenarios: Sequence[Scenario], task: Task[T], stepping: Stepping, spool: Path, progress: Progress, workers: int
) -> list[T]:
    results: dict[int, T] = {}
    finished = 0
    with worker_pool(min(workers, len(scenarios))) as pool:
        numbers: dict[Future[tuple[int, T]], int] = {}
        for number, scenario in enumerate(scenarios):
            numbers[pool.submit(_replication, number, scenario, task, stepping, spool, None)] = number
        for job in as_completed(numbers):
            requests, results[numbers[job]] = job.result()
            finished += requests
            progress(finished)
    return [results[number] for number in range(len(scenarios))]


def _replication(
    number: int, scenario: Scenario, task: Task[T], stepping: Stepping, spool: Path, progress: Progress | None
) -> tuple[int, T]:
    """The requests that were finished, and what the task makes of the simulation while its rows are there."""
    with spooling(spool) as folder:
        simulation = simulate(scenario, stepping=stepping, progress=progress, spool=folder)
        return simulation.summary["completed_requests"], task(number, simulation)

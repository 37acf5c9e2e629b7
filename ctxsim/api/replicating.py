"""Replications of a simulation as one result: means, half-widths of their confidence intervals, each run on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ctxsim.api.results import SimulationResult, simulation_result
from ctxsim.api.storage import prepare_folder, save
from ctxsim.errors import Fault, SpecError
from ctxsim.metrics import half_widths, means
from ctxsim.sim import Simulation
from ctxsim.sim.cluster import Progress, Stepping
from ctxsim.sim.replications import replicate, replication_seeds, spooling
from ctxsim.spec.scenario import Scenario

Judge = Callable[[Simulation], Mapping[str, Any]]
"""More keys for the summary of a replication; a function of a module, so that worker processes find it."""


class Kept(NamedTuple):
    """What is left of a replication once it is saved."""

    summary: dict[str, Any]
    warnings: tuple[str, ...]


def replicated(
    scenario: Scenario, replications: int, *, stepping: Stepping, confidence: float, workers: int,
    out: Path | None = None, progress: Progress | None = None, judge: Judge | None = None,
) -> SimulationResult:  # fmt: skip
    """The means of so many replications, with ``replications`` among their keys: n, confidence, seeds, half_width.

    out: an empty folder, in which each replication is saved as soon as it is done, ``replication-000`` first, and the
    means last. judge: adds keys to each summary. Raises SpecError for numbers that make no sense.
    """
    _check(replications, confidence, workers)
    if out is not None:
        prepare_folder(out, empty=True)
    with spooling(out) as place:
        task = partial(_keep, out, place, judge)
        kept = replicate(
            scenario, replications, task, stepping=stepping, workers=workers, spool=place, progress=progress
        )
    summaries = [one.summary for one in kept]
    summary = means(summaries)
    summary["replications"] = {
        "n": replications,
        "confidence": confidence,
        "seeds": list(replication_seeds(scenario.run.seed, replications)),
        "half_width": half_widths(summaries, confidence),
    }
    result = SimulationResult(summary, _warnings(kept), scenario.sha256, scenario.to_yaml(), {})
    if out is not None:
        save(result, out)
    return result


def _keep(out: Path | None, place: Path, judge: Judge | None, number: int, simulation: Simulation) -> Kept:
    """Saves a replication: in the place for what is unfinished, from where it is moved when it is whole."""
    if out is not None:
        name = f"replication-{number:03d}"
        os.replace(save(simulation_result(simulation), place / name), out / name)
    more = {} if judge is None else judge(simulation)
    return Kept({**simulation.summary, **more}, simulation.warnings)


def _warnings(kept: list[Kept]) -> tuple[str, ...]:
    """Every warning once, with the number of replications it comes from where that is not all of them."""
    replications = len(kept)
    counts: dict[str, int] = {}
    for warning in (warning for one in kept for warning in one.warnings):
        counts[warning] = counts.get(warning, 0) + 1
    warnings = [
        warning if count == replications else f"{warning} ({count} of {replications} replications)"
        for warning, count in counts.items()
    ]
    if replications == 1:
        warnings.append("replications: one run has no confidence interval; ask for two at least")
    elif all(one.summary == kept[0].summary for one in kept):
        warnings.append(
            f"replications: all {replications} runs are the same, since nothing in them is drawn at random; "
            "they do not say how far results scatter"
        )
    return tuple(warnings)


def _check(replications: int, confidence: float, workers: int) -> None:
    """Raises SpecError for every number that is out of its range."""
    faults = [
        Fault("", None, None, name, f"expected a whole number from 1 on, found {value}")
        for name, value in (("replications", replications), ("workers", workers))
        if value < 1
    ]
    if not 0 < confidence < 1:
        message = f"expected a share between 0 and 1, found {confidence:g}; write e.g. 0.95"
        faults.append(Fault("", None, None, "confidence", message))
    if faults:
        raise SpecError(*faults)

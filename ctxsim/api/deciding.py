"""The calls that look at many scenarios. Each takes a scenario as it was loaded, or its name or path.

With several workers, a script that calls them must be importable (``if __name__ == "__main__"``), as theirs are fresh
processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ctxsim.api.decisions import PlanResult, SensitivityResult, SweepResult, WhatifResult
from ctxsim.explore import Axis, grid_points, parse_axis, sobol_points
from ctxsim.explore import sweep as run_sweep
from ctxsim.explore import whatif as run_whatif
from ctxsim.explore.executors import Executor, dask, local
from ctxsim.explore.outcomes import By
from ctxsim.explore.plan import Goal, Space
from ctxsim.explore.plan import plan as run_plan
from ctxsim.explore.plan.goal import MOST_ACCELERATORS, RANKS_TRIED
from ctxsim.explore.sensitivity import CHANGE_RATIO
from ctxsim.explore.sensitivity import sensitivity as run_sensitivity
from ctxsim.explore.sweep import scenarios_of
from ctxsim.explore.whatif import changed_scenarios
from ctxsim.spec.document import Document
from ctxsim.spec.scenario import Scenario, document_of, resolve_scenario, scenario_document

Source = Scenario | str | Path
Values = Sequence[object] | None


def whatif(
    base: Source, changes: Sequence[str], *, by: By = "simulate", replications: int = 5, workers: int = 1
) -> WhatifResult:
    """Changes beside the base on the same draws: ``whatif(base, ["serving.kv_dtype=fp8"])``; several keys by ;."""
    scenario, changed = changed_scenarios(document_from(base), changes)
    found = run_whatif(scenario, changed, by=by, replications=replications, executor=local(workers))
    return WhatifResult(scenario, found)


def sweep(
    base: Source, vary: Mapping[str, Sequence[object] | str], *, by: By = "simulate", replications: int = 1,
    samples: int | None = None, folder: str | Path | None = None, workers: int = 1, scheduler: str | None = None,
) -> SweepResult:  # fmt: skip
    """The base at every combination of values: ``{"serving.kv_dtype": ["bf16", "fp8"], "workload.users": "5:20:4"}``.

    Values: a list, or text as after ``--vary KEY=``. samples: so many points of a Sobol sequence instead. folder: where
    answers are kept and found again. scheduler: address of a Dask cluster that answers instead of workers here.
    """
    document = document_from(base)
    (scenario,) = scenarios_of(document, [()])
    axes = [_axis(key, values) for key, values in vary.items()]
    points = grid_points(axes) if samples is None else sobol_points(axes, samples, scenario.run.seed)
    executor: Executor = local(workers) if scheduler is None else dask(scheduler)
    kept = None if folder is None else Path(folder)
    found = run_sweep(document, points, by=by, replications=replications, executor=executor, folder=kept)
    return SweepResult(found, scenario.name)


def plan(
    base: Source, *, users: int | None = None, rate: float | None = None, accelerators: Values = None,
    max_accelerators: int = MOST_ACCELERATORS, tensor_parallel: Values = RANKS_TRIED, kv_dtype: Values = None,
    residency: Values = None, host_memory: Values = None, batch_tokens: Values = None, batch_seqs: Values = None,
    runs: int = 20, workers: int = 1,
) -> PlanResult:  # fmt: skip
    """The cheapest fleet that meets the base's SLO at its load, or at so many users or arrivals a second.

    Lists are what may be chosen; None keeps what the base has. Raises InfeasibleError where no fleet does.
    """
    space = Space.of(
        accelerators=accelerators, max_accelerators=max_accelerators, tensor_parallel=tensor_parallel,
        kv_dtype=kv_dtype, residency=residency, host_memory=host_memory, batch_tokens=batch_tokens,
        batch_seqs=batch_seqs,
    )  # fmt: skip
    goal = Goal.of(document_from(base), users=users, rate=rate)
    return PlanResult(run_plan(goal, space, executor=local(workers), confidence_runs=runs))


def sensitivity(
    base: Source, *, by: By = "analyze", ratio: float = CHANGE_RATIO, workers: int = 1
) -> SensitivityResult:
    """How sessions per hour, dollars per session and more follow each number of hardware and workload."""
    scenario = base if isinstance(base, Scenario) else resolve_scenario(document_from(base))
    effects = run_sensitivity(scenario, by=by, ratio=ratio, executor=local(workers))
    return SensitivityResult(scenario.name, effects, by, ratio)


def document_from(base: Source) -> Document:
    """What the base is resolved from; raises SpecError where it was changed since it was loaded."""
    return document_of(base) if isinstance(base, Scenario) else scenario_document(base)


def _axis(key: str, values: Sequence[object] | str) -> Axis:
    if isinstance(values, str):
        return parse_axis(f"{key}={values}")
    return Axis((key,), tuple((value,) for value in values))

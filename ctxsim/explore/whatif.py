"""A scenario and changes of it, on the same draws: what changes by how much, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

from ctxsim.analysis import Analysis, analyze
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.explore.executors import Executor, answers, local
from ctxsim.explore.load import is_drawn
from ctxsim.explore.outcomes import CONFIDENCE, By, Outcome, Row, Trial
from ctxsim.explore.sweep import scenarios_of
from ctxsim.explore.vary import parse_change
from ctxsim.metrics import student_t_quantile
from ctxsim.sim.replications import replication_seeds, reseeded
from ctxsim.spec.document import Document
from ctxsim.spec.scenario import Scenario

QUANTITIES = {
    "concurrency": "concurrent_sessions",
    "prefill": "prefill_s",
    "decode": "decode_step_s",
    "context switch": "switch_s",
}
"""The four quantities and the keys of ``analyze`` that say them."""

NOTICED_RATIO = 0.005
"""A quantity that changes by less than this did not move."""


@dataclass(frozen=True)
class Difference:
    """One number of base and change: means over the same seeds, and the paired difference.

    half_width: of the difference's confidence interval; None for a single run, and in closed form, which has none.
    """

    base: float
    changed: float
    difference: float
    half_width: float | None

    @property
    def ratio(self) -> float | None:
        """The difference as a share of the base; None where that is nothing."""
        return self.difference / self.base if self.base else None

    @property
    def sure(self) -> bool | None:
        """Whether the interval of the difference leaves zero out; None without one."""
        return None if self.half_width is None else abs(self.difference) > self.half_width


@dataclass(frozen=True)
class Comparison:
    """What one change does. infeasible_reason: why the changed scenario cannot be served, if so; then there are no
    differences. runs: of base and change each; 0 in closed form, 1 where nothing is drawn, so that all would be the
    same. quantities: base and changed of the four quantities. bottlenecks: what binds, before and after."""

    change: str
    scenario: Scenario
    infeasible_reason: str | None
    runs: int
    differences: Mapping[str, Difference]
    quantities: Mapping[str, tuple[float, float]]
    bottlenecks: tuple[str, str]

    @property
    def why(self) -> str:
        """Which of the four quantities moved, and what binds now, in a sentence."""
        moved = [
            f"{name} {changed / base - 1:+.1%}"
            for name, (base, changed) in self.quantities.items()
            if base and abs(changed / base - 1) > NOTICED_RATIO
        ]
        before, after = self.bottlenecks
        binds = f"what binds stays: {before}" if before == after else f"what binds turns from {before} to {after}"
        return f"{', '.join(moved) if moved else 'none of the four quantities moves'}; {binds}"


def changed_scenarios(document: Document, texts: Sequence[str]) -> tuple[Scenario, dict[str, Scenario]]:
    """The document's scenario, and changed ones by the texts (``"k=v;k=v"``) that change it.

    Raises SpecError with the faults of all of them.
    """
    parsed = {text: tuple(parse_change(text).items()) for text in texts}
    if len(parsed) < len(texts) or not texts:
        message = "expected one change or more, each once, found none, or one again; give each once"
        raise SpecError(Fault("--change", None, None, "", message))
    base, *others = scenarios_of(document, [(), *parsed.values()])
    return base, dict(zip(parsed, others, strict=True))


def whatif(
    base: Scenario, changes: Mapping[str, Scenario], *, by: By = "simulate", replications: int = 5,
    executor: Executor | None = None,
) -> list[Comparison]:  # fmt: skip
    """Every change against the base, each simulated so many times with the same seeds, or in closed form.

    changes: scenarios by what they are called. Raises InfeasibleError where the base itself cannot be served, SpecError
    for a change of the seed, which all share.
    """
    scenarios = [base, *changes.values()]
    if any(scenario.run.seed != base.run.seed for scenario in scenarios):
        message = "expected the same draws for base and change, found another run.seed; set it for both (--set)"
        raise SpecError(Fault("--change", None, None, "run.seed", message))
    n = (replications if any(map(is_drawn, scenarios)) else 1) if by == "simulate" else 0
    seeds = replication_seeds(base.run.seed, max(1, n))
    outcomes = answers([Trial(reseeded(s, seed), by) for s in scenarios for seed in seeds], executor or local(1))
    runs = [outcomes[i : i + len(seeds)] for i in range(0, len(outcomes), len(seeds))]
    _check(base, runs[0])
    before = analyze(base)
    return [
        _comparison(name, n, before, analyze(scenario), runs[0], changed)
        for (name, scenario), changed in zip(changes.items(), runs[1:], strict=True)
    ]


def _check(base: Scenario, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.status != "ok":
            raise InfeasibleError(f"the base, {base.name}: {outcome.reason}")


def _comparison(
    name: str, runs: int, before: Analysis, after: Analysis, base: Sequence[Outcome], changed: Sequence[Outcome]
) -> Comparison:
    reason = next((outcome.reason for outcome in changed if outcome.status != "ok"), None)
    differences = {} if reason is not None else dict(_differences([o.row for o in base], [o.row for o in changed]))
    quantities = {name: (float(before.keys[key]), float(after.keys[key])) for name, key in QUANTITIES.items()}
    bottlenecks = (str(before.keys["bottleneck"]), str(after.keys["bottleneck"]))
    return Comparison(name, after.scenario, reason, runs, differences, quantities, bottlenecks)


def _differences(base: Sequence[Row], changed: Sequence[Row]) -> Iterator[tuple[str, Difference]]:
    """Every number that all runs have."""
    for name in base[0]:
        columns = [[row.get(name) for row in rows] for rows in (base, changed)]
        if all(_is_number(value) for column in columns for value in column):
            yield name, _paired(*columns)


def _paired(base: Sequence[Any], changed: Sequence[Any]) -> Difference:
    n = len(base)
    each = [after - before for before, after in zip(base, changed, strict=True)]
    mean = fsum(each) / n
    half_width = None
    if n > 1:
        deviation = sqrt(fsum((d - mean) ** 2 for d in each) / (n - 1))
        half_width = student_t_quantile(CONFIDENCE, n - 1) * deviation / sqrt(n)
    return Difference(fsum(base) / n, fsum(changed) / n, mean, half_width)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

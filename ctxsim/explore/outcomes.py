"""What became of one scenario: a flat row of numbers, or why there are none; the same wherever it was worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ctxsim.analysis import analyze
from ctxsim.errors import CtxsimError, InfeasibleError
from ctxsim.metrics import half_widths, means, slo_gate
from ctxsim.sim import simulate
from ctxsim.sim.replications import replication_seeds, reseeded
from ctxsim.spec.digest import sha256_of
from ctxsim.spec.scenario import Scenario
from ctxsim.version import __version__

By = Literal["simulate", "analyze"]
"""How a scenario is answered: by discrete events, or in closed form."""

Row = dict[str, Any]
CONFIDENCE = 0.95
UNITS = ("_usd", "_s", "_bytes", "_ratio", "_tokens", "_hour")
"""What the name of a nested number may end in, so that the name of its part goes before the unit."""

_LEFT_OUT = frozenset({"breakdown", "replications", "intervals", "gap", "residency"})
"""Nested answers that are no numbers of the scenario as a whole."""


@dataclass(frozen=True)
class Trial:
    """One scenario to be answered, by simulation so many times with seeds that follow from its own."""

    scenario: Scenario
    by: By = "simulate"
    replications: int = 1

    @property
    def key(self) -> str:
        """Digest of everything that the answer follows from."""
        contents = {
            "version": __version__,
            "by": self.by,
            "replications": self.replications,
            "scenario": self.scenario.sha256,
        }
        return sha256_of(contents)

    def run(self) -> Outcome:
        """The answer; a scenario that cannot be served, or ends in an error of its own, is an answer too."""
        try:
            row = _analyzed(self.scenario) if self.by == "analyze" else _simulated(self.scenario, self.replications)
        except InfeasibleError as error:
            return Outcome("infeasible", error.reason, {})
        except CtxsimError as error:
            return Outcome("failed", str(error), {})
        except Exception as error:  # one point's fault must not cost the others
            return Outcome("failed", f"a fault of ctxsim: {type(error).__name__}: {error}; please report", {})
        reason = row.pop("infeasible_reason", None)
        return Outcome("ok" if reason is None else "infeasible", reason, row)


@dataclass(frozen=True)
class Outcome:
    """status: ``ok``, ``infeasible``, ``refused`` (no valid scenario) or ``failed``, then with a reason; row: numbers.

    An infeasible scenario that was analyzed has numbers too.
    """

    status: str
    reason: str | None
    row: Row


def flatten(values: Mapping[str, Any]) -> Row:
    """The numbers with nested ones under names of their own, the unit last: ttft_s, p95 is ``ttft_p95_s``.

    However deep: money, parts_usd, idle is ``money_parts_idle_usd``.
    """
    row: Row = {}
    for name, value in values.items():
        if name in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            row |= {column(name, part): item for part, item in flatten(value).items()}
        elif not isinstance(value, list | tuple):
            row[name] = value
    return row


def column(name: str, part: str) -> str:
    """The name of a part of a nested number, its unit last."""
    unit = next((unit for unit in UNITS if name.endswith(unit)), "")
    return f"{name.removesuffix(unit)}_{part.removesuffix(unit)}{unit}"


def _simulated(scenario: Scenario, replications: int) -> Row:
    """Means over runs whose seeds follow from the scenario's alone; ``slo_met_ratio``: the share that met the SLO."""
    seeds = replication_seeds(scenario.run.seed, replications)
    summaries = [_summary(reseeded(scenario, seed)) for seed in seeds]
    row = flatten(means(summaries))
    if replications > 1:
        widths = flatten(half_widths(summaries, CONFIDENCE))
        row |= {column(name, "half_width"): width for name, width in widths.items() if width is not None}
    return row


def _summary(scenario: Scenario) -> dict[str, Any]:
    """The summary of a run, and at the SLO's percentile what its limits were held against."""
    simulation = simulate(scenario)
    summary = simulation.summary
    gate = slo_gate(scenario, simulation.requests, summary["warmup_s"])
    limits = {name: gate[name]["found_s"] for name in ("ttft_s", "tpot_s") if name in gate}
    if limits:
        summary["slo_found_s"] = limits
        summary["slo_met_ratio"] = 1.0 if gate["met"] else 0.0
    return summary


def _analyzed(scenario: Scenario) -> Row:
    return flatten(analyze(scenario).keys)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every name that occurs, in the order in which they first do."""
    return list(dict.fromkeys(name for row in rows for name in row))

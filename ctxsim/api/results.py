"""What the Python interface gives back: answers that a notebook can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.analysis import Analysis
from ctxsim.api.html import page
from ctxsim.errors import Fault, SpecError
from ctxsim.human import human
from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

    from ctxsim.sim import Simulation


@dataclass(frozen=True, repr=False)
class AnalysisResult:
    """A closed-form answer; ``analysis`` holds what it was worked out from."""

    analysis: Analysis

    @property
    def keys(self) -> dict[str, Any]:
        """Every key of ``ctxsim analyze``, in SI units."""
        return self.analysis.keys

    @property
    def feasible(self) -> bool:
        """Whether a whole session fits."""
        return self.analysis.feasible

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the scenario."""
        return self.analysis.warnings

    @property
    def scenario(self) -> Scenario:
        """What was analyzed."""
        return self.analysis.scenario

    def __repr__(self) -> str:
        keys = self.keys
        fits = f"{keys['concurrent_sessions']:.4g} sessions fit"
        return (
            f"<analysis of {self.scenario.name}: {fits}, {keys['sessions_per_hour_bound']:.4g} sessions/hour at most>"
        )

    def _repr_html_(self) -> str:
        """The keys and warnings as a small page."""
        return page(f"Analysis of {self.scenario.name}", self.keys, self.warnings)


@dataclass(frozen=True, repr=False)
class SimulationResult:
    """What a simulation found, or the means of several; as it is saved to a folder and loaded from one.

    summary: the keys of ``ctxsim simulate``. scenario_yaml: the resolved scenario, seed included. tables: requests,
    sessions, runs, transfers and gaps (pauses between tokens that no run tells of), wherever their rows lie; the
    properties of these names give them as DataFrames.
    Means of replications have no tables; each replication that was saved has its own.
    """

    summary: dict[str, Any]
    warnings: tuple[str, ...]
    scenario_sha256: str
    scenario_yaml: str
    tables: Mapping[str, Records]

    @property
    def replications(self) -> dict[str, Any] | None:
        """n, confidence, seeds and half_width of what the summary is the mean of; None for a single simulation."""
        return self.summary.get("replications")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a finished request, in order of arrival."""
        return self._frame("requests")

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row a session."""
        return self._frame("sessions")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run of equal iterations."""
        return self._frame("runs")

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """One row a copy of KV over a link."""
        return self._frame("transfers")

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """One row a pause between two tokens of a request that no run tells of."""
        return self._frame("gaps")

    def save(self, folder: str | Path) -> Path:
        """Writes tables, summary and resolved scenario into the folder, each file whole; returns the folder."""
        from ctxsim.api.storage import save

        return save(self, folder)

    def _frame(self, name: str) -> pd.DataFrame:
        if name not in self.tables:
            message = "expected the result of one simulation, found the means of replications, which have no rows"
            would_do = "load one of them, e.g. the folder replication-000 in the one that they were saved to"
            raise SpecError(Fault("", None, None, name, f"{message}; {would_do}"))
        return self.tables[name].table().frame()

    def __repr__(self) -> str:
        done, asked = (human("num_requests", self.summary[k]) for k in ("completed_requests", "num_requests"))
        what = "simulation" if self.replications is None else f"means of {self.replications['n']} replications"
        return f"<{what}: {done} of {asked} requests completed in {self.summary['duration_s']:.6g} s>"

    def _repr_html_(self) -> str:
        """The summary and warnings as a small page; of money the bill and its parts."""
        shown = with_half_widths(self.summary)
        money = shown.get("money", {})
        bill = {f"money.{name}": money[name] for name in ("bill_usd", "parts_usd") if name in money}
        return page("Simulation", shown | bill, self.warnings)


def simulation_result(simulation: Simulation) -> SimulationResult:
    """The simulation as users get it: apart from the scenario object, as it can be saved and loaded."""
    return SimulationResult(
        summary=simulation.summary,
        warnings=simulation.warnings,
        scenario_sha256=simulation.scenario.sha256,
        scenario_yaml=simulation.scenario.to_yaml(),
        tables={
            "requests": simulation.requests,
            "sessions": simulation.sessions,
            "runs": simulation.runs,
            "transfers": simulation.transfers,
            "gaps": simulation.gaps,
        },
    )


def with_half_widths(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary for a reader: means of replications with their half-widths, "14.84 s ± 120 ms"."""
    single = {key: value for key, value in summary.items() if key != "replications"}
    if "replications" not in summary:
        return single
    return _shown(single, summary["replications"]["half_width"])


def _shown(values: Mapping[str, Any], half_widths: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in values.items():
        half_width = half_widths[key]
        if isinstance(value, Mapping):
            shown[key] = _shown(value, half_width, inside or key)
        else:
            name = key if not inside else f"{inside}.{key}"
            # What is the same in all replications, or has no interval, stands alone.
            shown[key] = human(name, value) + (f" ± {human(name, half_width)}" if half_width else "")
    return shown

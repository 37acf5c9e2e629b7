"""What the Python interface gives back: answers that a notebook can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.analysis import Analysis
from ctxsim.api.html import page
from ctxsim.records import Table
from ctxsim.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd


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
    """What a simulation found, as it is saved to a folder and loaded from one.

    summary: the keys of ``ctxsim simulate``. scenario_yaml: the resolved scenario, seed included. tables: requests,
    sessions and runs as numpy columns; the properties of these names give them as DataFrames.
    """

    summary: dict[str, Any]
    warnings: tuple[str, ...]
    scenario_sha256: str
    scenario_yaml: str
    tables: Mapping[str, Table]

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a finished request, in order of arrival."""
        return self.tables["requests"].frame()

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row a session."""
        return self.tables["sessions"].frame()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run of equal iterations."""
        return self.tables["runs"].frame()

    def save(self, folder: str | Path) -> Path:
        """Writes tables, summary and resolved scenario into the folder, each file whole; returns the folder."""
        from ctxsim.api.storage import save

        return save(self, folder)

    def __repr__(self) -> str:
        done, asked = self.summary["completed_requests"], self.summary["num_requests"]
        return f"<simulation: {done} of {asked} requests completed in {self.summary['duration_s']:.6g} s>"

    def _repr_html_(self) -> str:
        """The summary and warnings as a small page."""
        return page("Simulation", self.summary, self.warnings)

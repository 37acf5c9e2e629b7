"""A simulation's results as they are handed to other tools, and what marks them as simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario
from ctxsim.version import __version__

TOOL = "ctxsim"


@dataclass(frozen=True)
class Simulated:
    """One simulation: its scenario, the keys of ``ctxsim simulate``, and its tables."""

    scenario: Scenario
    summary: Mapping[str, Any]
    requests: Records
    sessions: Records
    runs: Records

    @property
    def mark(self) -> dict[str, Any]:
        """What says that nothing here was measured, and from what it can be had again."""
        return {
            "simulated": True,
            "tool": TOOL,
            "tool_version": __version__,
            "scenario": self.scenario.name,
            "scenario_sha256": self.scenario.sha256,
            "seed": self.scenario.run.seed,
        }

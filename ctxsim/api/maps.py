"""What the maps of idle KV give back: the residency map and the cliff, as frames, pages, pictures and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.api.html import page, table
from ctxsim.api.rows import Drawn, RowsResult, drawn
from ctxsim.api.storage import prepare_folder
from ctxsim.explore.cliff import Cliff
from ctxsim.explore.residency import ResidencyMap
from ctxsim.explore.residency.answer import ResidencyAnswer
from ctxsim.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ResidencyResult(RowsResult):
    """What to do with idle KV: every point in ``frame``, limits by context in ``limits``; ``plot.map()``.

    answer: all of it, as ``ctxsim residency --json`` prints it.
    """

    mapped: ResidencyMap
    answer: ResidencyAnswer

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a point of the map: what every choice costs, and the cheapest."""
        return self.answer.rows

    @cached_property
    def limits(self) -> pd.DataFrame:
        """A row a context: idle times at which the cheaper choice changes."""
        return self._frame(self.answer.limits)

    @cached_property
    def machines(self) -> pd.DataFrame:
        """A row a machine that was asked about."""
        return self._frame(self.answer.machines)

    @cached_property
    def check(self) -> pd.DataFrame:
        """A row a point that was simulated."""
        return self._frame(self.answer.check)

    def _frame(self, values: Sequence[Any]) -> pd.DataFrame:
        import pandas as pd

        return pd.json_normalize([asdict(one) for one in values], sep=".")

    @property
    def title(self) -> str:
        """What it is a map of."""
        return f"residency map of {self.mapped.scenario.name}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the map."""
        return self.mapped.warnings

    @property
    def plot(self) -> ResidencyPlots:
        """Its pictures."""
        return ResidencyPlots(self)

    def _repr_html_(self) -> str:
        """The boundaries with their numbers, and the limits by context."""
        keys = {one.what: f"{one.formula} = {one.numbers}" for one in self.answer.formulas}
        limits = [asdict(one) for one in self.answer.limits]
        return page(self.title, keys, self.warnings) + table("Limits by context", limits)

    def save(self, folder: str | Path) -> Path:
        """Writes points, limits, machines and checks as CSV and Parquet, and the figure as SVG; returns the folder."""
        from ctxsim.reporting.mapped import write_residency

        target = prepare_folder(folder)
        write_residency(self.mapped, self.answer, target)
        return target


@dataclass(frozen=True)
class ResidencyPlots:
    """Pictures of a residency map."""

    result: ResidencyResult

    def map(self) -> Drawn:
        """The cheapest choice over context and idle time, a panel for each link, price and chance of a return."""
        from ctxsim.reporting.figures.residency_map import residency_figure

        return drawn(residency_figure(self.result.mapped))


@dataclass(frozen=True, repr=False)
class CliffResult(RowsResult):
    """The working-set map: its points in ``frame``, where it lies in ``cliff``; ``plot.curve()``."""

    scenario: Scenario
    cliff: Cliff

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a load: working set over HBM and over all room, region, throughput, TTFT, what was lost."""
        return [asdict(point) for point in self.cliff.points]

    @property
    def title(self) -> str:
        """What it is a map of."""
        return f"working-set map of {self.scenario.name}"

    @property
    def plot(self) -> CliffPlots:
        """Its pictures."""
        return CliffPlots(self)

    def save(self, folder: str | Path) -> Path:
        """Writes the points as CSV and Parquet, and the figure as SVG; returns the folder."""
        from ctxsim.reporting.mapped import write_cliff

        target = prepare_folder(folder)
        write_cliff(self.cliff, target)
        return target


@dataclass(frozen=True)
class CliffPlots:
    """Pictures of a working-set map."""

    result: CliffResult

    def curve(self) -> Drawn:
        """Throughput, TTFT and what is computed again, with the regions and the cliff."""
        from ctxsim.reporting.figures.cliff import cliff_figure

        return drawn(cliff_figure(self.result.cliff))

"""The road from a long context to the cost of a short one, as a call and as a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ctxsim.api.economics import Source, context_of, document_at
from ctxsim.api.rows import Drawn, RowsResult, drawn
from ctxsim.explore.executors import local
from ctxsim.explore.frontier import Frontier, finding, kv_alone, needs, parse_within, together
from ctxsim.explore.frontier import frontier as run_frontier


def frontier(
    base: Source, target: str | int = "4k", *, context: str | int | None = None, within: str | float = 0.0,
    most: int = 4, techniques: Sequence[str] | None = None, exhaustive: bool = False, workers: int = 1,
) -> FrontierResult:  # fmt: skip
    """Which techniques bring the base's context to the cost of a short one: ``frontier("paper-34b-1m", "4k")``.

    context: in place of the base's own. within: how much worse still counts as parity, ``"10%"`` or 0.1. techniques:
    those that may be used, at most ``most`` at once. exhaustive: leave none out that is beaten alone.
    """
    found = run_frontier(
        document_at(base), context_of("target", str(target).removesuffix("-parity")),
        None if context is None else context_of("context", str(context)), within_ratio=parse_within(str(within)),
        most=most, techniques=techniques, exhaustive=exhaustive, executor=local(workers),
    )  # fmt: skip
    return FrontierResult(found)


@dataclass(frozen=True, repr=False)
class FrontierResult(RowsResult):
    """Stacks of techniques with what they come to: ``finding``, ``findings``, ``levels``, ``plot.risk()``."""

    found: Frontier

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a stack that was tried and counts."""
        return self.found.rows

    @property
    def levels(self) -> Sequence[Mapping[str, Any]]:
        """A row for each level of risk and training that buys more than lower ones: the cheapest stack there, and
        that at parity in the most quantities."""
        return self.found.level_rows

    @property
    def title(self) -> str:
        """What it is of."""
        found = self.found
        return f"{found.scenario.name}: {found.session.document_tokens:,} tokens at the cost of {found.target_tokens:,}"

    @property
    def finding(self) -> str:
        """What can be at parity, and by what, in a sentence."""
        return finding(self.found)

    @property
    def findings(self) -> list[str]:
        """That, what is at parity at once, what KV bytes explain, and what would be needed, a sentence each."""
        return [self.finding, together(self.found), kv_alone(self.found), *needs(self.found)]

    @property
    def plot(self) -> FrontierPlots:
        """Its pictures."""
        return FrontierPlots(self)

    def _repr_html_(self) -> str:
        """The findings above the levels."""
        from ctxsim.api.html import table

        words = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.findings)
        return f"{words}{table(self.title, self.levels)}"


@dataclass(frozen=True)
class FrontierPlots:
    """Pictures of a frontier."""

    result: FrontierResult

    def risk(self) -> Drawn:
        """Dollars of a session against risk for retrieval, by training."""
        from ctxsim.reporting.figures.road import road_figure

        return drawn(road_figure(self.result.found))

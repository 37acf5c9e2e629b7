"""Where the cost of a context comes from: explanations and cost curves, as calls and as results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ctxsim.api.rows import Drawn, RowsResult, drawn
from ctxsim.errors import Fault, SpecError
from ctxsim.explore.cost_curve import DEFAULT_CONTEXTS, CostPoint, findings, parse_contexts
from ctxsim.explore.cost_curve import cost_curve as run_cost_curve
from ctxsim.explore.explain import Explanation
from ctxsim.explore.explain import explain as run_explain
from ctxsim.explore.explain_work import explain_work
from ctxsim.spec.document import Document
from ctxsim.spec.scenario import Scenario, document_of, load_scenario, scenario_document
from ctxsim.units import UnitError, tokens

Source = Scenario | str | Path


def explain(base: Source, against: str | int = "4k", *, simulate: bool = False) -> ExplainResult:
    """Why a session of the base costs more than the same one over another context: ``explain("paper-34b-50k", "4k")``.

    simulate: the same from the bills of two simulations too, on the same draws.
    """
    context = context_of("against", str(against))
    scenario = base if isinstance(base, Scenario) else load_scenario(base)
    return ExplainResult(run_explain(scenario, context, simulate))


def cost_curve(
    base: Source, contexts: str | Sequence[int] = DEFAULT_CONTEXTS, *, hardware: Sequence[str] | None = None,
    techniques: Sequence[Sequence[str]] | None = None, fit: bool = False,
) -> CostCurveResult:  # fmt: skip
    """What a session costs over its context, by machine and stack of techniques: ``[[], ["kv-int4"]]`` are two.

    contexts: a list, or text as after ``--contexts``. fit: each point on the smallest replica that holds it.
    """
    wanted = parse_contexts(contexts if isinstance(contexts, str) else ",".join(map(str, contexts)))
    stacks = None if techniques is None else [tuple(stack) for stack in techniques]
    return CostCurveResult(run_cost_curve(document_at(base), wanted, hardware, stacks, fit))


@dataclass(frozen=True, repr=False)
class ExplainResult(RowsResult):
    """Why a session costs more than over another context: ``finding``, ``work``, ``plot.waterfall()``."""

    explanation: Explanation

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a quantity, item and cause: over the other context, the base's own, and the difference."""
        return self.explanation.rows

    @property
    def title(self) -> str:
        """What was explained."""
        found = self.explanation
        return f"{found.scenario.name}: {found.base_tokens:,} tokens against {found.against_tokens:,}"

    @property
    def finding(self) -> str:
        """What explains the extra cost, in a sentence."""
        return self.explanation.finding

    @property
    def work(self) -> list[str]:
        """The arithmetic, for a pocket calculator."""
        return explain_work(self.explanation)

    @property
    def simulated_rows(self) -> list[dict[str, Any]]:
        """The same from two simulations; none where none were asked for."""
        simulated = self.explanation.simulated
        return [] if simulated is None else simulated.rows

    @property
    def plot(self) -> ExplainPlots:
        """Its pictures."""
        return ExplainPlots(self)

    def _repr_html_(self) -> str:
        """The finding above the rows."""
        return f"<p>{escape(self.finding)}</p>{super()._repr_html_()}"


@dataclass(frozen=True)
class ExplainPlots:
    """Pictures of an explanation."""

    result: ExplainResult

    def waterfall(self, unit: str = "usd") -> Drawn:
        """From the other context's cost to the base's, by quantity and cause; unit: ``usd`` or ``s``."""
        from ctxsim.reporting.figures.waterfall import TITLES, waterfall_figure

        if unit not in TITLES:
            raise SpecError(Fault("", None, None, "unit", f'expected usd or s, found "{unit}"; write one of them'))
        return drawn(waterfall_figure(self.result.explanation, unit))


@dataclass(frozen=True, repr=False)
class CostCurveResult(RowsResult):
    """What a session costs over its context: ``findings``, ``plot.curve()``."""

    points: Sequence[CostPoint]

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a machine, stack of techniques and context."""
        return [point.row for point in self.points]

    @property
    def title(self) -> str:
        """What it is of."""
        series = len({point.series for point in self.points})
        return f"cost curve of {series} series over {self.points[0].context_tokens:,} tokens and more"

    @property
    def findings(self) -> list[str]:
        """A sentence a series."""
        return findings(self.points)

    @property
    def plot(self) -> CostCurvePlots:
        """Its pictures."""
        return CostCurvePlots(self)


@dataclass(frozen=True)
class CostCurvePlots:
    """Pictures of a cost curve."""

    result: CostCurveResult

    def curve(self) -> Drawn:
        """Dollars of a session, and of a thousand tokens more, over the context."""
        from ctxsim.reporting.figures.cost_curve import cost_curve_figure

        return drawn(cost_curve_figure(self.result.points))


def document_at(base: Source) -> Document:
    """What the base is resolved from: a scenario, its file or its name."""
    return document_of(base) if isinstance(base, Scenario) else scenario_document(base)


def context_of(name: str, text: str) -> int:
    """A number of tokens as an argument says it; raises SpecError."""
    try:
        return tokens(text)
    except UnitError as error:
        raise SpecError(Fault("", None, None, name, str(error))) from None

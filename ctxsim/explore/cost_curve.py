"""What a session costs over its context, by machine and technique: dollars, marginal dollars, and what they follow.

Costs are those of the typical session at full load (see analysis.account), of a document (or prompt) of each length,
all else alike. Marginal dollars are those of a thousand tokens more since the last context that fits. An elasticity is
the slope on logarithms with one number of the machine 1.25 times larger and smaller, as in ``sensitivity``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.session import TypicalSession, typical_session
from ctxsim.analysis.session_cost import CAUSES, SessionCost, session_at, session_cost, session_usd
from ctxsim.cost import CostModel, nodes
from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.explore.explain import QUANTITIES
from ctxsim.explore.factors import HARDWARE, factors_of
from ctxsim.explore.fitting import fitted, why_none
from ctxsim.explore.sensitivity import CHANGE_RATIO, elasticity
from ctxsim.explore.vary import Setting, parse_axis, split
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario
from ctxsim.units import UnitError, tokens

DEFAULT_CONTEXTS = "log:4k:1m:9"
PER_TOKENS = 1000
NONE = "none"

_WORD = re.compile(r"[0-9][^:,]*")


@dataclass(frozen=True)
class Series:
    """One machine with one stack of techniques, as names; () is none."""

    hardware: str
    techniques: tuple[str, ...]

    @property
    def stack(self) -> str:
        """The techniques as one would write them."""
        return "+".join(self.techniques) or NONE


@dataclass(frozen=True)
class CostPoint:
    """One context of a series. scenario: as it is served there, None where it is refused. status: ok, infeasible or
    refused, then with a reason. marginal_usd: of a thousand tokens more than at the last context that fits."""

    series: Series
    context_tokens: int
    status: str
    reason: str | None
    scenario: Scenario | None
    cost: SessionCost | None
    marginal_usd: float | None
    elasticities: Mapping[str, float | None]

    @property
    def follows(self) -> list[tuple[str, float]]:
        """The rates and sizes of the machine that its cost follows, the strongest first; prices left out."""
        slopes = [(name, slope) for name, slope in self.elasticities.items() if slope and "usd" not in name]
        return sorted(slopes, key=lambda one: -abs(one[1]))

    @property
    def row(self) -> dict[str, Any]:
        """The point as a row of a tidy table."""
        return {
            "hardware": self.series.hardware, "techniques": self.series.stack, "context_tokens": self.context_tokens,
            "status": self.status, "reason": self.reason, **_deployed(self.scenario), **self._costs(),
            **{f"elasticity_{name}": value for name, value in self.elasticities.items()},
        }  # fmt: skip

    def _costs(self) -> dict[str, Any]:
        cost = self.cost
        names = ("cost_usd_per_session", "session_s", *(f"{part}_usd" for part in (*CAUSES, *QUANTITIES)))
        values: Sequence[float | None] = [None] * len(names)
        if cost is not None:
            parts = [*map(cost.by_cause, CAUSES), *map(cost.by_quantity, QUANTITIES)]
            values = [cost.total.usd, cost.total.seconds, *(part.usd for part in parts)]
        return dict(zip(names, values, strict=True)) | {"marginal_usd_per_1k_tokens": self.marginal_usd}


def _deployed(scenario: Scenario | None) -> dict[str, Any]:
    """What a replica is there."""
    if scenario is None:
        return dict.fromkeys(("tensor_parallel", "context_parallel", "nodes", "weight_dtype"))
    deployment = scenario.deployment
    return {
        "tensor_parallel": deployment.tensor_parallel, "context_parallel": deployment.context_parallel,
        "nodes": nodes(scenario), "weight_dtype": scenario.serving.weight_dtype,
    }  # fmt: skip


def parse_contexts(text: str) -> list[int]:
    """Contexts as after ``--vary``, in tokens: ``4k,50k,1m``, ``4k:100k:5`` or ``log:4k:1m:9``; ascending."""
    try:
        plain = _WORD.sub(lambda word: str(tokens(word[0])), text)
        values = parse_axis(f"contexts={plain}").values
    except UnitError as error:
        raise _fault("--contexts", text, str(error)) from None
    except SpecError as error:
        raise _fault("--contexts", text, error.faults[0].message) from None
    found = sorted(value for (value,) in values if isinstance(value, int) and value > 0)
    if len(found) < len(values) or not found:
        raise _fault("--contexts", text, "expected numbers of tokens, found something else; write e.g. log:4k:1m:9")
    return found


def parse_stacks(text: str) -> list[tuple[str, ...]]:
    """Stacks of techniques: ``none,kv-int4,cla(layers_per_group=4)+kv-int4``; parts in brackets stay together."""
    stacks = [
        () if stack.strip() == NONE else tuple(part.strip() for part in split(stack, "+")) for stack in split(text, ",")
    ]
    if any(not part for stack in stacks for part in stack) or len(set(stacks)) < len(stacks):
        message = "expected stacks parted by commas, each once, found an empty one or one again"
        raise _fault("--techniques", text, f"{message}; write e.g. none,kv-int4")
    return stacks


def cost_curve(
    document: Document, contexts: Sequence[int], hardware: Sequence[str] | None = None,
    stacks: Sequence[tuple[str, ...]] | None = None, fit: bool = False,
) -> list[CostPoint]:  # fmt: skip
    """Every context on every machine with every stack, machine by machine; what is not given is the scenario's own.

    fit: each point on the smallest replica that holds it (see fitting). A series that is no valid scenario has points
    with the reason. Raises SpecError where none is, or where there are several groups of replicas.
    """
    base = of_one_kind(resolve_scenario(document))
    machines = [None] if hardware is None else hardware
    chosen = [None] if stacks is None else stacks
    points: list[CostPoint] = []
    for machine in machines:
        for stack in chosen:
            series = Series(machine or base.names.hardware, base.techniques if stack is None else stack)
            points += _series(document, series, _setting(machine, stack, fit), contexts, fit)
    if all(point.status == "refused" for point in points):
        raise SpecError(*(Fault(base.path, None, None, "", reason) for reason in dict.fromkeys(_reasons(points))))
    return points


def _reasons(points: Sequence[CostPoint]) -> Iterator[str]:
    return (point.reason for point in points if point.reason is not None)


def of_one_kind(scenario: Scenario) -> Scenario:
    """The scenario; raises SpecError where it has several groups of replicas."""
    if scenario.others:
        message = f"expected replicas of one kind, found {len(scenario.fleet)} groups; give --set deployment.groups=[]"
        raise SpecError(Fault(scenario.path, None, None, "deployment.groups", message))
    return scenario


def _setting(machine: str | None, stack: tuple[str, ...] | None, fit: bool) -> Setting:
    """What a series overrides; one that is fitted begins with one accelerator, which any machine has."""
    given = {"hardware": machine, "techniques": None if stack is None else list(stack)}
    ranks = {"deployment.tensor_parallel": 1} if fit else {}
    return tuple({**{key: value for key, value in given.items() if value is not None}, **ranks}.items())


def _series(
    document: Document, series: Series, setting: Setting, contexts: Sequence[int], fit: bool
) -> Iterator[CostPoint]:
    try:
        scenario = resolve_scenario(apply_overrides(document, dict(setting)))
    except SpecError as error:
        reason = "; ".join(f"{fault.field}: {fault.message}" for fault in error.faults)
        yield from (CostPoint(series, context, "refused", reason, None, None, None, {}) for context in contexts)
        return
    session, last = typical_session(scenario), None
    for context in contexts:
        point = _point(series, scenario, session_at(session, context), fit, last)
        last = point if point.cost is not None else last
        yield point


def _point(series: Series, scenario: Scenario, session: TypicalSession, fit: bool, last: CostPoint | None) -> CostPoint:
    served = fitted(scenario, session) if fit else scenario
    context = session.document_tokens
    reason = why_none(scenario, session) if served is None else infeasible_reason(CostModel(served), session)
    if served is None or reason is not None:
        return CostPoint(series, context, "infeasible", reason, served, None, None, {})
    cost, marginal_usd = session_cost(served, session), None
    if last is not None and last.cost is not None:
        more = (context - last.context_tokens) / PER_TOKENS
        marginal_usd = (cost.total.usd - last.cost.total.usd) / more
    elasticities = dict(_elasticities(served, session))
    return CostPoint(series, context, "ok", None, served, cost, marginal_usd, elasticities)


def _elasticities(scenario: Scenario, session: TypicalSession) -> Iterator[tuple[str, float | None]]:
    """By number of the machine; None where an end does not fit."""
    factors = {name: factor for name, factor in factors_of(scenario).items() if name in HARDWARE}
    for name, factor in factors.items():
        sides = [factor.scaled(scenario, by) for by in (1 / CHANGE_RATIO, CHANGE_RATIO)]
        low, high = (_usd(side, session) for side in sides)
        yield name, elasticity(low, high, factor.size(sides[1]) / factor.size(sides[0]), None)[0]


def _usd(scenario: Scenario, session: TypicalSession) -> float | None:
    cost = CostModel(scenario)
    return session_usd([cost], session) if infeasible_reason(cost, session) is None else None


def warnings_of(points: Sequence[CostPoint]) -> Iterator[str]:
    """What a reader of the points must know besides."""
    served = [point.scenario for point in points if point.scenario is not None]
    if served:
        longest, most = max(point.context_tokens for point in points), served[0].max_model_len
        if longest > most:
            yield f"contexts above max_model_len ({most:,} tokens) are priced as if they were served"
    if len({(point.series, *_deployed(point.scenario).values()) for point in points if point.cost is not None}) > len(
        {point.series for point in points if point.cost is not None}
    ):
        yield "replicas grow along a series: marginal dollars across such a step are those of another replica too"


def findings(points: Sequence[CostPoint]) -> list[str]:
    """A sentence a series: its ends, and what its cost follows most at each."""
    found = []
    for series in dict.fromkeys(point.series for point in points):
        priced = [point for point in points if point.series == series and point.cost is not None]
        name = series.hardware if series.stack == NONE else f"{series.hardware} with {series.stack}"
        found.append(f"{name}: {_ends(priced)}")
    return found


def _ends(priced: Sequence[CostPoint]) -> str:
    if not priced:
        return "nothing that could be served"
    first, last = priced[0], priced[-1]
    assert first.cost is not None
    assert last.cost is not None
    words = [f"{point.cost.total.usd:.4g} USD a session at {point.context_tokens:,} tokens ({_most(point)})"
             for point in (first, last) if point.cost is not None]  # fmt: skip
    if first is last:
        return words[0]
    ratio = f", {last.cost.total.usd / first.cost.total.usd:.4g} times as much" if first.cost.total.usd else ""
    share = last.context_tokens / first.context_tokens
    return f"{words[0]}, {words[1]}{ratio} for {share:.4g} times the context"


def _most(point: CostPoint) -> str:
    if not point.follows:
        return "follows no number of the machine"
    name, slope = point.follows[0]
    return f"follows {name} most, by {slope:+.2f}"


def _fault(option: str, text: str, message: str) -> SpecError:
    return SpecError(Fault(f"{option} {shorten(text)}", None, None, "", message))

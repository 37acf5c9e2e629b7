"""The residency map: the cheapest choice over context and idle time, and over link, price and hit probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import exp, log
from typing import Any

from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.explore.factors import HARDWARE
from ctxsim.explore.residency.choices import Held, Limits
from ctxsim.explore.residency.crossing import Crossing, crossings
from ctxsim.explore.vary import grid_points, parse_axis
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions
from ctxsim.units import SECONDS_PER_HOUR, parse

LEAST_CONTEXT, CONTEXTS = 1_000, 31
IDLES = "log:0.1 s:86400 s:37"
"""The axes unless told, in equal ratios: contexts from so many tokens to the longest, and idle times to a day."""

MARKED_CONTEXTS = (4_096, 16_384, 50_000, 131_072, 200_000, 500_000, 1_000_000)
MARKED_IDLES_S = (60.0, 600.0, 1200.0, 1800.0, SECONDS_PER_HOUR)
"""What limits and break-even contexts are listed for, beside the scenario's own."""


@dataclass(frozen=True)
class Panel:
    """One map: its scenario, link and price multiplied; return_ratio: the chance that a user comes back."""

    scenario: Scenario
    link_ratio: float
    price_ratio: float
    return_ratio: float
    held: tuple[Held, ...]


@dataclass(frozen=True)
class ResidencyMap:
    """Every point of the map, its limits in closed form, and the context lengths where swap and recompute break even.

    own_tokens, own_idle_s: those of the scenario's first gap; None where its sessions have none. left_out: contexts
    that were asked for and do not fit the KV pool.
    """

    scenario: Scenario
    contexts: tuple[int, ...]
    idles_s: tuple[float, ...]
    panels: tuple[Panel, ...]
    own_tokens: int | None
    own_idle_s: float | None
    limits: tuple[Limits, ...]
    crossings: tuple[Crossing, ...]
    left_out: int

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row a point, contexts slowest."""
        return [row for panel in self.panels for row in _rows(panel, self.idles_s)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the map."""
        found = list(self.scenario.warnings)
        if not self.scenario.serving.host_kv_capacity:
            found.append(
                "serving.host_kv_capacity is 0 B: the map has no host memory to swap to; set some to see where it pays"
            )
        if self.left_out:
            found.append(f"{self.left_out} contexts are left out: their KV is larger than the whole KV pool")
        return tuple(found)


def residency_map(
    scenario: Scenario, *, contexts: str | None = None, idles: str | None = None,
    link_ratios: Sequence[float] = (1.0,), price_ratios: Sequence[float] = (1.0,),
    return_ratios: Sequence[float] = (1.0,),
) -> ResidencyMap:  # fmt: skip
    """The map of a scenario's first group of replicas.

    contexts, idles: axes as after ``--vary KEY=``; from 1,000 tokens to the longest context, and from 0.1 s to a day
    unless told. link_ratios, price_ratios: of the host link and of the accelerator's price. Raises InfeasibleError
    where no session fits, SpecError for values that make no sense.
    """
    first = scenario.fleet[0]
    cost = CostModel(first)
    _check(cost, link_ratios, price_ratios, return_ratios)
    wanted = _contexts(first, contexts)
    fitting = tuple(tokens for tokens in wanted if cost.layout.held_bytes(tokens) <= cost.memory.kv_capacity_bytes)
    if not fitting:
        message = f"expected a context whose KV fits the pool, found {min(wanted):,} tokens and more; ask for less"
        raise SpecError(Fault("", None, None, "contexts", message))
    idles_s = _idles_s(idles or IDLES)
    tokens, idle_s = _own(first)
    panels = tuple(
        _panel(first, fitting, *ratios) for ratios in product(link_ratios, price_ratios, return_ratios)
    )  # fmt: skip
    marked = sorted(
        {*(mark for mark in MARKED_CONTEXTS if fitting[0] <= mark <= fitting[-1]), *(filter(None, [tokens]))}
    )
    held = held_at(first, marked)
    at_s = MARKED_IDLES_S[0] if idle_s is None else idle_s
    return ResidencyMap(
        scenario, fitting, idles_s, panels, tokens, idle_s,
        limits=tuple(one.limits(at_s, ratio) for ratio in return_ratios for one in held),
        crossings=tuple(crossings(first, fitting, sorted({at_s, *MARKED_IDLES_S}))),
        left_out=len(wanted) - len(fitting),
    )  # fmt: skip


def held_at(scenario: Scenario, contexts: Sequence[int]) -> list[Held]:
    """The KV of each context on a replica of the scenario."""
    cost = CostModel(scenario)
    prices, session = GapPrices(scenario, cost), typical_session(scenario)
    return [Held.of(cost, prices, session, tokens) for tokens in contexts]


def _panel(scenario: Scenario, contexts: Sequence[int], link: float, price: float, return_ratio: float) -> Panel:
    changed = HARDWARE["host_link_bytes_per_s"].scaled(scenario, link) if link != 1 else scenario
    changed = HARDWARE["accelerator_usd_per_s"].scaled(changed, price) if price != 1 else changed
    return Panel(changed, link, price, return_ratio, tuple(held_at(changed, contexts)))


def _rows(panel: Panel, idles_s: Sequence[float]) -> Iterator[dict[str, Any]]:
    about = {
        "link_ratio": panel.link_ratio, "price_ratio": panel.price_ratio, "return_ratio": panel.return_ratio,
    }  # fmt: skip
    for held in panel.held:
        for idle_s in idles_s:
            usd = held.usd(idle_s, panel.return_ratio)
            costs = {f"{name}_usd": usd.get(name) for name in ("keep", "swap", "disk", "recompute")}
            choice = held.least(idle_s, panel.return_ratio)
            yield {"context_tokens": held.tokens, "idle_s": idle_s, **about, "choice": choice, **costs}


def _own(scenario: Scenario) -> tuple[int | None, float | None]:
    """Context and idle time of the scenario's first gap."""
    session = typical_session(scenario)
    if not isinstance(scenario.workload, Sessions) or session.rounds == 1:
        return None, None
    return session.known_tokens, session.think_s


def _contexts(scenario: Scenario, text: str | None) -> tuple[int, ...]:
    """The contexts asked for; none longer than what is served."""
    longest = scenario.max_model_len
    if text is None:
        least = min(LEAST_CONTEXT, longest)
        steps = CONTEXTS - 1 if longest > least else 0
        ratio = log(longest / least) / steps if steps else 0.0
        return tuple(sorted({round(least * exp(ratio * step)) for step in range(steps + 1)}))
    values = _values("contexts", text)
    if not all(isinstance(value, int) and 0 < value <= longest for value in values):
        wanted = f"expected whole numbers of tokens from 1 to max_model_len ({longest:,})"
        raise SpecError(
            Fault("", None, None, "contexts", f'{wanted}, found "{text}"; write e.g. log:1000:{longest}:20')
        )
    return tuple(sorted(int(str(value)) for value in values))


def _idles_s(text: str) -> tuple[float, ...]:
    return tuple(sorted(parse(str(value), "seconds") for value in _values("idles", text)))


def _values(name: str, text: str) -> list[object]:
    """The values of an axis as after ``--vary KEY=``; raises SpecError for none."""
    return [value for ((_, value),) in grid_points([parse_axis(f"{name}={text}")])]


def _check(cost: CostModel, links: Sequence[float], prices: Sequence[float], returns: Sequence[float]) -> None:
    """Raises InfeasibleError where nothing fits, SpecError for every ratio that is none."""
    reason = infeasible_reason(cost, typical_session(cost.scenario))
    if cost.memory.kv_capacity_bytes <= 0:
        raise InfeasibleError(reason or "there is no room for KV in HBM")
    faults = [
        Fault("", None, None, name, f"expected a ratio above 0, found {value:g}; 1 is the scenario's own")
        for name, values in (("link_ratios", links), ("price_ratios", prices))
        for value in values
        if not value > 0
    ]
    faults += [
        Fault("", None, None, "return_ratios", f"expected a share from 0 to 1, found {value:g}; 1: everyone comes back")
        for value in returns
        if not 0 <= value <= 1
    ]
    if faults:
        raise SpecError(*faults)

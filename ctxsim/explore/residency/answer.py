"""A residency map and what goes with it, as one value: what is printed, saved and described by a schema."""

from __future__ import annotations

from dataclasses import dataclass, field

from ctxsim.explore.residency.check import Checked
from ctxsim.explore.residency.choices import Limits
from ctxsim.explore.residency.crossing import Crossing
from ctxsim.explore.residency.formulas import Formula, formulas
from ctxsim.explore.residency.machines import MachineLimits
from ctxsim.explore.residency.map import ResidencyMap, held_at


@dataclass(frozen=True)
class ResidencyAnswer:
    """The result of ``ctxsim residency``. rows: a point each, with what every choice costs there.

    own_tokens, own_idle_s: context and idle time of the scenario's first gap; own_choice: the cheapest there. formulas:
    for that context, or the longest mapped. check: points that were simulated.
    """

    own_tokens: int | None
    own_idle_s: float | None
    own_choice: str | None
    own_usd: dict[str, float] | None
    formulas: tuple[Formula, ...]
    limits: tuple[Limits, ...]
    crossings: tuple[Crossing, ...]
    rows: tuple[dict[str, float | str | None], ...]
    machines: tuple[MachineLimits, ...] = field(default=())
    check: tuple[Checked, ...] = field(default=())


def answer_of(
    mapped: ResidencyMap, machines: tuple[MachineLimits, ...] = (), check: tuple[Checked, ...] = ()
) -> ResidencyAnswer:
    """The map's answer."""
    tokens, idle_s = mapped.own_tokens, mapped.own_idle_s
    (held,) = held_at(mapped.scenario.fleet[0], [tokens or mapped.contexts[-1]])
    known = tokens is not None and idle_s is not None
    return ResidencyAnswer(
        own_tokens=tokens,
        own_idle_s=idle_s,
        own_choice=held.least(idle_s) if known and idle_s is not None else None,
        own_usd=held.usd(idle_s) if known and idle_s is not None else None,
        formulas=tuple(formulas(held)),
        limits=mapped.limits,
        crossings=mapped.crossings,
        rows=tuple(mapped.rows),
        machines=machines,
        check=check,
    )

"""How much sessions per hour and dollars per session follow each number of a scenario: elasticities and a tornado.

An elasticity is the slope on logarithms: log(y(up) / y(down)) / log(up / down), each number made larger and smaller by
the same ratio (whole numbers as far as they can), all else equal. In closed form it is that of the tightest bound,
which says what binds; simulated, with the same draws at both ends, that of what is served under the load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.executors import Executor, answers, local
from ctxsim.explore.factors import factors_of
from ctxsim.explore.outcomes import By, Outcome, Trial
from ctxsim.spec.scenario import Scenario

OUTCOMES = {
    "analyze": ("sessions_per_hour_bound", "cost_usd_per_session", "concurrent_sessions", "prefill_s", "decode_step_s"),
    "simulate": ("sessions_per_hour", "cost_usd_per_session", "ttft_p95_s", "tpot_p95_s"),
}
"""What is followed, by method."""

CHANGE_RATIO = 1.25
"""By how much a number is made larger and smaller, unless told."""


@dataclass(frozen=True)
class Effect:
    """What one number does to one outcome. low, base, high: the outcome with the number smaller, as it is, larger.

    elasticity: None where it has none: an end cannot be served, or comes to nothing, as reason says.
    """

    factor: str
    outcome: str
    low: float | None
    base: float | None
    high: float | None
    elasticity: float | None
    reason: str | None


def sensitivity(
    scenario: Scenario, *, by: By = "analyze", ratio: float = CHANGE_RATIO, executor: Executor | None = None
) -> list[Effect]:
    """Every number's effect on every outcome; of each outcome the strongest first."""
    if not ratio > 1:
        raise SpecError(Fault("", None, None, "ratio", f"expected a ratio above 1, found {ratio:g}; write e.g. 1.25"))
    factors = factors_of(scenario)
    sides = {name: [one.scaled(scenario, by_what) for by_what in (1 / ratio, ratio)] for name, one in factors.items()}
    trials = [Trial(one, by) for one in (scenario, *(side for both in sides.values() for side in both))]
    base, *found = answers(trials, executor or local(1))
    effects: list[Effect] = []
    for place, (name, (low, high)) in enumerate(sides.items()):
        reached = factors[name].size(high) / factors[name].size(low)
        effects += _effects(name, (found[2 * place], base, found[2 * place + 1]), OUTCOMES[by], reached)
    order = list(OUTCOMES[by])
    return sorted(effects, key=lambda effect: (order.index(effect.outcome), -abs(effect.elasticity or 0.0)))


def _effects(
    factor: str, found: tuple[Outcome, Outcome, Outcome], names: Sequence[str], ratio: float
) -> Iterator[Effect]:
    """Effects of a number on outcomes, found with it smaller, as it is and larger: by that ratio between the ends."""
    reason = next((one.reason for one in found if one.status != "ok"), None)
    for name in names:
        low, base, high = (one.row.get(name) if one.status == "ok" else None for one in found)
        yield Effect(factor, name, low, base, high, *elasticity(low, high, ratio, reason))


def elasticity(
    low: float | None, high: float | None, ratio: float, reason: str | None
) -> tuple[float | None, str | None]:
    """The slope on logarithms between two ends, numbers of that ratio; or None, and why there is none."""
    if low is None or high is None:
        return None, reason or "it has no value at one end"
    if low <= 0 or high <= 0:
        return None, "it is zero at one end"
    if ratio <= 1:
        return None, "the number is too small to be changed by this ratio: whole numbers stay whole"
    return log(high / low) / log(ratio), None

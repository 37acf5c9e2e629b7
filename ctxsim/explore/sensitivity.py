"""How much sessions per hour and dollars per session follow each number of a scenario: elasticities and a tornado.

An elasticity is the slope on logarithms: log(y(up) / y(down)) / log(up / down), each number made larger and smaller by
the same ratio, all else equal. In closed form it is that of the tightest bound, which says what binds; simulated, with
the same draws at both ends, that of what is served under the load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from ctxsim.explore.executors import Executor, local
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

    elasticity: None where an end cannot be served, then with a reason.
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
    factors = factors_of(scenario)
    scenarios = [scenario, *(make(scenario, f) for make in factors.values() for f in (1 / ratio, ratio))]
    trials = [(number, Trial(one, by)) for number, one in enumerate(scenarios)]
    found = dict((executor or local(1))([[trial] for trial in trials]))
    effects = [
        effect
        for place, name in enumerate(factors)
        for effect in _effects(name, found[0], found[1 + 2 * place], found[2 + 2 * place], OUTCOMES[by], ratio)
    ]
    order = list(OUTCOMES[by])
    return sorted(effects, key=lambda effect: (order.index(effect.outcome), -abs(effect.elasticity or 0.0)))


def _effects(
    factor: str, base: Outcome, low: Outcome, high: Outcome, names: Sequence[str], ratio: float
) -> Iterator[Effect]:
    reason = next((one.reason for one in (base, low, high) if one.status != "ok"), None)
    for name in names:
        at = [one.row.get(name) if one.status == "ok" else None for one in (low, base, high)]
        yield Effect(factor, name, at[0], at[1], at[2], _elasticity(at[0], at[2], ratio), reason)


def _elasticity(low: float | None, high: float | None, ratio: float) -> float | None:
    if low is None or high is None or low <= 0 or high <= 0:
        return None
    return log(high / low) / log(ratio * ratio)

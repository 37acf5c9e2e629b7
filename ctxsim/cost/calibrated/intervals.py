"""From the spreads of fits to intervals of whatever follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import exp, log, sqrt

from ctxsim.cost.calibrated.bands import family_spreads
from ctxsim.spec.scenario import Scenario

TWO_SIDED_90 = 1.645
"""Standard deviations of a normal distribution on either side of its mean that hold 90 % of it."""

Numbers = Mapping[str, float]


def intervals(
    scenario: Scenario, context_tokens: int, known: Numbers, outcome: Callable[[Scenario], Numbers]
) -> dict[str, tuple[float, float]]:
    """Intervals that hold 90 % of each number of an outcome, as far as the calibration's errors go; known: the outcome.

    Each family of the first group's calibration is made slower by its spread, all else equal; the changes of an outcome
    add up as those of independent errors do. First order: outcome x exp(+- 1.645 sqrt(sum of squared log changes)).
    """
    assert scenario.calibration is not None
    squares = dict.fromkeys(known, 0.0)
    for family, spread in family_spreads(scenario, context_tokens).items():
        slower = replace(scenario, calibration=scenario.calibration.scaled(family, exp(spread)))
        for key, value in outcome(slower).items():
            if value > 0 and known.get(key, 0.0) > 0:
                squares[key] += log(value / known[key]) ** 2
    widths = {key: exp(TWO_SIDED_90 * sqrt(square)) for key, square in squares.items()}
    return {key: (value / widths[key], value * widths[key]) for key, value in known.items()}

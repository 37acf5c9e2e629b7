"""How likely the SLO holds: the same fleet with other draws, and with times as wrong as the calibration's fits may be.

Of n runs k meet the SLO; with nothing known before (a uniform prior) the probability is (k + 1) / (n + 2), and its 95 %
interval is Wilson's. At fidelity peak times are lower bounds, and only draws vary:
where nothing is drawn either, every run is the same and says nothing of how likely anything is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np

from ctxsim.analysis import analyze
from ctxsim.cost.calibrated.bands import family_spreads
from ctxsim.explore.executors import Executor, answers
from ctxsim.explore.load import is_drawn
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.goal import meets
from ctxsim.explore.plan.search import Fleet
from ctxsim.sim.replications import replication_seeds, reseeded
from ctxsim.spec.scenario import Scenario

ERRORS_KEY = 7
"""Sets the draws of errors apart from those of workloads."""

Z95 = 1.959963984540054
"""What a standard normal number stays within, on both sides, 95 times of 100."""


@dataclass(frozen=True)
class Confidence:
    """met of runs; probability with its interval, None where nothing is drawn, so that there is but one run.

    errors: whether those of the calibration's fits were drawn too.
    """

    runs: int
    met: int
    probability_ratio: float | None
    low_ratio: float | None
    high_ratio: float | None
    errors: bool


def confidence_of(fleet: Fleet, runs: int, executor: Executor) -> Confidence:
    """So many runs, each with a seed of its own and, at fidelity calibrated, with errors of its own."""
    scenario = fleet.scenario
    errors = scenario.calibration is not None
    if not errors and not is_drawn(scenario):
        return Confidence(1, int(fleet.meets), None, None, None, errors)
    outcomes = answers([Trial(one) for one in _variants(scenario, runs)], executor)
    met = sum(meets(scenario.slo, outcome) for outcome in outcomes)
    low, high = wilson(met, runs)
    return Confidence(runs, met, (met + 1) / (runs + 2), low, high, errors)


def wilson(met: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    share, square = met / runs, Z95 * Z95 / runs
    middle = (share + square / 2) / (1 + square)
    half = Z95 * sqrt(share * (1 - share) / runs + square / (4 * runs)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def _variants(scenario: Scenario, runs: int) -> Iterator[Scenario]:
    for number, seed in enumerate(replication_seeds(scenario.run.seed, runs)):
        one = reseeded(scenario, seed)
        yield one if scenario.calibration is None else _with_errors(one, np.random.default_rng([ERRORS_KEY, number]))


def _with_errors(scenario: Scenario, rng: np.random.Generator) -> Scenario:
    """The scenario with the times of each family off by a draw of its spread."""
    calibration = scenario.calibration
    assert calibration is not None
    tokens = max(1, analyze(scenario).session.document_tokens)
    for family, spread in sorted(family_spreads(scenario, tokens).items()):
        calibration = calibration.scaled(family, exp(spread * float(rng.standard_normal())))
    return replace(scenario, calibration=calibration)

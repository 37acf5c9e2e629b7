"""How likely the SLO holds: the same fleet with other draws, and with times as wrong as the calibration's fits may be.

Of n runs k meet the SLO; with nothing known before (a uniform prior) the probability is (k + 1) / (n + 2), and its 95 %
interval is Wilson's. At fidelity peak times are lower bounds, and only draws vary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np

from ctxsim.analysis import analyze
from ctxsim.cost.calibrated.bands import family_spreads
from ctxsim.explore.executors import Executor
from ctxsim.explore.outcomes import Outcome, Trial
from ctxsim.explore.plan.pilot import MET
from ctxsim.sim.replications import replication_seeds, reseeded
from ctxsim.spec.scenario import Scenario

ERRORS_KEY = 7
"""Sets the draws of errors apart from those of workloads."""

Z95 = 1.96
FIRST = 2


@dataclass(frozen=True)
class Confidence:
    """met of runs; probability with its interval. errors: whether those of fits were drawn too. same: all runs are."""

    runs: int
    met: int
    probability_ratio: float
    low_ratio: float
    high_ratio: float
    errors: bool
    same: bool


def confidence_of(scenario: Scenario, runs: int, executor: Executor) -> Confidence:
    """So many runs, each with a seed of its own and, at fidelity calibrated, with errors of its own."""
    trials = [Trial(one) for one in _variants(scenario, runs)]
    outcomes = _answers(trials[:FIRST], executor)
    same = outcomes[0] == outcomes[-1]
    # Where two runs are the same in all, nothing is drawn, and the others would be the same too.
    outcomes += outcomes[:1] * (runs - FIRST) if same else _answers(trials[FIRST:], executor)
    met = sum(outcome.status == "ok" and outcome.row[MET] == 1.0 for outcome in outcomes)
    low, high = wilson(met, runs)
    return Confidence(runs, met, (met + 1) / (runs + 2), low, high, scenario.calibration is not None, same)


def _answers(trials: Sequence[Trial], executor: Executor) -> list[Outcome]:
    found = dict(executor([[(i, trial)] for i, trial in enumerate(trials)]))
    return [found[i] for i in range(len(trials))]


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

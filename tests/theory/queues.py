"""A replica as a single server: one sequence at a time, each served by one iteration of prefill."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import cast

import numpy as np
from support.cases import engine, stub_cost
from support.sources import ListSource, at

from ctxsim.cost import CostModel, Law
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal

# Student's t, 99.5 % quantile, 19 degrees of freedom: a two-sided 99 % interval from 20 replications.
REPLICATIONS = 20
T_995 = 2.8609


@dataclass(frozen=True)
class Visit:
    """What a single server did: arrivals and services in order, and what was simulated of them."""

    arrival_s: np.ndarray
    service_s: np.ndarray
    wait_s: np.ndarray
    sojourn_s: np.ndarray
    journal: Journal


def serve(arrival_s: np.ndarray, prompt_tokens: np.ndarray, service_s: np.ndarray, law: Law) -> Visit:
    """Requests without output on one seat: each is served in a single iteration, first come first served.

    ``service_s``: what the law gives each of the prompts.
    """
    demands = [at(float(t), int(p), 0, index=i) for i, (t, p) in enumerate(zip(arrival_s, prompt_tokens, strict=True))]
    scenario = engine(max_num_seqs=1, max_num_batched_tokens=10**9)
    journal = Cluster(scenario, cast(CostModel, stub_cost(law=law)), ListSource(demands)).run()
    finished = sorted(journal.finished, key=lambda r: r.index)
    wait_s = np.array([r.admitted_s - r.arrival_s for r in finished])
    sojourn_s = np.array([r.finished_s - r.arrival_s for r in finished])
    return Visit(arrival_s, service_s, wait_s, sojourn_s, journal)


def lindley(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Waits of a single server, first come first served: W' = max(0, W + S - A) (Lindley 1952)."""
    waits = [0.0]
    for service, gap in zip(service_s, np.diff(arrival_s), strict=False):
        waits.append(max(0.0, waits[-1] + float(service) - float(gap)))
    return np.array(waits)


def poisson_arrivals(rng: np.random.Generator, rate_per_s: float, number: int) -> np.ndarray:
    """Times of a Poisson process."""
    return np.cumsum(rng.exponential(1 / rate_per_s, number))


def interval(means: list[float]) -> tuple[float, float]:
    """The 99 % confidence interval of a mean, as centre and half width, from independent replications."""
    assert len(means) == REPLICATIONS
    return float(np.mean(means)), T_995 * float(np.std(means, ddof=1)) / sqrt(len(means))

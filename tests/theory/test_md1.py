"""Poisson arrivals at a server of constant time (M/D/1), against Pollaczek and Khinchine, Lindley and Little."""

from __future__ import annotations

import numpy as np
import pytest
from queues import REPLICATIONS, Visit, interval, lindley, poisson_arrivals, serve
from support.laws import ConstantLaw

SERVICE_S = 0.25
# Requests that are not counted, so that the queue forgets that it began empty: at these loads it is empty again every
# few services.
WARMUP, COUNTED = 300, 1500


def visit(seed: int, load: float) -> Visit:
    rng = np.random.default_rng(seed)
    number = WARMUP + COUNTED
    arrival_s = poisson_arrivals(rng, load / SERVICE_S, number)
    return serve(arrival_s, np.ones(number), np.full(number, SERVICE_S), ConstantLaw(SERVICE_S))


@pytest.mark.parametrize("load", [0.4, 0.75])
def test_mean_wait(load: float) -> None:
    """rho / (2 mu (1 - rho)) lies in the interval from independent replications, which is no wide one."""
    expected_s = load * SERVICE_S / (2 * (1 - load))
    mean_s, half_s = interval([float(np.mean(visit(seed, load).wait_s[WARMUP:])) for seed in range(REPLICATIONS)])
    assert half_s < 0.15 * expected_s
    assert abs(mean_s - expected_s) < half_s


@pytest.mark.parametrize("load", [0.4, 0.95, 1.3])
def test_every_wait_is_lindley_s(load: float) -> None:
    found = visit(7, load)
    assert found.wait_s == pytest.approx(lindley(found.arrival_s, found.service_s), rel=1e-9, abs=1e-9)
    assert found.sojourn_s == pytest.approx(found.wait_s + SERVICE_S, rel=1e-9)


@pytest.mark.parametrize("load", [0.4, 0.95])
def test_little(load: float) -> None:
    """On every path: requests in service over time are services, and requests in the system are times in it."""
    found = visit(11, load)
    served_s = sum(row[2] * row[3] * row[5] for row in found.journal.runs)
    assert served_s == pytest.approx(len(found.arrival_s) * SERVICE_S, rel=1e-9)
    ends_s = found.arrival_s + found.sojourn_s
    assert area_under(found.arrival_s, ends_s) == pytest.approx(float(np.sum(found.sojourn_s)), rel=1e-9)
    # The queue at the end of each service is those who came before it and have not been served.
    waiting = [row[9] for row in found.journal.runs]
    assert waiting == [int(np.sum(found.arrival_s <= end_s)) - i - 1 for i, end_s in enumerate(ends_s)]


def area_under(arrival_s: np.ndarray, end_s: np.ndarray) -> float:
    """The integral of the number in the system over time."""
    times_s = np.concatenate([arrival_s, end_s])
    steps = np.concatenate([np.ones(len(arrival_s)), -np.ones(len(end_s))])
    order = np.argsort(times_s)
    number = np.cumsum(steps[order])
    return float(np.sum(number[:-1] * np.diff(times_s[order])))

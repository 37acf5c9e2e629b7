"""Closed forms of queueing theory (Kleinrock, Queueing Systems I, 1975, where nothing else is said)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial

import numpy as np


def waiting_s(rate_per_s: float, mean_s: float, mean_square_s2: float) -> float:
    """Mean wait of M/G/1, first come first served (Pollaczek and Khinchine)."""
    return rate_per_s * mean_square_s2 / (2 * (1 - rate_per_s * mean_s))


def erlang_c(servers: int, offered: float) -> float:
    """The probability to wait in M/M/c; ``offered``: mean number of busy servers."""
    busy = offered**servers / factorial(servers) * servers / (servers - offered)
    return busy / (sum(offered**n / factorial(n) for n in range(servers)) + busy)


def birth_death(births_per_s: Sequence[float], deaths_per_s: Sequence[float]) -> np.ndarray:
    """Stationary probabilities of 0, 1, ...: from n to n + 1 at births[n], and back at deaths[n]."""
    weights = np.cumprod(np.append(1.0, np.asarray(births_per_s) / np.asarray(deaths_per_s)))
    return np.asarray(weights / weights.sum())


def erlang_interarrival_wait_s(stages: int, rate_per_s: float, service_s: float) -> float:
    """Mean wait of E_c/M/1, what each server of M/M/c sees that gets every c-th arrival (``rate_per_s``: of these).

    An arrival finds n before it with probability (1 - x) x^n, x = A(mu (1 - x)), A the transform of the interarrival
    time.
    """
    mu, stage_per_s, x = 1 / service_s, stages * rate_per_s, 0.5
    for _ in range(10_000):
        x = (stage_per_s / (stage_per_s + mu * (1 - x))) ** stages
    return x / (mu * (1 - x))


def shortest_remaining_s(rate_per_s: float, density: Callable[[np.ndarray], np.ndarray], longest_s: float) -> float:
    """Mean time in M/G/1 under shortest remaining time first (Schrage and Miller 1966), by the trapezium rule.

    For a service of x: lambda (int_0^x t^2 f + x^2 (1 - F(x))) / (2 (1 - rho(x))^2) + int_0^x dt / (1 - rho(t)).
    """
    x = np.linspace(0.0, longest_s, 200_001)
    f = density(x)

    def integral(values: np.ndarray) -> np.ndarray:
        return np.append(0.0, np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(x)))

    idle = 1 - rate_per_s * integral(x * f)
    waiting = rate_per_s * (integral(x**2 * f) + x**2 * (1 - integral(f))) / (2 * idle**2)
    return float(integral((waiting + integral(1 / idle)) * f)[-1])

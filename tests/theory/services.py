"""Distributions of service times, and arrivals at queues that had been serving for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np
from formulas import birth_death

Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Service:
    """Service times: the first two moments, draws of them, and of what is left of one found under way.

    What is left has the density (1 - F(x)) / E[S]: a uniform part of a service drawn in proportion to its length.
    """

    name: str
    mean_square_s2: float
    draw: Draw
    draw_left: Draw
    mean_s: float = 1.0


@dataclass(frozen=True)
class Path:
    """Requests in order of arrival: the first ``present`` of them are there at time 0, the others come until
    ``until_s``, ``number`` of them on average."""

    arrival_s: np.ndarray
    service_s: np.ndarray
    until_s: float
    number: int
    present: int = 0

    def mean(self, values: np.ndarray, expected: float) -> float:
        """An estimate of the mean of a value of each arrival that is ``expected`` on average if that is the mean.

        An arrival of a Poisson process finds its queue as any moment does, but the mean over those who came is not
        without bias: more of them make a longer queue. The sum of what they are off by is (Campbell and Mecke).
        """
        return expected + float(np.sum(values[self.present :] - expected)) / self.number


SPREAD = sqrt(log(2.0))
"""Of a lognormal that varies as much as an exponential: E[S^2] = 2 E[S]^2."""
SHORT_S, LONG_S, SHORT_SHARE = 0.25, 4.0, 0.8

EXPONENTIAL = Service(
    "exponential", 2.0, lambda rng, n: rng.exponential(1.0, n), lambda rng, n: rng.exponential(1.0, n)
)
CONSTANT = Service("constant", 1.0, lambda rng, n: np.ones(n), lambda rng, n: rng.random(n))
LOGNORMAL = Service(
    "lognormal",
    exp(SPREAD**2),
    lambda rng, n: rng.lognormal(-(SPREAD**2) / 2, SPREAD, n),
    # In proportion to its length, a lognormal is one with its mean of logarithms moved by the variance.
    lambda rng, n: rng.random(n) * rng.lognormal(SPREAD**2 / 2, SPREAD, n),
)
TWO_LENGTHS = Service(
    "two lengths",
    SHORT_SHARE * SHORT_S**2 + (1 - SHORT_SHARE) * LONG_S**2,
    lambda rng, n: np.where(rng.random(n) < SHORT_SHARE, SHORT_S, LONG_S),
    lambda rng, n: rng.random(n) * np.where(rng.random(n) < SHORT_SHARE * SHORT_S, SHORT_S, LONG_S),
)


def poisson_path(rng: np.random.Generator, rate_per_s: float, service: Service, number: int) -> Path:
    """Poisson arrivals at an empty queue, that many on average."""
    until_s = number / rate_per_s
    arrival_s = np.sort(rng.uniform(0, until_s, rng.poisson(number)))
    return Path(arrival_s, service.draw(rng, len(arrival_s)), until_s, number)


def busy_path(rng: np.random.Generator, load: float, service: Service, number: int) -> Path:
    """Poisson arrivals at one server, first come first served, that had been serving for ever.

    The work that is there is a request of its own: a geometric number of services under way, one behind the other
    (Pollaczek and Khinchine).
    """
    path = poisson_path(rng, load / service.mean_s, service, number)
    work_s = float(service.draw_left(rng, rng.geometric(1 - load) - 1).sum())
    return _preceded(path, np.array([work_s] if work_s else []))


def exponential_path(rng: np.random.Generator, load: float, servers: int, number: int) -> Path:
    """Poisson arrivals at exponential servers with one queue that had been serving for ever.

    Those who are there are as many as M/M/c has, and need a new exponential each, whoever is being served.
    """
    rate_per_s, longest = load * servers, 400
    births, deaths = [rate_per_s] * longest, [min(n, servers) for n in range(1, longest + 1)]
    present = rng.choice(longest + 1, p=birth_death(births, deaths))
    return _preceded(poisson_path(rng, rate_per_s, EXPONENTIAL, number), EXPONENTIAL.draw(rng, present))


def shared_path(rng: np.random.Generator, load: float, service: Service, number: int) -> Path:
    """Poisson arrivals at a shared server that had been serving for ever: a geometric number is there, each with what
    is left of a service (Kleinrock, Queueing Systems II, 1976)."""
    present = rng.geometric(1 - load) - 1
    return _preceded(poisson_path(rng, load / service.mean_s, service, number), service.draw_left(rng, present))


def _preceded(path: Path, left_s: np.ndarray) -> Path:
    """The path with requests that are there at time 0."""
    arrival_s, service_s = np.append(np.zeros(len(left_s)), path.arrival_s), np.append(left_s, path.service_s)
    return replace(path, arrival_s=arrival_s, service_s=service_s, present=len(left_s))

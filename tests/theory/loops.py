"""Closed loops of users who think, wait and are served (machine repairman, M/M/c//N)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from formulas import birth_death
from queues import in_tokens

# Requests of a replication. Chance is small in a closed loop: who waits does not ask.
REQUESTS = 500


class Size(NamedTuple):
    """Users, how long they think, and how many servers serve them, for a second on average."""

    users: int
    think_s: float
    servers: int = 1

    def numbers(self) -> np.ndarray:
        """The share of time with 0, 1, ... users waiting or served: N - n of them think."""
        thinking = [self.users - n for n in range(self.users)]
        return birth_death(
            [n / self.think_s for n in thinking], [min(n, self.servers) for n in range(1, self.users + 1)]
        )

    @property
    def busy(self) -> float:
        """Mean number of busy servers, and requests a second."""
        return float(sum(p * min(n, self.servers) for n, p in enumerate(self.numbers())))

    @property
    def response_s(self) -> float:
        """Mean time from request to answer: that of a round, N over the requests a second, without the thought."""
        return self.users / self.busy - self.think_s

    @property
    def horizon_s(self) -> float:
        """The time of so many requests."""
        return REQUESTS / self.busy


class Thinkers:
    """Users of a closed loop, of whom so many wait when it begins, and the others' thought is under way."""

    def __init__(self, rng: np.random.Generator, size: Size, waiting: int = 0) -> None:
        self._think_s = size.think_s
        self._waiting = waiting
        self._seeds = rng.integers(2**63, size=size.users)

    @classmethod
    def settled(cls, rng: np.random.Generator, size: Size) -> Thinkers:
        """Of a loop that had been going for ever."""
        return cls(rng, size, waiting=rng.choice(size.users + 1, p=size.numbers()))

    def times(self) -> list[Iterator[tuple[float, float]]]:
        """Think and service times of each user; the same every time that one asks."""
        return [self._times(user) for user in range(len(self._seeds))]

    def _times(self, user: int) -> Iterator[tuple[float, float]]:
        rng = np.random.default_rng(self._seeds[user])
        if user < self._waiting:
            yield 0.0, in_tokens(rng.exponential())
        while True:
            yield rng.exponential(self._think_s), in_tokens(rng.exponential())

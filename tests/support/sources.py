"""Sources that release exactly the requests a test lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from ctxsim.workload.demand import Demand

Lengths = tuple[int, int]
"""Prompt and output tokens."""


class ListSource:
    """Requests that arrive at given times, whether or not earlier ones were answered."""

    warnings: tuple[str, ...] = ()
    releases = False

    def __init__(self, demands: Sequence[Demand]) -> None:
        self._demands = demands

    @property
    def num_requests(self) -> int | None:
        """The length of the list."""
        return len(self._demands)

    def initial(self) -> Iterator[Demand]:
        """The list."""
        return iter(self._demands)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """None: no request waits for another."""
        return ()


class UserSource:
    """Users who each work through a list of requests, a think time after every answer; all begin at 0."""

    warnings: tuple[str, ...] = ()
    releases = True

    def __init__(self, users: Sequence[Sequence[Lengths]], think_s: float) -> None:
        self._users = [iter(lengths) for lengths in users]
        self._num_requests = sum(len(lengths) for lengths in users)
        self._think_s = think_s
        self._indices = count()

    @property
    def num_requests(self) -> int | None:
        """Requests of all users."""
        return self._num_requests

    def initial(self) -> Iterator[Demand]:
        """Every user's first request."""
        for user in range(len(self._users)):
            yield from self._next(user, 0.0, turn=0)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The user's next request, if there is one."""
        return self._next(demand.session, finished_s + self._think_s, demand.turn + 1)

    def _next(self, user: int, arrival_s: float, turn: int) -> tuple[Demand, ...]:
        lengths = next(self._users[user], None)
        if lengths is None:
            return ()
        return (Demand(next(self._indices), arrival_s, *lengths, session=user, turn=turn),)


def at(arrival_s: float, prompt_tokens: int, output_tokens: int, index: int = 0) -> Demand:
    """One request of a session of its own."""
    return Demand(index, arrival_s, prompt_tokens, output_tokens, session=index, turn=0)

"""Sources of independent requests: arriving on their own, or sent by a fixed number of users."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice, repeat

from ctxsim.spec.workload import ClosedArrival, OpenArrival, Requests
from ctxsim.workload.demand import Demand
from ctxsim.workload.draws import Purpose, arrival_stream, length_stream


class OpenRequests:
    """Requests that arrive whether or not earlier ones were answered."""

    warnings: tuple[str, ...] = ()
    releases = False

    def __init__(self, spec: Requests, arrival: OpenArrival, seed: int) -> None:
        self._spec, self._arrival, self._seed = spec, arrival, seed

    @property
    def num_requests(self) -> int | None:
        """The number the workload asks for."""
        return self._spec.num_requests

    def initial(self) -> Iterator[Demand]:
        """All requests in order of arrival."""
        prompts = length_stream(self._spec.prompt_tokens, self._seed, Purpose.PROMPTS)
        outputs = length_stream(self._spec.output_tokens, self._seed, Purpose.OUTPUTS)
        arrivals = arrival_stream(self._arrival, self._seed)
        # Demand(index, arrival_s, prompt_tokens, output_tokens, session, turn)
        return islice(map(Demand, count(), arrivals, prompts, outputs, count(), repeat(0)), self._spec.num_requests)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """None: no request waits for another."""
        return ()


class ClosedRequests:
    """Users who each send their next request one think time after their last answer.

    User u of U sends the first at u / U of a think time. The requests of the workload are dealt out in order of
    release, until they are used up; the k-th request of a user has the same lengths whoever else is served when.
    """

    warnings: tuple[str, ...] = ()
    releases = True

    def __init__(self, spec: Requests, arrival: ClosedArrival, seed: int) -> None:
        self._spec, self._arrival, self._seed = spec, arrival, seed
        self._lengths: list[Iterator[tuple[int, int]]] = []
        self._released = 0
        self._user_of: dict[int, int] = {}
        """Which user waits for each unanswered request, by its index."""

    @property
    def num_requests(self) -> int | None:
        """The number the workload asks for."""
        return self._spec.num_requests

    def initial(self) -> Iterator[Demand]:
        """The first request of every user, staggered; early users may use up the requests before late ones begin."""
        users = self._arrival.users
        for user in range(users):
            if self._released == self._spec.num_requests:
                return
            self._lengths.append(self._lengths_of(user))
            yield self._release(user, user / users * self._arrival.think_time)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The next request of the same user, or none when all were dealt out."""
        user = self._user_of.pop(demand.index)
        if self._released == self._spec.num_requests:
            return ()
        return (self._release(user, finished_s + self._arrival.think_time),)

    def _release(self, user: int, arrival_s: float) -> Demand:
        index = self._released
        self._released += 1
        self._user_of[index] = user
        prompt_tokens, output_tokens = next(self._lengths[user])
        return Demand(index, arrival_s, prompt_tokens, output_tokens, session=index, turn=0)

    def _lengths_of(self, user: int) -> Iterator[tuple[int, int]]:
        prompts = length_stream(self._spec.prompt_tokens, self._seed, Purpose.PROMPTS, user)
        outputs = length_stream(self._spec.output_tokens, self._seed, Purpose.OUTPUTS, user)
        return zip(prompts, outputs, strict=False)

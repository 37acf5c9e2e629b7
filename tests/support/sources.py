"""Sources that release exactly the requests a test lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

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


class LoopSource:
    """Users who think, send a request, wait for its end and think again, until the horizon.

    ``users``: the think times, prompts and outputs of each, one after another and endless; all begin to think at 0.
    """

    warnings: tuple[str, ...] = ()
    releases = True
    num_requests: int | None = None

    def __init__(self, users: Sequence[Iterator[tuple[float, int, int]]]) -> None:
        self._users = users
        self._indices = count()

    def initial(self) -> Iterator[Demand]:
        """Every user's first request, in order of arrival."""
        first = [self._next(user, 0.0, turn=0) for user in range(len(self._users))]
        return iter(sorted(first, key=lambda demand: demand.arrival_s))

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The user's next request."""
        return (self._next(demand.session, finished_s, demand.turn + 1),)

    def _next(self, user: int, now_s: float, turn: int) -> Demand:
        think_s, prompt_tokens, output_tokens = next(self._users[user])
        return Demand(next(self._indices), now_s + think_s, prompt_tokens, output_tokens, session=user, turn=turn)


class Turn(NamedTuple):
    """One turn of a session: what it adds to the context, after how long a pause; edited_tokens: of the context before
    it, how many at its end are not sent again."""

    question_tokens: int
    answer_tokens: int
    think_s: float
    edited_tokens: int = 0


Talk = Sequence[Turn]
"""The turns of one session."""


class TalkSource:
    """Users who hold one session after another, each turn a pause after the last answer."""

    warnings: tuple[str, ...] = ()
    releases = True

    def __init__(self, users: Sequence[Sequence[Talk]]) -> None:
        self._users = [iter(talks) for talks in users]
        self._num_requests = sum(len(talk) for talks in users for talk in talks)
        self._indices, self._sessions = count(), count()
        self._talks: dict[int, tuple[int, Talk]] = {}

    @property
    def num_requests(self) -> int | None:
        """Turns of all sessions."""
        return self._num_requests

    def initial(self) -> Iterator[Demand]:
        """The first turns of every user's first session, in order of arrival."""
        first = [demand for user in range(len(self._users)) for demand in self._begin(user, 0.0)]
        return iter(sorted(first, key=lambda demand: demand.arrival_s))

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The next turn of the session, or the first of its user's next one."""
        user, talk = self._talks[demand.session]
        number = demand.turn + 1
        if number == len(talk):
            return self._begin(user, finished_s)
        turn = talk[number]
        context = demand.prompt_tokens + max(demand.output_tokens - 1, 0)
        known = max(0, context - turn.edited_tokens)
        # The last token of the answer has no KV; it is part of the context unless it was edited away.
        sent = known if turn.edited_tokens else demand.prompt_tokens + demand.output_tokens
        return (self._turn(demand.session, number, finished_s, sent, known),)

    def _begin(self, user: int, now_s: float) -> tuple[Demand, ...]:
        talk = next(self._users[user], None)
        if talk is None:
            return ()
        session = next(self._sessions)
        self._talks[session] = user, talk
        return (self._turn(session, 0, now_s, 0, 0),)

    def _turn(self, session: int, number: int, now_s: float, sent_tokens: int, known_tokens: int) -> Demand:
        _, talk = self._talks[session]
        turn = talk[number]
        prompt_tokens = sent_tokens + turn.question_tokens
        return Demand(
            next(self._indices),
            now_s + turn.think_s,
            prompt_tokens,
            turn.answer_tokens,
            session,
            number,
            reusable_tokens=known_tokens,
            last=number == len(talk) - 1,
        )


def at(arrival_s: float, prompt_tokens: int, output_tokens: int, index: int = 0) -> Demand:
    """One request of a session of its own."""
    return Demand(index, arrival_s, prompt_tokens, output_tokens, session=index, turn=0)
